"""Fixtures that all tests share."""

import os

# Before NumPy is imported: two test processes with two threads each would mostly wait for each other.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from sercli.audio.augment import Augmentation, augment
from tests.dask_cluster import Cluster, start_cluster

# The toy networks are too small to share out; threads would only wait for each other.
torch.set_num_threads(1)

# Standard output of the commands under test is buffered, as users have it.
os.environ.pop("PYTHONUNBUFFERED", None)

# A shell has its background jobs ignore Ctrl-C, and the commands under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine must not fail a test.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")

PROJECT = Path(__file__).resolve().parent.parent
NOBODY = 65_534  # a user that owns nothing


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Folder of the real corpora; a test that wants it is skipped where there is none."""
    folder = Path(os.environ.get("SERCLI_CORPORA") or PROJECT.parent / "shared" / "corpora")
    if not (folder / "ravdess").is_dir() or not (folder / "nemo").is_dir():
        pytest.skip(f"no corpora in {folder}: set SERCLI_CORPORA to the folder of ravdess and nemo")
    return folder


@pytest.fixture(scope="session")
def compiled_librosa() -> None:
    """What numba compiles for librosa, which must not happen in two processes at the same time."""
    augment(np.zeros(2_048, np.float32), 16_000, Augmentation(speed=1.1))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A Dask cluster of two workers."""
    with start_cluster(tmp_path) as started:
        yield started


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
