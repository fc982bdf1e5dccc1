"""Feature normalization to zero mean and unit variance, fitted on training utterances."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]

MIN_STD = 1e-5  # a feature that varies less is only centered


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalizer:
    """Mean and std of each feature.

    Attributes:
        mean: Means, shape ``(n_features,)``.
        std: Standard deviations, shape ``(n_features,)``, greater than zero.
    """

    mean: Vector
    std: Vector

    @classmethod
    def fit(cls, matrices: Iterable[npt.NDArray[np.floating[Any]]]) -> Self:
        """Fits the normalizer to all frames of matrices of shape ``(n_frames, n_features)``, in double precision."""
        count, total, squares = 0, np.zeros(1), np.zeros(1)
        for matrix in matrices:
            frames = matrix.astype(np.float64)
            count += len(frames)
            total = total + frames.sum(axis=0)
            squares = squares + np.square(frames).sum(axis=0)
        mean = total / max(count, 1)
        std = np.sqrt(np.maximum(squares / max(count, 1) - np.square(mean), 0))
        std[std < MIN_STD] = 1.0
        return cls(mean=mean.astype(np.float32), std=std.astype(np.float32))

    def apply(self, frames: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
        """Normalizes frames of shape ``(n_frames, n_features)``."""
        normalized: npt.NDArray[np.float32] = (frames.astype(np.float32) - self.mean) / self.std
        return normalized

    def to_dict(self) -> dict[str, list[float]]:
        """Returns a JSON-ready dict; single-precision numbers survive the round trip exactly."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, Any], n_features: int) -> Self:
        """Reads what `to_dict` returned.

        Raises:
            ValueError: If a number is missing or not finite, or a std is not positive.
        """
        try:
            mean = np.asarray(values["mean"], dtype=np.float32)
            std = np.asarray(values["std"], dtype=np.float32)
        except (KeyError, TypeError, ValueError, OverflowError):
            msg = "normalization needs the numbers 'mean' and 'std'"
            raise ValueError(msg) from None
        right = mean.shape == std.shape == (n_features,)
        if not (right and np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            msg = f"normalization needs {n_features} finite means and positive standard deviations"
            raise ValueError(msg)
        return cls(mean=mean, std=std)
