"""Fits what a model needs to measure how usual a recording is among its training data.

The embedding is the mean activation over time of the channels of a network's first convolutional blocks. On espeak-ng
voices, music, noise and babble it does better than the layer before the head, the maximum probability and the energy
score (Liu et al. 2020); ``tests/benchmarks/FIGURES.md`` has the figures. Its Mahalanobis distance from the training
utterances (Lee et al. 2018), with the covariance shrunk after Ledoit & Wolf (2004), is compared with those of the
development utterances. A telephone's narrow band moves the embedding far from that of studio speech, so a recording is
compared with the mean of training utterances through a telephone too, and the lesser distance counts.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from sklearn.covariance import LedoitWolf

from sercli.errors import SercliError
from sercli.features.utterance import extract_degraded
from sercli.models.export import whiten_embedding
from sercli.models.model import Embeddings, Features, Model
from sercli.models.typicality import DECIMALS, Typicality
from sercli.splits.fold import Fold
from sercli.training.data import CorpusFeatures

MAX_UTTERANCES = 2_000  # of the training utterances; more would not change the covariance of a hundred channels
MAX_DEGRADED = 200  # utterances that are passed through a telephone, of training and of development

Segments = Sequence[tuple[Features, float]]
"""Features and seconds of speech of each segment of an utterance."""


def fit_typicality(model: Model, corpus: CorpusFeatures, fold: Fold) -> Model:
    """Returns the model with a whitened embedding and the distances of the development utterances.

    Utterances whose recording is missing or has changed are not passed through a telephone.

    Args:
        model: Exported by `sercli.models.export.export_network`.
        corpus: Utterances with the features that the model was trained on.
        fold: Its training and development utterances.
    """
    train = [model.pool(*each) for each in _embed(map(corpus.segments, _thin_out(fold.train, MAX_UTTERANCES)), model)]
    estimate = LedoitWolf().fit(train)
    whitening = np.linalg.cholesky(estimate.precision_)
    model = replace(model, graph=whiten_embedding(model.graph, estimate.location_, whitening))
    telephone = [model.pool(*each) for each in _embed(_degrade(corpus, fold.train, model), model)]
    dev = list(_embed(map(corpus.segments, fold.dev), model))
    typicality = Typicality()
    if telephone:
        typicality = Typicality(telephone=tuple(round(float(x), DECIMALS) for x in np.mean(telephone, axis=0)))
        dev += _embed(_degrade(corpus, fold.dev, model), model)
    distances = [float(model.pool(typicality.measure_distances(embeddings), speech)) for embeddings, speech in dev]
    return replace(model, typicality=typicality.calibrate(distances))


def _thin_out(members: Sequence[int], count: int) -> Sequence[int]:
    """At most `count` of the utterances, evenly spaced."""
    return members[:: -(-len(members) // count)]


def _degrade(corpus: CorpusFeatures, members: Sequence[int], model: Model) -> Iterator[Segments]:
    """Segments of some utterances, passed through a telephone."""
    for member in _thin_out(members, MAX_DEGRADED):
        utterance = corpus.index.utterances[member]
        with contextlib.suppress(SercliError, OSError):
            yield extract_degraded(corpus.index.path_of(utterance), utterance.sha256, "telephone", model.parameters)


def _embed(utterances: Iterable[Segments], model: Model) -> Iterator[tuple[Embeddings, Sequence[float]]]:
    """Embeddings of the segments of each utterance, shape ``(n_segments, size)``, and their seconds of speech."""
    for segments in utterances:
        matrices, speech = zip(*segments, strict=True)
        yield model.score(matrices, embed=True)[1], speech
