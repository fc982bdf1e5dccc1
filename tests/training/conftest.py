from collections.abc import Iterator
from pathlib import Path

import pytest

from sercli.corpora.index import Index, read_index
from sercli.splits.development import make_training_split
from sercli.splits.fold import Fold
from sercli.training.data import CorpusFeatures
from tests.toy_index import featurize_toy
from tests.training.toy import (
    SMALL,
)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return featurize_toy(tmp_path_factory.mktemp("data"), takes=3, copies=1)


@pytest.fixture(scope="session")
def index(data: Path) -> Index:
    return read_index(data / "index.csv")


@pytest.fixture(scope="session")
def features(data: Path, index: Index) -> Iterator[CorpusFeatures]:
    with CorpusFeatures(index, data / "features.h5", SMALL.features) as corpus:
        yield corpus


@pytest.fixture(scope="session")
def spectra(data: Path, index: Index) -> Iterator[CorpusFeatures]:
    with CorpusFeatures(index, data / "features.h5", ("logmel",)) as corpus:
        yield corpus


@pytest.fixture
def fold(index: Index) -> Fold:
    return make_training_split(index, 0)
