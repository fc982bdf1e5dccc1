"""Logits of stored utterances, computed as `sercli predict` does, and temperature scaling."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from sercli.metrics import Labels
from sercli.models.model import Logits, Model, average_segments
from sercli.training.data import CorpusFeatures

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0  # bounds of the search

CORPUS_SHIFT = 1.96
"""Temperature factor for recordings of corpora that were not trained on, where networks are overconfident.

The geometric mean of the factors with the lowest cross-entropy from RAVDESS to nEMO, 2.40, and back, 1.60; see
``tests/benchmarks/FIGURES.md`` for what it does on other corpora.
"""


def pool_logits(corpus: CorpusFeatures, positions: Sequence[int], model: Model) -> Logits:
    """Computes uncalibrated logits of utterances, shape ``(n, n_labels)``.

    Args:
        corpus: Utterances with the features that the model was trained on.
        positions: Positions of the utterances in its index.
        model: Model, applied to the segments of each utterance as by `Model.predict_proba`.
    """
    pooled = np.empty((len(positions), len(model.labels)))
    for row, position in zip(pooled, positions, strict=True):
        matrices, speech = zip(*corpus.segments(position), strict=True)
        row[:] = average_segments(model.logits(matrices), speech)
    return pooled


def list_truth(corpus: CorpusFeatures, positions: Sequence[int]) -> Labels:
    """Returns the label index of each utterance, shape ``(n,)``."""
    return np.array([corpus.labels.index(corpus.index.utterances[n].emotion) for n in positions], np.int64)


def fit_temperature(logits: npt.NDArray[np.floating], truth: Labels) -> float:
    """Finds the temperature with the lowest cross-entropy (Guo et al. 2017).

    Args:
        logits: Logits of development utterances, shape ``(n, n_labels)``.
        truth: Label index of each utterance, shape ``(n,)``.
    """
    rows = np.arange(len(truth))
    logits = logits.astype(np.float64)

    def cross_entropy(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(-log_softmax(scaled, axis=1)[rows, truth].mean())

    bounds = np.log([MIN_TEMPERATURE, MAX_TEMPERATURE])
    return float(np.exp(minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x))
