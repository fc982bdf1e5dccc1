"""How usual a recording is among those that a model was trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

MIN_TYPICALITY = 0.02  # so that about 2 % of the development utterances would have a warning
N_QUANTILES = 101

Embedding = npt.NDArray[np.float64]
"""Embedding of a recording, shape ``(size,)``: whitened, so that its norm is a Mahalanobis distance."""


@dataclass(frozen=True, kw_only=True)
class Typicality:
    """The distances of development utterances from the training utterances, which recordings are compared with.

    Attributes:
        distances: Quantiles of the distances at equal steps, ascending.
        minimum: Typicality below which a recording is unlike the training data, 0 to 1.
    """

    distances: tuple[float, ...]
    minimum: float = MIN_TYPICALITY

    @classmethod
    def fit(cls, distances: Sequence[float] | npt.NDArray[np.floating[Any]]) -> Self:
        """Takes the quantiles of the distances of development utterances, rounded as in the model folder."""
        quantiles = np.quantile(distances, np.linspace(0, 1, N_QUANTILES))
        return cls(distances=tuple(round(float(each), 5) for each in quantiles))

    def measure(self, embedding: Embedding) -> float:
        """Share of the development utterances that are at least as far from the training data, 0 to 1."""
        levels = np.linspace(1, 0, len(self.distances))
        return float(np.interp(np.linalg.norm(embedding), self.distances, levels))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"minimum": self.minimum, "distances": list(self.distances)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads the result of `to_dict`.

        Raises:
            KeyError: If something is missing.
            ValueError: If the distances are not ascending numbers.
        """
        distances = tuple(float(each) for each in values["distances"])
        if len(distances) < 2 or not (np.isfinite(distances).all() and (np.diff(distances) >= 0).all()):
            msg = "the distances of typicality should be 2 or more ascending numbers"
            raise ValueError(msg)
        return cls(distances=distances, minimum=float(values["minimum"]))
