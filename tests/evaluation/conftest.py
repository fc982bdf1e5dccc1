from pathlib import Path

import pytest

from tests.evaluation.toy_plan import DEFAULT, run_toy
from tests.toy_index import featurize_toy


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return featurize_toy(tmp_path_factory.mktemp("data"), takes=4, copies=2)


@pytest.fixture(scope="session")
def results(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results") / "loso-paper"
    run_toy(data, out)
    return out


@pytest.fixture(scope="session")
def default_results(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results") / "loso-default"
    run_toy(data, out, recipe=DEFAULT)
    return out
