"""Notebooks and web servers fork: a child must predict although its parent has."""

import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "samples"
CODE = """
import os, sys, warnings
warnings.simplefilter("error")
from sercli import Predictor
predictor = Predictor()
path = sys.argv[1]
expected = predictor.predict(path)
if sys.argv[2] == "many":
    (expected,) = predictor.predict_many([path])
for _ in range(3):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            again, anew = predictor.predict(path), Predictor().predict(path)
            (many,) = Predictor().predict_many([path])
            status = 0 if expected.probabilities == again.probabilities == anew.probabilities else 2
            if max(abs(a - b) for a, b in zip(many.probabilities, expected.probabilities)) > 1e-5:
                status = 3
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert predictor.predict(path).probabilities == expected.probabilities
print(expected.status)
"""


@pytest.mark.parametrize("before", ["one", "many"])
def test_a_forked_child_predicts_after_its_parent(before: str) -> None:
    command = [sys.executable, "-c", CODE, str(SAMPLES / "man-even.wav"), before]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")
