"""Fixtures of the tests of prediction."""

from pathlib import Path

import pytest

from sercli.prediction.predictor import Predictor
from tests.sounds import write_tone
from tests.toy_model import make_model

WINDOW = 6.0  # seconds


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def predictor(model_folder: Path) -> Predictor:
    """Scores fixed windows, without voice activity: it answers to tones.

    It has loaded its model, which a test without root's rights could not read.
    """
    loaded = Predictor(model_folder, window=WINDOW)
    assert loaded.predict(write_tone(model_folder.parent / "tone.wav")).status == "ok"
    return loaded
