"""Fixtures of the tests of prediction."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sercli.audio.cutters import Cutting
from sercli.prediction.predictor import Predictor
from tests.toy_model import make_model

NOBODY = 65_534  # a user that owns nothing


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def predictor(model_folder: Path) -> Predictor:
    """Without voice activity: it answers to tones."""
    return Predictor(model_folder, device="cpu", cutting=Cutting(vad=False))


@pytest.fixture
def without_rights() -> Iterator[Path]:
    """A folder in which the test does as a user without root's rights, so that closed things are closed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        root = os.geteuid() == 0
        if root:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
