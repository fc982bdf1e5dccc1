"""Fixtures of the tests of prediction."""

from pathlib import Path

import pytest

from sercli.prediction.predictor import Predictor
from tests.toy_model import make_model

WINDOW = 6.0  # seconds


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def predictor(model_folder: Path) -> Predictor:
    """Scores fixed windows, without voice activity: it answers to tones."""
    return Predictor(model_folder, window=WINDOW)
