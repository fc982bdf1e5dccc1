"""Scores utterances of a feature store as `sercli predict` scores recordings."""

from collections.abc import Sequence

import numpy as np

from sercli.metrics import Labels, Probabilities
from sercli.models.model import Logits, Model
from sercli.training.data import CorpusFeatures


def score_utterances(corpus: CorpusFeatures, members: Sequence[int], model: Model) -> Probabilities:
    """Computes calibrated probabilities of utterances, shape ``(n, n_labels)``.

    Args:
        corpus: Utterances with the features that the model was trained on.
        members: Positions of the utterances in its index.
        model: Model, applied by `Model.predict_proba` to the segments of each utterance.
    """
    probabilities = np.empty((len(members), len(model.labels)))
    for row, member in zip(probabilities, members, strict=True):
        matrices, speech = zip(*corpus.segments(member), strict=True)
        row[:] = model.predict_proba(matrices, speech)
    return probabilities


def pool_logits(corpus: CorpusFeatures, members: Sequence[int], model: Model) -> Logits:
    """Computes uncalibrated logits of utterances, shape ``(n, n_labels)``; arguments as for `score_utterances`."""
    pooled = np.empty((len(members), len(model.labels)))
    for row, member in zip(pooled, members, strict=True):
        matrices, speech = zip(*corpus.segments(member), strict=True)
        row[:] = model.pool(model.logits(matrices), speech)
    return pooled


def list_truth(corpus: CorpusFeatures, members: Sequence[int]) -> Labels:
    """Returns the label index of each utterance, shape ``(n,)``."""
    return np.asarray([corpus.labels.index(corpus.index.utterances[member].emotion) for member in members], np.int64)
