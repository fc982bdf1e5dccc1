"""A model with facts, and its folder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sercli.audio.segmentation import SegmentationConfig
from sercli.config import AudioConfig
from sercli.models.export import pack_weights
from sercli.models.model import Model, save_model
from sercli.models.normalizer import Normalizer
from tests.models.toy import DATA, FEATURES
from tests.toy_model import build_model


@pytest.fixture(scope="session")
def trained() -> tuple[Model, torch.nn.Module]:
    model, network = build_model(
        1,
        features=FEATURES,
        segmentation=SegmentationConfig(max_whole=7.0),
        temperature=1.7,
        facts={"seed": 5, "recipe": {"name": "paper"}, "training_data": DATA, "command": "sercli train"},
    )
    normalizer = Normalizer(mean=np.asarray([0.1, 1 / 3], np.float32), std=np.asarray([0.7, 2], np.float32))
    return replace(model, normalizer=normalizer, audio=AudioConfig(trim_db=35.0)), network


@pytest.fixture
def model(trained: tuple[Model, torch.nn.Module]) -> Model:
    return trained[0]


@pytest.fixture
def folder(trained: tuple[Model, torch.nn.Module], tmp_path: Path) -> Path:
    model, network = trained
    save_model(tmp_path / "m", model, pack_weights(network))
    return tmp_path / "m"
