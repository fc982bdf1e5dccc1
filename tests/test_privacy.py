"""Recordings of people are private: nothing asks the network for anything, and nothing is left in the home folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.isolated import QUESTION
from tests.toy import TOY_RECIPE, make_ravdess

PROJECT = Path(__file__).parents[1]
SPEECH = PROJECT / "samples/man-even.wav"
UNSHARE = ("unshare", "--map-root-user", "--net", "--mount")
PREDICTOR = "import sys; from sercli import Predictor; print(Predictor().predict(sys.argv[1]).status)"
CALLER = (  # a program that loads ONNX Runtime before sercli does
    "import sys, sercli, onnxruntime; from sercli import Predictor; print(Predictor().predict(sys.argv[1]).status)"
)
PIPELINE = """
import sys
from sercli import compare, evaluate, explain, featurize, inspect, prepare, train, tune
prepare("ravdess", "recordings", jobs=1)
featurize(recipe="mine.toml")
inspect(out="corpus.html")
train(recipe="mine.toml", out="m")
print(evaluate(recipe="mine.toml", protocol="k2", out="r").protocol)
tune(recipe="mine.toml", out="t", trials=1, folds=2)
compare("r", out="t.csv")
explain(sys.argv[1])
"""
EXPORT = "from tests.toy_model import build_model; print(len(build_model()[0].graph) > 0)"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    if not shutil.which("unshare") or subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespaces here: unshare is missing or not permitted")
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def run_isolated(home: Path, *commands: list[str | Path]) -> dict[str, Any]:
    """Runs commands in namespaces without routes; returns their results and the names that were looked up."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    done = subprocess.run(
        [
            *UNSHARE,
            sys.executable,
            PROJECT / "tests/isolated.py",
            *(json.dumps([*map(str, each)]) for each in commands),
        ],
        env={**environment, "HOME": str(home), "PYTHONPATH": str(PROJECT)},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert QUESTION in found["questions"]  # the recorder works
    return found


def python(*arguments: str | Path) -> list[str | Path]:
    return [sys.executable, "-c", *arguments]


def test_prediction_asks_nobody_and_leaves_nothing(home: Path) -> None:
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "sercli",
        "predict",
        "--jobs",
        "2",
        "-q",
        SPEECH,
        SPEECH.parent / "calls",
    ]
    found = run_isolated(home, command, python(PREDICTOR, SPEECH), python(EXPORT))
    assert [status for status, _, _ in found["results"]] == [0, 0, 0], found["results"]
    assert found["results"][1][1] == "ok\n"
    assert set(found["questions"]) == {QUESTION}
    assert not (home / ".cache/Microsoft").exists()
    assert not [path for path in home.rglob("*") if "onnx" in path.name.lower() or "microsoft" in path.name.lower()]


def test_a_caller_who_has_loaded_the_package_is_private_too(home: Path) -> None:
    found = run_isolated(home, python(CALLER, SPEECH))
    assert found["results"][0][:2] == [0, "ok\n"]
    assert set(found["questions"]) == {QUESTION}
    assert not (home / ".cache/Microsoft").exists()


def test_own_recordings_are_prepared_and_trained_on_without_the_network(home: Path) -> None:
    make_ravdess(home / "recordings", speakers=6, takes=1, seconds=0.3)
    (home / "mine.toml").write_text(TOY_RECIPE)
    found = run_isolated(home, python(PIPELINE, SPEECH), [sys.executable, "-m", "sercli", "doctor"])
    assert [status for status, _, _ in found["results"]] == [0, 0], found["results"]
    assert found["results"][0][1] == "k2\n"
    assert set(found["questions"]) == {QUESTION}
