"""Small networks, and what a toy model is made of and described by."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sercli.features.frontend import FeatureConfig
from sercli.models.config import NetworkConfig
from sercli.models.model import Features
from sercli.models.networks import build_network

N_FEATURES = 10
SMALL = {"channels": (12, 16), "lstm_size": 8, "attention_size": 8, "dense_size": 8}
FEATURES = FeatureConfig(names=("rms", "zcr"))
DATA = {
    "ravdess": {
        "utterances": 1440,
        "speakers": 24,
        "dev_speakers": ["ravdess-01"],
        "sha256": "0" * 64,
        "license": "CC BY-NC-SA 4.0",
        "citation": "Livingstone & Russo 2018",
    }
}


@cache
def make_network(name: str = "paper", members: int = 1) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(NetworkConfig.from_dict({**SMALL, "name": name, "members": members}), N_FEATURES, 8)
        for module in network.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                # Statistics of their own, so that padding would show.
                nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
                nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
                nn.init.normal_(module.bias)
    return network.eval()


def make_matrices(*lengths: int) -> list[Features]:
    return [np.random.default_rng(length).standard_normal((2, length)).astype(np.float32) for length in lengths]


def change(folder: Path, path: tuple[str, ...], value: object) -> None:
    """Changes one value of the description."""
    description = json.loads((folder / "model.json").read_text())
    part = description
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    (folder / "model.json").write_text(json.dumps(description))
