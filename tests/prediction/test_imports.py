"""What prediction must not load: libraries of training, which take seconds and hundreds of megabytes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sercli.prediction.settings import ScoringSettings

HEAVY = (
    "torch",
    "librosa",
    "numba",
    "joblib",
    "sklearn",
    "matplotlib",
    "scipy.signal",
    "silero_vad",
    "pandas",
    "httpx",
)
SAMPLES = Path(__file__).parents[2] / "samples"
SPEECH = SAMPLES / "man-even.wav"
SHOW = f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"

PARENT = f"""
import sys
from sercli.cli import main
sys.argv = ["sercli", "predict", "-q", "--jobs", "2", *sys.argv[1:]]
try:
    main()
finally:
    {SHOW}
"""
PREDICTOR = f"""
import sys
from sercli import Predictor, predict_folder
predictor = Predictor()
print(predictor.predict(sys.argv[1]).status, predictor.predict_channels(sys.argv[2])[0].status)
print(predict_folder(sys.argv[1], jobs=1).summary.answered)
{SHOW}
"""
WORKER = f"""
import os, sys
from sercli.prediction import worker
end = os._exit
def show(status):
    {SHOW}
    sys.stderr.flush()
    end(status)
os._exit = show
worker.main()
"""


def run(code: str, *arguments: str | Path) -> tuple[str, str]:
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout, done.stderr.strip()


@pytest.mark.parametrize("report", ["r.csv", "r.jsonl"])
def test_the_command_loads_no_library_of_training(tmp_path: Path, report: str) -> None:
    _, err = run(PARENT, SPEECH, "--out", tmp_path / report, "--segments", f"{tmp_path / 't'}/")
    assert err == "[]"
    assert (tmp_path / report).exists()


def test_the_predictor_loads_no_library_of_training() -> None:
    assert run(PREDICTOR, SPEECH, SAMPLES / "calls/stereo.flac") == ("ok ok\n1\n", "[]")


def test_a_worker_loads_no_library_of_training() -> None:
    settings = json.dumps(ScoringSettings(overlap=True).to_dict())
    task = json.dumps({"task": 0, "path": str(SPEECH), "name": "a.wav", "problem": ""})
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{settings}\n{task}\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline()) == {"ready": True}
    result = next(line for line in process.stdout if "result" in line)
    assert json.loads(result)["result"]["predictions"][0]["status"] == "ok"
    _, err = process.communicate(timeout=60)
    assert err.strip() == "[]"
