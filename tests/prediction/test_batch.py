"""`predict_folder`: what the command does, from Python."""

import contextlib
import csv
import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sercli import predict_folder
from sercli.errors import InputError, ModelError, UsageError
from tests.command import run_sercli
from tests.sounds import write_sound, write_tone


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a/x.wav", "b/x.wav", "c.flac")):
        write_tone(tmp_path / "calls" / name, seconds=0.5 + number, frequency=200 + 90 * number, seed=number)
    write_sound(tmp_path / "calls/silent.wav", np.zeros(16_000))
    (tmp_path / "calls/text.wav").write_text("no sound")
    return tmp_path / "calls"


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl"])
def test_the_report_is_that_of_the_command(calls: Path, model_folder: Path, tmp_path: Path, suffix: str) -> None:
    options = ["--model", str(model_folder), "--window", "6", "--segments", "command/"]
    status, out, _ = run_sercli("predict", "calls", "--out", f"command{suffix}", *options, cwd=tmp_path)
    assert (status, out) == (1, "")
    result = predict_folder("calls", f"python{suffix}", model=model_folder, window=6.0, segments="python/", jobs=2)
    assert Path(f"python{suffix}").read_bytes() == Path(f"command{suffix}").read_bytes()
    one, other = (json.loads(Path(f"{name}.summary.json").read_text()) for name in ("python", "command"))
    assert {**one, "report": "", "seconds": 0} == {**other, "report": "", "seconds": 0}
    timelines = sorted(path.relative_to("python") for path in Path("python").rglob("*.csv"))
    assert timelines == sorted(path.relative_to("command") for path in Path("command").rglob("*.csv"))
    for path in timelines:
        assert ("python" / path).read_bytes() == ("command" / path).read_bytes()
    assert result.saved == (Path(f"python{suffix}"), Path("python.summary.json"), Path("python"))
    assert result.predictions == ()
    assert (result.summary.recordings, result.summary.answered, result.summary.silent) == (5, 3, 1)
    assert [name for name, _ in result.summary.failures] == ["calls/text.wav"]
    assert result.audio_seconds == pytest.approx(5.5)


def test_what_a_killed_run_left_beside_its_outputs_goes(calls: Path, model_folder: Path) -> None:
    leftovers = [Path(name) for name in (".r.html.0123abcd.tmp", "times/a/.x.wav.csv.0123abcd.tmp")]
    for path in leftovers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    predict_folder("calls", "r.html", model=model_folder, window=6.0, segments="times/", jobs=1)
    assert Path("times/a/x.wav.csv").exists()
    assert not any(path.exists() for path in leftovers)


def test_an_interrupted_run_goes_on_with_or_without_a_page(calls: Path, model_folder: Path) -> None:
    resumed: list[int] = []

    def predict(*, interrupt_after: int = 0, **options: Any) -> None:
        def stop(done: int, _total: int, _seconds: float) -> None:
            if done == interrupt_after:
                raise KeyboardInterrupt

        options |= {"model": model_folder, "window": 6.0, "jobs": 1, "on_resume": resumed.append}
        with pytest.raises(KeyboardInterrupt) if interrupt_after else contextlib.nullcontext():
            predict_folder("calls", "r.csv", progress=stop, **options)

    predict(interrupt_after=2)
    predict(interrupt_after=3, html="r.html")  # needs the waveform of every recording, so none is finished
    assert resumed == []
    predict(interrupt_after=4)
    predict(html="r.html")
    assert resumed == [2, 2]
    found = Path("r.csv").read_bytes(), Path("r.html").read_bytes()
    predict(html="r.html")
    assert found == (Path("r.csv").read_bytes(), Path("r.html").read_bytes())


def test_without_a_report_the_rows_are_returned(calls: Path, model_folder: Path) -> None:
    result = predict_folder(
        [calls / "c.flac", "calls/a", Path("calls/text.wav")], model=model_folder, window=6.0, jobs=1
    )
    assert [Path(row.file).name for row in result.predictions] == ["c.flac", "x.wav", "text.wav"]
    assert [row.status for row in result.predictions] == ["ok", "ok", "failed"]
    assert (result.saved, result.scores, result.finished_before) == ((), None, 0)
    assert sorted(path.name for path in Path().iterdir()) == ["calls"]


