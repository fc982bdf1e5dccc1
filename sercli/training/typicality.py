"""Fits what a model needs to measure how usual a recording is among its training data.

The embedding is the mean activation over time of the channels of a network's first convolutional blocks. On espeak-ng
voices, music, noise and babble it does better than the layer before the head, the maximum probability and the energy
score (Liu et al. 2020); ``tests/benchmarks/FIGURES.md`` has the figures. Its Mahalanobis distance from the training
utterances (Lee et al. 2018), with the covariance shrunk after Ledoit & Wolf (2004), is compared with those of the
development utterances.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.torch
from sklearn.covariance import LedoitWolf

from sercli.corpora.index import Index
from sercli.errors import ModelError
from sercli.models.config import NetworkConfig
from sercli.models.export import export_network, whiten_embedding
from sercli.models.folder import WEIGHTS_FILE
from sercli.models.model import Model, load_model, save_model
from sercli.models.networks import build_network
from sercli.models.typicality import Typicality
from sercli.splits.development import make_training_split
from sercli.splits.fold import Fold
from sercli.training.data import CorpusFeatures

MAX_UTTERANCES = 2_000  # of the training utterances; more would not change the covariance of a hundred channels


def fit_typicality(model: Model, corpus: CorpusFeatures, fold: Fold) -> Model:
    """Returns the model with a whitened embedding and the distances of the development utterances.

    Args:
        model: Exported by `sercli.models.export.export_network`.
        corpus: Utterances with the features that the model was trained on.
        fold: Its training and development utterances.
    """
    step = -(-len(fold.train) // MAX_UTTERANCES)
    estimate = LedoitWolf().fit(_embed(corpus, fold.train[::step], model))
    whitening = np.linalg.cholesky(estimate.precision_)
    model = replace(model, graph=whiten_embedding(model.graph, estimate.location_, whitening))
    distances = np.linalg.norm(_embed(corpus, fold.dev, model), axis=1)
    return replace(model, typicality=Typicality.fit(distances))


def add_typicality(folder: Path, index: Index, store: Path) -> None:
    """Adds typicality to a model folder that was trained without it; its weights stay.

    Example:
        ``add_typicality(Path("models/mine"), read_index(Path("data/index.csv")), Path("data/features.h5"))``

    Args:
        folder: The model folder.
        index: The index that it was trained on.
        store: Store of the features.

    Raises:
        ModelError: If the model is damaged, or was trained on other speakers.
        StoreError: If the store is damaged or lacks features.
        SplitError: If the index has too few speakers or utterances.
    """
    model, weights = load_model(folder), (folder / WEIGHTS_FILE).read_bytes()
    network = build_network(NetworkConfig.from_dict(model.network), model.features.n_features, len(model.labels))
    network.load_state_dict(safetensors.torch.load(weights))
    graph = export_network(network, model.features.n_features)
    with CorpusFeatures(index, store, model.features.names) as corpus:
        fold = make_training_split(corpus.index, model.facts["seed"])
        _check_speakers(model, corpus.index, fold, folder)
        save_model(folder, fit_typicality(replace(model, graph=graph), corpus, fold), weights)


def _embed(corpus: CorpusFeatures, members: Sequence[int], model: Model) -> npt.NDArray[np.float64]:
    """Embeddings of utterances, shape ``(n, size)``."""
    embeddings = []
    for member in members:
        matrices, speech = zip(*corpus.segments(member), strict=True)
        embeddings.append(model.pool(model.score(matrices, embed=True)[1], speech))
    return np.stack(embeddings)


def _check_speakers(model: Model, index: Index, fold: Fold, folder: Path) -> None:
    found = {speaker for member in fold.dev if (speaker := index.utterances[member].speaker)}
    expected = {speaker for corpus in model.facts["training_data"].values() for speaker in corpus["dev_speakers"]}
    if expected and not expected <= found:
        msg = (
            f"{folder} was calibrated on the development speakers {', '.join(sorted(expected))}, found "
            f"{', '.join(sorted(found))}: give the index that it was trained on"
        )
        raise ModelError(msg)
