"""Typicality: how usual a recording is among the training data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

MIN_TYPICALITY = 0.02  # so that about 2% of the development utterances would have a warning
N_QUANTILES = 101
DECIMALS = 5  # in the model folder

Distances = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Typicality:
    """Distances of development utterances from the training data.

    Embeddings are whitened, so that their norm is a Mahalanobis distance from the training utterances.

    Attributes:
        distances: Quantiles of the distances of development utterances at equal steps, ascending.
        telephone: Mean embedding of training utterances through a telephone, shape ``(size,)``; empty if unknown.
            Whitening makes that of the training utterances themselves 0.
        minimum: Typicality below which a recording is unlike the training data, 0 to 1.
    """

    distances: tuple[float, ...] = ()
    telephone: tuple[float, ...] = ()
    minimum: float = MIN_TYPICALITY

    def calibrate(self, distances: Sequence[float] | Distances) -> Self:
        """Returns a copy with the quantiles of the distances of development utterances."""
        quantiles = np.quantile(distances, np.linspace(0, 1, N_QUANTILES))
        return replace(self, distances=tuple(round(float(each), DECIMALS) for each in quantiles))

    def measure_distances(self, embeddings: npt.NDArray[np.float64]) -> Distances:
        """Measures how far segments are from training utterances, plain or by telephone, whichever are nearer.

        The distance of a recording is their mean; that of its mean embedding would be small for any long recording.

        Args:
            embeddings: Shape ``(n_segments, size)``.

        Returns:
            Shape ``(n_segments,)``.
        """
        distances: Distances = np.linalg.norm(embeddings, axis=1)
        if self.telephone:
            distances = np.minimum(distances, np.linalg.norm(embeddings - self.telephone, axis=1))
        return distances

    def measure(self, distance: float) -> float:
        """Returns the share of the development utterances that are at least as far from the training data, 0 to 1."""
        return float(np.interp(distance, self.distances, np.linspace(1, 0, len(self.distances))))

    def to_dict(self) -> dict[str, Any]:
        """Returns a JSON-ready dict."""
        return {"minimum": self.minimum, "distances": list(self.distances), "telephone": list(self.telephone)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads the result of `to_dict`.

        Raises:
            KeyError: If the minimum is missing.
            ValueError: If the distances are not ascending numbers, or the mean embedding is not finite.
        """
        distances, telephone = (tuple(map(float, values.get(name, ()))) for name in ("distances", "telephone"))
        if len(distances) < 2 or not (np.isfinite(distances).all() and (np.diff(distances) >= 0).all()):
            msg = "the distances of typicality should be 2 or more ascending numbers"
            raise ValueError(msg)
        if not np.isfinite(telephone).all():
            msg = "the telephone of typicality should be finite numbers"
            raise ValueError(msg)
        return cls(distances=distances, telephone=telephone, minimum=float(values["minimum"]))
