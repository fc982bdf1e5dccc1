"""Fixtures that the tests of corpora share."""

from pathlib import Path

import pytest

from tests.toy import make_ravdess


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return make_ravdess(tmp_path / "toy", speakers=2, takes=1, seconds=0.1)
