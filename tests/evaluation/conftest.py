from pathlib import Path

import pytest

from sercli.evaluation.run import evaluate
from sercli.features.extraction import extract_store
from sercli.features.parameters import StoreParameters
from tests.evaluation.toy_plan import make_plan
from tests.toy_index import index_toy


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    index = index_toy(folder, speakers=6, takes=4)
    extract_store(index, folder / "features.h5", StoreParameters(), copies=2)
    return folder


@pytest.fixture(scope="session")
def results(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results") / "loso-paper"
    evaluate(make_plan(data), out)
    return out
