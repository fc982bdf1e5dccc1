from pathlib import Path

import pytest

from sercli.evaluation.run import evaluate
from tests.evaluation.toy_plan import make_plan
from tests.toy_index import featurize_toy


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return featurize_toy(tmp_path_factory.mktemp("data"), takes=4, copies=2)


@pytest.fixture(scope="session")
def results(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results") / "loso-paper"
    evaluate(make_plan(data), out)
    return out
