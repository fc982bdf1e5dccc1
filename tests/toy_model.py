"""A small model with random weights, for tests that need one and not what it has learnt."""

from pathlib import Path

import numpy as np
import torch
from sercli.models.folder import Model, save_model

from sercli.config import AudioConfig
from sercli.features.frontend import FeatureConfig
from sercli.models.config import NetworkConfig
from sercli.models.networks import build_network
from sercli.models.normalizer import Normalizer


def make_model(folder: Path, seed: int = 0) -> Path:
    """Writes a model folder; another seed gives other weights. Returns the folder."""
    features = FeatureConfig()
    network_config = NetworkConfig(channels=(8,), lstm_size=8, attention_size=8, dense_size=8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(network_config, features.n_features).eval()
    ones = np.ones(features.n_features, np.float32)
    model = Model(
        network=network,
        network_config=network_config,
        audio=AudioConfig(),
        features=features,
        # Features are some tens in size, so that the untrained network's answers differ from sound to sound.
        normalizer=Normalizer(mean=0 * ones, deviation=10 * ones),
        temperature=0.2,
        facts={"seed": seed},
    )
    save_model(folder, model)
    return folder
