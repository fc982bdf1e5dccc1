"""A small model with random weights, for tests that need a model but not what it has learned."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sercli.audio.segmentation import SegmentationConfig
from sercli.config import AudioConfig
from sercli.features.frontend import FeatureConfig
from sercli.labels import EMOTIONS, choose_negative
from sercli.models.config import NetworkConfig
from sercli.models.export import export_network, pack_weights
from sercli.models.model import Model, save_model
from sercli.models.networks import build_network
from sercli.models.normalizer import Normalizer

FEATURES = FeatureConfig(names=("logmel",))
NETWORK = NetworkConfig(channels=(8,), lstm_size=8, attention_size=8, dense_size=8)


def build_model(
    seed: int = 0,
    *,
    features: FeatureConfig = FEATURES,
    network_config: NetworkConfig = NETWORK,
    labels: Sequence[str] = EMOTIONS,
    segmentation: SegmentationConfig | None = None,
    temperature: float = 0.2,
    facts: Mapping[str, Any] | None = None,
) -> tuple[Model, torch.nn.Module]:
    """A model and the torch network that it was exported from; another seed gives other weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(network_config, features.n_features, len(labels)).eval()
    ones = np.ones(features.n_features, np.float32)
    model = Model(
        graph=export_network(network, features.n_features),
        labels=tuple(labels),
        negative=choose_negative(labels),
        audio=AudioConfig(),
        segmentation=segmentation or SegmentationConfig(),
        features=features,
        # Features are some tens in size, so that the answers of an untrained network differ from sound to sound.
        normalizer=Normalizer(mean=0 * ones, std=10 * ones),
        network=network_config.to_dict(),
        temperature=temperature,
        facts=facts or {"seed": seed},
    )
    return model, network


def make_model(folder: Path, seed: int = 0) -> Path:
    """Writes a model folder; returns it."""
    model, network = build_model(seed)
    save_model(folder, model, pack_weights(network))
    return folder
