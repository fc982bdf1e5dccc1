"""Features brought to mean 0 and deviation 1, as measured on training utterances or on one speaker."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sercli.errors import ModelError

Vector = npt.NDArray[np.float32]

ENROLMENT_FRAMES = 500  # of the average speaker, that a speaker's own are added to; some eight seconds
LEAST_DEVIATION = 1e-5  # a feature that never changes is left as it is, less its mean


@dataclass(slots=True, kw_only=True)
class Moments:
    """Sums over frames, in double precision, from which mean and deviation follow.

    Attributes:
        count: frames added.
        total: their sum, in shape ``(n_features,)``.
        squares: the sum of their squares, likewise.
    """

    count: int = 0
    total: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    squares: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))

    def add(self, matrix: npt.NDArray[np.float32]) -> None:
        """Adds the frames of a matrix in shape ``(n_frames, n_features)``."""
        frames = matrix.astype(np.float64)
        self.count += len(frames)
        self.total = self.total + frames.sum(axis=0)
        self.squares = self.squares + np.square(frames).sum(axis=0)


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
        """Measures matrices in shape ``(n_frames, n_features)``, all frames alike."""
        moments = Moments()
        for matrix in matrices:
            moments.add(matrix)
        return cls.from_moments(moments)

    @classmethod
    def from_moments(cls, moments: "Moments") -> Self:
        """What the frames that were added have for mean and deviation."""
        mean = moments.total / max(moments.count, 1)
        deviation = np.sqrt(np.maximum(moments.squares / max(moments.count, 1) - np.square(mean), 0))
        deviation[deviation < LEAST_DEVIATION] = 1.0
        return cls(mean=mean.astype(np.float32), deviation=deviation.astype(np.float32))

    def enrol(self, moments: "Moments") -> "Normaliser":
        """The normaliser of one speaker, whose voice then looks like that of the average speaker of training.

        With little to go by it stays near this one, as if `ENROLMENT_FRAMES` frames of the average speaker had been
        heard before: a few utterances tell more of their emotions than of their speaker.

        Args:
            moments: of the speaker's frames, of whatever emotions.
        """
        mean, deviation = self.mean.astype(np.float64), self.deviation.astype(np.float64)
        return Normaliser.from_moments(
            Moments(
                count=moments.count + ENROLMENT_FRAMES,
                total=moments.total + mean * ENROLMENT_FRAMES,
                squares=moments.squares + (np.square(mean) + np.square(deviation)) * ENROLMENT_FRAMES,
            )
        )

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
        except (KeyError, TypeError, ValueError, OverflowError):
            msg = "normalisation should hold the numbers mean and deviation"
            raise ModelError(msg) from None
        right = mean.shape == deviation.shape == (n_features,)
        if not (right and np.isfinite(mean).all() and np.isfinite(deviation).all() and (deviation > 0).all()):
            msg = f"normalisation should hold {n_features} finite means and deviations over zero"
            raise ModelError(msg)
        return cls(mean=mean, deviation=deviation)
