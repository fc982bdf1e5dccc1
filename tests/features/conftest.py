"""Fixtures that the tests of features share."""

from pathlib import Path

import pytest

from tests.toy_index import index_toy


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    index_toy(folder, speakers=2, takes=2)
    return folder
