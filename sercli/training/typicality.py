"""Fits the typicality measure: whitening of the embedding, and reference distances.

The embedding is the mean activation over time of the channels of a network's first convolutional blocks. On espeak-ng
voices, music, noise and babble it does better than the layer before the head, the maximum probability and the energy
score (Liu et al. 2020); ``tests/benchmarks/FIGURES.md`` has the figures. Its Mahalanobis distance from the training
utterances (Lee et al. 2018), with the covariance shrunk after Ledoit & Wolf (2004), is compared with those of the
development utterances. A telephone's narrow band moves the embedding far from that of studio speech, so the distance to
the mean of telephone-degraded training utterances is computed too, and the smaller one is used.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from sercli.errors import SercliError
from sercli.features.utterance import extract_degraded
from sercli.models.export import whiten_embedding
from sercli.models.model import Embeddings, Features, Model, average_segments
from sercli.models.typicality import DECIMALS, Typicality
from sercli.splits.fold import Fold
from sercli.training.data import CorpusFeatures

MAX_UTTERANCES = 2_000  # of the training utterances; more would not change the covariance of a hundred channels
MAX_DEGRADED = 200  # telephone-degraded utterances, of training and of development

Segments = Sequence[tuple[Features, float]]
"""Features and seconds of speech of each segment of an utterance."""


def fit_typicality(model: Model, corpus: CorpusFeatures, fold: Fold) -> Model:
    """Returns the model with a whitened embedding and the distances of the development utterances.

    Telephone-degraded copies are computed from the recordings; utterances whose recording is missing or has changed are
    left out.

    Args:
        model: Model exported by `sercli.models.export.export_network`.
        corpus: Utterances with the features that the model was trained on.
        fold: Training and development utterances of the model.
    """
    from sklearn.covariance import LedoitWolf  # slow, and needed at the end of a training run only

    train = [
        average_segments(*pair) for pair in _embed(map(corpus.segments, _subsample(fold.train, MAX_UTTERANCES)), model)
    ]
    estimate = LedoitWolf().fit(train)
    whitening = np.linalg.cholesky(estimate.precision_)
    model = replace(model, graph=whiten_embedding(model.graph, estimate.location_, whitening))
    telephone = [average_segments(*pair) for pair in _embed(_degrade(corpus, fold.train, model), model)]
    dev = list(_embed(map(corpus.segments, fold.dev), model))
    typicality = Typicality()
    if telephone:
        typicality = Typicality(telephone=tuple(round(float(x), DECIMALS) for x in np.mean(telephone, axis=0)))
        dev += _embed(_degrade(corpus, fold.dev, model), model)
    distances = [
        float(average_segments(typicality.measure_distances(embeddings), speech)) for embeddings, speech in dev
    ]
    return replace(model, typicality=typicality.calibrate(distances))


def _subsample(positions: Sequence[int], count: int) -> Sequence[int]:
    """Returns at most `count` positions, evenly spaced."""
    return positions[:: -(-len(positions) // count)]


def _degrade(corpus: CorpusFeatures, positions: Sequence[int], model: Model) -> Iterator[Segments]:
    """Yields the telephone-degraded segments of at most `MAX_DEGRADED` utterances."""
    for position in _subsample(positions, MAX_DEGRADED):
        utterance = corpus.index.utterances[position]
        with contextlib.suppress(SercliError, OSError):
            yield extract_degraded(corpus.index.path_of(utterance), utterance.sha256, "telephone", model.parameters)


def _embed(utterances: Iterable[Segments], model: Model) -> Iterator[tuple[Embeddings, Sequence[float]]]:
    """Yields the embeddings of each utterance's segments, shape ``(n_segments, size)``, and their speech (s)."""
    for segments in utterances:
        matrices, speech = zip(*segments, strict=True)
        yield model.run(matrices, embed=True)[1], speech
