"""A file system without locks, for commands under test."""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("nolock.c")


def build_nolock(folder: Path) -> Path:
    """Compiles the library that makes all locks fail, to be loaded by LD_PRELOAD; skips the test without a compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler here")
    library = folder / "nolock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return library
