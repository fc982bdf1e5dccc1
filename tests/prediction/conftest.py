"""Fixtures of the tests of prediction."""

from pathlib import Path

import pytest

from sercli.audio.cutters import Cutting
from sercli.prediction.predictor import Predictor
from tests.toy_model import make_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def predictor(model_folder: Path) -> Predictor:
    """Without voice activity: it answers to tones."""
    return Predictor(model_folder, device="cpu", cutting=Cutting(vad=False))