def test_rows_can_be_written_to_a_stream(calls: Path, model_folder: Path) -> None:
    stream = io.StringIO()
    result = predict_folder("calls", model=model_folder, window=6.0, jobs=2, stdout=stream)
    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert [row["file"] for row in rows] == [
        f"calls/{name}" for name in ("a/x.wav", "b/x.wav", "c.flac", "silent.wav", "text.wav")
    ]
    assert result.predictions == ()


def test_progress_is_a_bar_or_a_function(calls: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predict_folder("calls", model=model_folder, window=6.0, jobs=1)
    assert capsys.readouterr() == ("", "")
    predict_folder("calls", model=model_folder, window=6.0, jobs=1, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "predict: 100%" in err
    assert "5/5" in err
    seen: list[tuple[int, int]] = []
    predict_folder("calls", model=model_folder, window=6.0, jobs=1, progress=lambda *step: seen.append(step[:2]))
    assert sorted(set(seen)) == [(done, 5) for done in range(1, 6)]


def test_an_interrupted_run_goes_on(calls: Path, model_folder: Path) -> None:
    def interrupt(done: int, *_: float) -> None:
        if done == 4:
            raise KeyboardInterrupt

    options: dict[str, Any] = {"model": model_folder, "window": 6.0, "jobs": 1}
    with pytest.raises(KeyboardInterrupt):
        predict_folder("calls", "r.csv", progress=interrupt, **options)
    assert not Path("r.csv").exists()
    told: list[int] = []
    result = predict_folder("calls", "r.csv", on_resume=told.append, **options)
    assert told == [result.finished_before] == [3]
    assert result.summary.recordings == 5
    predict_folder("calls", "whole.csv", **options)
    assert Path("r.csv").read_bytes() == Path("whole.csv").read_bytes()


def test_what_could_not_be_saved_is_saved_by_the_next_run_without_scoring_again(
    calls: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report.csv"

    def run_out_of_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:  # between the report and its summary, where no real disk fills up on demand
        patch.setattr("sercli.prediction.outputs.write_json", run_out_of_space)
        with pytest.raises(OSError, match="No space left"):
            predict_folder(calls, out, model=model_folder, jobs=1)
    result = predict_folder(calls, out, model=model_folder, jobs=1)
    assert result.finished_before == result.summary.recordings - len(result.summary.failures) > 0
    assert (tmp_path / "report.summary.json").is_file()


def test_known_labels_count_a_recording_without_speech_as_wrong(calls: Path, model_folder: Path) -> None:
    (row,) = predict_folder("calls/c.flac", model=model_folder, window=6.0, jobs=1).predictions
    Path("t.csv").write_text(f"file,emotion\ncalls/c.flac,{row.emotion}\ncalls/silent.wav,angry\ncalls/text.wav,sad\n")
    scores = predict_folder("calls", "r.csv", model=model_folder, window=6.0, jobs=1, labels="t.csv").scores
    assert scores is not None
    assert (scores.scored, scores.unanswered, scores.excluded, scores.accuracy) == (2, 1, 1, 0.5)
    summary = json.loads(Path("r.summary.json").read_text())
    assert (summary["accuracy"], summary["uar"], summary["unanswered"]) == (0.5, scores.uar, 1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"out": "r.xlsx2"}, UsageError, "unknown kind of report"),
        ({"channels": "left"}, UsageError, "channels should be one of auto, mix, split"),
        ({"hop": 1.0}, UsageError, "--hop requires fixed windows"),
        ({"segments": "t.doc"}, UsageError, "unknown format of timelines"),
        ({"model": "gone"}, ModelError, "no model at gone"),
        ({"paths": "gone"}, InputError, "no such file or folder: gone"),
    ],
)
def test_what_does_not_fit_is_an_error_before_any_work(
    calls: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {"paths": "calls", "jobs": 1, **options}
    with pytest.raises(error, match=message):
        predict_folder(**arguments)
    assert sorted(path.name for path in Path().iterdir()) == ["calls"]
