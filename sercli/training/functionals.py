"""Functionals: statistics of each feature over time, a fixed-length vector for any utterance."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

QUANTILES = (0.1, 0.5, 0.9)  # robust to outliers, unlike minimum and maximum


def compute_functionals(matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Computes mean, std and three quantiles of each feature, and the log of the number of frames.

    Args:
        matrix: Features in shape ``(n_frames, n_features)``, at least one frame.

    Returns:
        Vector in shape ``(5 * n_features + 1,)``.
    """
    parts = [matrix.mean(axis=0), matrix.std(axis=0), *np.quantile(matrix, QUANTILES, axis=0)]
    return np.concatenate([*parts, [np.log(len(matrix))]]).astype(np.float32)


def stack_functionals(matrices: Iterable[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Stacks the functionals of each matrix, in shape ``(n, 5 * n_features + 1)``."""
    return np.stack([compute_functionals(matrix) for matrix in matrices])
