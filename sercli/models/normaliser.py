"""Features brought to mean 0 and deviation 1, as measured on training utterances."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sercli.errors import ModelError

Vector = npt.NDArray[np.float32]

LEAST_DEVIATION = 1e-5  # a feature that never changes is left as it is, less its mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Normaliser:
    """Mean and deviation of each feature.

    Attributes:
        mean: in shape ``(n_features,)``.
        deviation: in shape ``(n_features,)``, over zero.
    """

    mean: Vector
    deviation: Vector

    @classmethod
    def fit(cls, matrices: Iterable[npt.NDArray[np.float32]]) -> Self:
        """Measures matrices in shape ``(n_frames, n_features)``, all frames alike, in double precision."""
        count, total, squares = 0, np.zeros(1), np.zeros(1)
        for matrix in matrices:
            frames = matrix.astype(np.float64)
            count += len(frames)
            total = total + frames.sum(axis=0)
            squares = squares + np.square(frames).sum(axis=0)
        mean = total / max(count, 1)
        deviation = np.sqrt(np.maximum(squares / max(count, 1) - np.square(mean), 0))
        deviation[deviation < LEAST_DEVIATION] = 1.0
        return cls(mean=mean.astype(np.float32), deviation=deviation.astype(np.float32))

    def apply(self, frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Normalises frames in shape ``(n_frames, n_features)``."""
        return (frames - self.mean) / self.deviation

    def to_dict(self) -> dict[str, list[float]]:
        """JSON-ready; single-precision numbers survive the round trip exactly."""
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, Any], n_features: int) -> Self:
        """Reads what `to_dict` gave.

        Raises:
            ModelError: if a number is missing, not finite, or a deviation not over zero.
        """
        try:
            mean = np.asarray(values["mean"], dtype=np.float32)
            deviation = np.asarray(values["deviation"], dtype=np.float32)
        except (KeyError, TypeError, ValueError):
            msg = "normalisation should hold the numbers mean and deviation"
            raise ModelError(msg) from None
        right = mean.shape == deviation.shape == (n_features,)
        if not (right and np.isfinite(mean).all() and np.isfinite(deviation).all() and (deviation > 0).all()):
            msg = f"normalisation should hold {n_features} finite means and deviations over zero"
            raise ModelError(msg)
        return cls(mean=mean, deviation=deviation)
