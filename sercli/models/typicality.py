"""How usual a recording is among those that a model was trained on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

MIN_TYPICALITY = 0.02  # so that about 2 % of the development utterances would have a warning
N_QUANTILES = 101
DECIMALS = 5  # in the model folder

Embedding = npt.NDArray[np.float64]
"""Embedding of a recording, shape ``(size,)``: whitened, so that its norm is a Mahalanobis distance."""


@dataclass(frozen=True, kw_only=True)
class Typicality:
    """What recordings are compared with: training utterances, and how far development utterances are from them.

    Attributes:
        distances: Quantiles of the distances of development utterances at equal steps, ascending.
        telephone: Mean embedding of training utterances through a telephone, shape ``(size,)``; empty if unknown. That
            of the training utterances themselves is 0.
        minimum: Typicality below which a recording is unlike the training data, 0 to 1.
    """

    distances: tuple[float, ...]
    telephone: tuple[float, ...] = ()
    minimum: float = MIN_TYPICALITY

    @classmethod
    def fit(cls, embeddings: Sequence[Embedding], telephone: Iterable[float] = ()) -> Self:
        """Fits the quantiles.

        Args:
            embeddings: Those of the development utterances, and of their copies through a telephone if there are any.
            telephone: Mean embedding of training utterances through a telephone.
        """
        unfitted = cls(distances=(), telephone=tuple(round(float(each), DECIMALS) for each in telephone))
        distances = [unfitted.measure_distance(embedding) for embedding in embeddings]
        quantiles = np.quantile(distances, np.linspace(0, 1, N_QUANTILES))
        return replace(unfitted, distances=tuple(round(float(each), DECIMALS) for each in quantiles))

    def measure_distance(self, embedding: Embedding) -> float:
        """Distance from the training utterances, or from those through a telephone if that is less."""
        distances = [np.linalg.norm(embedding)]
        if self.telephone:
            distances.append(np.linalg.norm(embedding - self.telephone))
        return float(min(distances))

    def measure(self, embedding: Embedding) -> float:
        """Share of the development utterances that are at least as far from the training data, 0 to 1."""
        levels = np.linspace(1, 0, len(self.distances))
        return float(np.interp(self.measure_distance(embedding), self.distances, levels))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
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
