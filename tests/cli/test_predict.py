"""``sercli predict`` as users see it: exit status, stdout, stderr, and what is left when it is stopped."""

import contextlib
import csv
import inspect
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import typer

from sercli.cli import main
from sercli.cli.app import app
from sercli.config import CHANNEL_MODES
from sercli.labels import EMOTIONS
from sercli.prediction.batch import PredictOptions, predict_folder
from sercli.prediction.report import FORMATS
from sercli.prediction.rows import list_columns
from sercli.prediction.settings import DEVICES, EXPLANATION_SUFFIXES
from sercli.prediction.timeline import TIMELINES
from tests.command import Process, start_sercli
from tests.sounds import write_sound, write_tone
from tests.toy import make_ravdess
from tests.toy_model import make_model

STRANGE_NAMES = [
    "a b.wav",
    'say "hi".wav',
    "it's.wav",
    "line\nbreak.wav",
    "café 😀.wav",
    "=1+1.wav",
    "-q.wav",
    "[b]x.wav",
]


class Result(NamedTuple):
    status: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def run(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``sercli predict`` in a folder of its own, as the command would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    before = signal.getsignal(signal.SIGTERM)

    def run_predict(*arguments: str | Path, stdin: bytes | None = b"", model: Path = model, vad: str = "off") -> Result:
        argv = ["sercli", "predict", "--model", str(model), "--vad", vad, "--jobs", "1", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", argv)
        monkeypatch.setattr(sys, "stdin", None if stdin is None else io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as stopped:
            main()
        signal.signal(signal.SIGTERM, before)
        out, err = capsys.readouterr()
        assert isinstance(stopped.value.code, int)
        return Result(stopped.value.code, out, err)

    return run_predict


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """A folder of three recordings."""
    for number, name in enumerate(("a/x.wav", "b/x.wav", "c.flac")):
        write_tone(tmp_path / "calls" / name, seconds=0.5 + number, frequency=200 + 90 * number, seed=number)
    return tmp_path / "calls"


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def start(
    *arguments: str | Path, model: Path, cwd: Path, disk: int | None = None, stdout: int = subprocess.PIPE
) -> Process:
    return start_sercli("predict", "--model", model, "--vad", "off", *arguments, cwd=cwd, disk=disk, stdout=stdout)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")
def test_a_cluster_that_is_not_there_leaves_nothing_on_stdout(
    run: Run, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sercli.parallel.CONNECT_TIMEOUT", 1)
    status, out, err = run("calls", "--dask", "tcp://127.0.0.1:9")
    assert (status, out) == (1, "")
    assert "no Dask scheduler answers" in err


def test_report_in_order_with_a_summary(run: Run, calls: Path) -> None:
    status, out, err = run("calls", "--out", "new/report.csv")
    assert (status, out) == (0, "")
    rows = read_csv(Path("new/report.csv").read_text(encoding="utf-8"))
    assert [row["file"] for row in rows] == ["calls/a/x.wav", "calls/b/x.wav", "calls/c.flac"]
    assert [row["duration"] for row in rows] == ["0.500000", "1.500000", "2.500000"]
    assert {row["status"] for row in rows} == {"ok"}
    assert re.search(r"3 recordings, [\d.]+ s of audio in [\d.]+ s: 3 ok, 0 without", err)
    for emotion in {row["emotion"] for row in rows}:
        count = sum(row["emotion"] == emotion for row in rows)
        assert re.search(rf"^{emotion} +\d+% +{count} +\d+%", err, re.MULTILINE)
    assert "saved new/report.csv, new/report.summary.json" in err
    assert list_names(Path("new")) == ["report.csv", "report.summary.json"]


def test_without_out_stdout_is_csv_and_nothing_else(run: Run, calls: Path) -> None:
    status, out, err = run("calls", "--verbose")
    assert status == 0
    assert out.splitlines()[0] == ",".join(list_columns(EMOTIONS))
    assert len(read_csv(out)) == 3
    assert ", 3 recordings, 1 jobs" in err
    assert "3 ok" in err
    assert "3 ok" not in out


def test_quiet_success_is_silent(run: Run, calls: Path) -> None:
    assert run("calls", "-q", "-o", "r.json") == Result(0, "", "")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl"])
def test_jobs_give_the_same_report(run: Run, calls: Path, suffix: str) -> None:
    (calls / "bad.wav").write_text("text")
    write_sound(calls / "silent.wav", np.zeros(8_000))
    for jobs in ("1", "4"):
        assert run("calls", "-o", f"{jobs}{suffix}", "--jobs", jobs).status == 1
    assert Path(f"1{suffix}").read_bytes() == Path(f"4{suffix}").read_bytes()


def test_a_list_on_stdin(run: Run, calls: Path) -> None:
    status, out, _ = run("-", stdin=b"calls/c.flac\ncalls/a\n")
    assert (status, [row["file"] for row in read_csv(out)]) == (0, ["calls/c.flac", "calls/a/x.wav"])
    status, out, err = run("-", stdin=b"calls/c.flac\0gone.wav\0")
    assert (status, [row["status"] for row in read_csv(out)]) == (1, ["ok", "failed"])
    assert "error: gone.wav: no such file" in err
    for nothing in (b"", None):
        assert run("-", stdin=nothing) == Result(
            1, "", "error: the list of recordings on stdin is empty: expected one path per line\n"
        )


def test_bad_recordings_are_rows_and_lines_and_status_1(run: Run, calls: Path) -> None:
    good = (calls / "b/x.wav").read_bytes()
    (calls / "b/cut.wav").write_bytes(good[:20_000])
    (calls / "b/text.wav").write_text("hello")
    write_sound(calls / "b/none.wav", np.zeros((0, 1)))
    write_sound(calls / "b/one.wav", np.array([0.5, -0.5]))
    write_sound(calls / "b/nan.wav", np.array([0.1, np.nan]), subtype="FLOAT")
    status, out, err = run("calls", "--quiet")
    rows = {row["file"]: row for row in read_csv(out)}
    assert status == 1
    assert list(rows) == [
        "calls/a/x.wav",
        *(f"calls/b/{name}.wav" for name in ("cut", "nan", "none", "one", "text", "x")),
        "calls/c.flac",
    ]
    reasons = {
        "calls/b/nan.wav": "contains samples that are not finite numbers",
        "calls/b/none.wav": "contains no samples",
        "calls/b/text.wav": "is not a sound file that can be decoded",
    }
    assert {file for file, row in rows.items() if row["status"] == "failed"} == set(reasons)
    for file, reason in reasons.items():
        assert rows[file]["error"].startswith(reason)
        assert f"error: {file}: {reason}" in err
    assert rows["calls/b/cut.wav"]["status"] == rows["calls/b/one.wav"]["status"] == "ok"
    assert err.count("\n") == len(reasons)


def test_silence_is_neither_an_emotion_nor_a_failure(run: Run, tmp_path: Path) -> None:
    write_sound(tmp_path / "silence.wav", np.zeros(16_000))
    status, out, err = run("silence.wav")
    (row,) = read_csv(out)
    assert (status, row["status"], row["emotion"], row["p_sad"], row["end"]) == (0, "no-speech", "", "", "1.000000")
    assert "0 ok, 1 without speech, 0 failed" in err


def test_names_of_all_kinds(run: Run, tmp_path: Path) -> None:
    names = sorted([*STRANGE_NAMES, os.fsdecode(b"caf\xe9.wav")])
    for name in names:
        write_tone(tmp_path / "calls" / name, seconds=0.2)
    status, _, err = run("calls", "-o", "r.json")
    assert status == 0, err
    shown = [f"calls/{name}".replace("\udce9", "\\xe9") for name in names]
    assert [row["file"] for row in json.loads(Path("r.json").read_text(encoding="utf-8"))] == shown
    assert [row["file"] for row in read_csv(run("calls").out)] == shown
    # As arguments, without a folder before them.
    os.chdir("calls")
    status, out, err = run("--", *names)
    assert status == 0, err
    cells = [row["file"] for row in read_csv(out)]
    assert [cell for cell in cells if cell.startswith("'")] == ["'-q.wav", "'=1+1.wav"]
    assert len(cells) == len(names)


def test_a_strange_name_that_fails_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "line\nbreak [red].wav").write_text("text")
    status, out, err = run("line\nbreak [red].wav", "-q")
    assert status == 1
    assert err.startswith("error: line break [red].wav: is not a sound file")
    assert err.count("\n") == 1
    assert read_csv(out)[0]["file"] == "line\nbreak [red].wav"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "Missing argument 'PATH'"),
        (["gone"], 1, "no such file or folder: gone"),
        (["calls", "gone.wav"], 1, "no such file or folder: gone.wav"),
        (["empty"], 1, "no recording in empty: expected sound files"),
        (["calls", "-o", "r.doc"], 2, "unknown kind of report 'r.doc': expected a name ending in .csv, .tsv, "),
        (["calls", "-o", "r"], 2, "unknown kind of report 'r'"),
        (["calls", "-o", "folder.csv"], 2, "cannot write the report to folder.csv: it is a folder"),
        (["calls", "-o", "calls/c.flac/new/r.csv"], 2, "to calls/c.flac/new/r.csv: calls/c.flac is not a folder"),
        (["calls", "--device", "tpu"], 2, "device should be one of auto, cpu, cuda, mps, found 'tpu'"),
        (["calls", "--jobs", "0"], 2, "Invalid value for '--jobs'"),
        (["calls", "--labels", "gone.csv"], 1, "no table at gone.csv: no such file"),
        (["calls", "--labels", "names"], 1, "no recording has a known label"),
        (
            ["calls", "--labels", "joy.csv"],
            1,
            "joy.csv has labels that the model does not know (line 2: 'joy'): expected neutral",
        ),
        (["calls", "--model", "gone"], 1, "no model at gone"),
    ],
)
def test_wrong_calls_say_why_in_one_line(
    run: Run, calls: Path, tmp_path: Path, arguments: list[str], status: int, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "joy.csv").write_text("file,emotion\na/x.wav,joy\n")
    before = sorted(tmp_path.rglob("*"))
    found = run(*arguments)
    assert (found.status, found.out) == (status, "")
    assert message in found.err
    assert found.err.count("\n") == 1
    assert found.err.startswith("error: ")
    assert sorted(tmp_path.rglob("*")) == before


def change(**values: object) -> Callable[[bytes], bytes]:
    return lambda whole: json.dumps({**json.loads(whole), **values}).encode()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.onnx", lambda whole: whole[: len(whole) // 2], "model.onnx is not the file that model.json names"),
        ("model.onnx", lambda _: None, "model.onnx is missing: the model folder is incomplete"),
        ("model.onnx", lambda _: b"", "model.onnx is not the file that model.json names"),
        ("model.json", lambda whole: whole[: len(whole) // 2], "model.json is not valid JSON"),
        ("model.json", lambda _: None, "model.json is missing: expected a model folder, as written by 'sercli train'"),
        ("model.json", lambda _: b"{}", "has no schema version, expected 2: make it again with 'sercli train'"),
        ("model.json", change(typicality=[1]), "typicality should be an object, found list"),
        ("model.json", change(figures=[1]), "figures should be an object, found list"),
        (
            "model.json",
            change(figures={"emobox": {"uar": "high"}}),
            "figures, emobox lacks a value or has an invalid one",
        ),
        (
            "model.json",
            change(training_data={"ravdess": 5}),
            "training_data, ravdess lacks a value or has an invalid one",
        ),
        ("model.json", change(training_data={"csv": {"utterances": 1}}), "training_data, csv lacks a value"),
        ("model.json", change(recipe="paper"), "recipe should be an object, found str"),
    ],
    ids=["graph cut", "graph missing", "graph empty", "json cut", "json missing", "json empty", *"abcdef"],
)
def test_a_damaged_model_folder(
    run: Run, calls: Path, tmp_path: Path, name: str, content: Callable[[bytes], bytes | None], message: str
) -> None:
    folder = make_model(tmp_path / "damaged")
    changed = content((folder / name).read_bytes())
    (folder / name).unlink()
    if changed is not None:
        (folder / name).write_bytes(changed)
    (tmp_path / "r.csv").write_text("old")
    status, out, err = run("calls", "-o", "r.csv", "--html", "r.html", model=folder)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert message in err
    assert (tmp_path / "r.csv").read_text() == "old"


def test_a_graph_of_another_model(run: Run, calls: Path, tmp_path: Path) -> None:
    folder, other = make_model(tmp_path / "one"), make_model(tmp_path / "other", seed=1)
    (other / "model.onnx").replace(folder / "model.onnx")
    status, _, err = run("calls", model=folder)
    assert status == 1
    assert "model.onnx is not the file that model.json names: expected sha256" in err


def test_rows_go_to_stdout_also_below_a_progress_bar(calls: Path) -> None:
    """Stderr is a terminal, stdout is not, as with ``sercli predict calls > report.csv``."""
    terminal, side = os.openpty()
    command = [sys.executable, "-m", "sercli", "predict", "calls"]
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=side, cwd=calls.parent, env=environment) as process:
        os.close(side)
        shown = b""
        with contextlib.suppress(OSError):  # the other side is closed
            while block := os.read(terminal, 1 << 16):
                shown += block
        assert process.stdout
        out = process.stdout.read().decode()
    os.close(terminal)
    assert b"predict" in shown, "the bar"
    assert out.splitlines()[0].startswith("file,start,end,channel,status,emotion")
    assert [line.split(",")[0] for line in out.splitlines()[1:]] == ["calls/a/x.wav", "calls/b/x.wav", "calls/c.flac"]
    assert b"calls/a/x.wav" not in shown


@pytest.mark.parametrize("option", ["--html", "--segments"])
def test_an_output_that_cannot_be_written_is_refused_before_any_work(
    run: Run, calls: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writable = os.access
    closed = str(Path("closed").absolute())
    Path(closed).mkdir()
    monkeypatch.setattr(os, "access", lambda path, *a, **k: str(path) != closed and writable(path, *a, **k))
    status, _, err = run("calls", "--out", "r.csv", option, f"closed/{'r.html' if option == '--html' else 't.csv'}")
    assert (status, err.count("\n")) == (2, 1)
    assert "cannot write into" in err
    assert not Path("r.csv").exists()
    assert not Path(".r.csv.journal").exists()


def test_restart_without_a_report_is_wrong_usage(run: Run, calls: Path) -> None:
    status, out, err = run("calls", "--restart")
    assert (status, out) == (2, "")
    assert err == "error: --restart requires --out: only a report can be resumed\n"


def test_scores_against_a_table(run: Run, calls: Path, tmp_path: Path) -> None:
    emotions = [row["emotion"] for row in read_csv(run("calls").out)]
    wrong = "calm" if emotions[1] != "calm" else "sad"
    table = f"file,emotion\ncalls/a/x.wav,{emotions[0]}\ncalls/b/x.wav,{wrong}\n"
    (tmp_path / "truth.csv").write_text(table)
    status, out, err = run("calls", "--labels", "truth.csv", "--out", "r.tsv")
    assert (status, out) == (0, "")
    assert "accuracy 50.0%, UAR 50.0%" in err
    assert "of 2 scored, 0 of them without detected speech, counted as wrong; " in err
    assert "counted as wrong; 1 without a known label, 0 excluded (failed, uncertain, or on a silent channel)" in err
    assert "saved r.tsv, r.summary.json, r.confusion.png" in err
    assert json.loads(Path("r.summary.json").read_text())["accuracy"] == 0.5
    assert Path("r.confusion.png").read_bytes().startswith(b"\x89PNG")
    shown = err[err.index("truth  ") : err.index("accuracy")].splitlines()
    assert max(map(len, shown)) <= 80
    assert shown[0].split()[-3:] == ["recall", "precision", "F1"]
    (line,) = (line.split() for line in shown if line.startswith(wrong))
    assert line[-3:] == ["0%", "0%", "0%"]
    assert sum(map(int, line[1:-3])) == 1


def test_scores_against_names(run: Run, tmp_path: Path) -> None:
    make_ravdess(tmp_path / "toy", speakers=2, emotions=("sad", "happy"), takes=1, seconds=0.3)
    (tmp_path / "toy/Actor_01/03-01-05-01-01-01-01.wav").write_text("text")
    status, out, err = run("toy", "--labels", "names")
    assert (status, len(read_csv(out))) == (1, 5)
    assert re.search(
        r"accuracy \d+\.\d%, UAR \d+\.\d%, .* of 4 scored, 0 of them without detected speech, counted as wrong; ", err
    )
    assert "0 without a known label, 1 excluded (failed, uncertain, or on a silent channel)" in err
    assert not list(tmp_path.glob("*.json"))


def test_nothing_that_could_be_scored(run: Run, tmp_path: Path) -> None:
    (tmp_path / "03-01-05-01-01-01-01.wav").write_text("text")
    status, _, err = run("03-01-05-01-01-01-01.wav", "--labels", "names", "-o", "r.csv")
    assert status == 1
    assert "warning: nothing to score: 0 without a known label, 1 excluded (failed, uncertain, or" in err
    assert json.loads(Path("r.summary.json").read_text())["accuracy"] is None


def test_a_full_disk_leaves_the_old_report(calls: Path, model: Path, tmp_path: Path) -> None:
    for number in range(60):
        os.link(calls / "c.flac", calls / f"{number}.flac")
    (tmp_path / "r.csv").write_text("old")
    process = start(calls, "-o", tmp_path / "r.csv", model=model, cwd=tmp_path, disk=4_096)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    journal = tmp_path / ".r.csv.journal"
    assert err.startswith(f"error: File too large ({journal}): ")
    assert err.count("\n") == 1
    assert (tmp_path / "r.csv").read_text() == "old"
    assert list_names(tmp_path) == [".r.csv.journal", "calls", "r.csv"]


def test_a_full_disk_under_timelines_does_not_take_the_rows_from_stdout(
    calls: Path, model: Path, tmp_path: Path
) -> None:
    process = start(
        "calls",
        "-q",
        "--window",
        "0.1",
        "--hop",
        "0.05",
        "--segments",
        f"{tmp_path / 't'}/",
        model=model,
        cwd=tmp_path,
        disk=6_000,
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert err.startswith(f"error: File too large ({tmp_path / 't' / 'c.flac.csv'}): ")
    assert err.count("\n") == 1
    rows = read_csv(out)
    written = [path.relative_to(tmp_path / "t").as_posix() for path in sorted((tmp_path / "t").rglob("*.csv"))]
    assert [f"{Path(row['file']).relative_to('calls').as_posix()}.csv" for row in rows] == written
    assert written == ["a/x.wav.csv", "b/x.wav.csv"]


def test_a_full_disk_under_stdout_is_one_line(calls: Path, model: Path) -> None:
    with Path("/dev/full").open("w") as full:
        process = start("-q", calls, model=model, cwd=calls, stdout=full.fileno())
        _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert err.startswith("error: No space left on device (standard output): ")
    assert err.count("\n") == 1


def test_a_reader_that_goes_away_is_no_traceback(calls: Path, model: Path) -> None:
    process = start(calls, "-q", model=model, cwd=calls)
    assert process.stdout
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=120), err) == (1, "")


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_in_the_middle_it_leaves_the_old_report_and_no_other(
    calls: Path, model: Path, tmp_path: Path, sign: signal.Signals
) -> None:
    write_tone(calls / "long.flac", seconds=10)
    for number in range(2_000):
        os.link(calls / "long.flac", calls / f"long {number}.flac")
    (tmp_path / "r.csv").write_text("old")
    process = start(calls, "-o", tmp_path / "r.csv", "--jobs", "2", model=model, cwd=tmp_path)
    until = time.monotonic() + 60
    while not (tmp_path / ".r.csv.journal").exists() or (tmp_path / ".r.csv.journal").stat().st_size < 5_000:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(sign)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (1, "error: interrupted; finished work is kept: repeat the command to resume\n")
    assert (tmp_path / "r.csv").read_text() == "old"
    assert list_names(tmp_path) == [".r.csv.journal", "calls", "r.csv"]


def test_samples_go_through(run: Run) -> None:
    samples = Path(__file__).parents[2] / "samples"
    status, out, err = run(samples, vad="on")
    rows = read_csv(out)
    assert status == 0, err
    assert len(rows) == 13
    assert [row["channel"] for row in rows][:3] == ["1", "2", "mix"]  # a call with a speaker on each side
    assert [Path(row["file"]).name for row in rows if row["status"] == "no-speech"] == ["silence.wav"]
    assert {Path(row["file"]).suffix for row in rows} == {".wav", ".flac", ".ogg"}
    assert max(path.stat().st_size for path in samples.rglob("*.*")) < 200_000


def test_timelines_beside_the_report_and_in_its_rows(run: Run, calls: Path) -> None:
    status, _, err = run("calls", "-o", "r.json", "--segments", "t/", "--segments-format", "vtt")
    assert status == 0, err
    assert [path.relative_to("t").as_posix() for path in sorted(Path("t").rglob("*.vtt"))] == [
        "a/x.wav.vtt",
        "b/x.wav.vtt",
        "c.flac.vtt",
    ]
    rows = json.loads(Path("r.json").read_text())
    assert [row["segments"][-1]["end"] for row in rows] == [0.5, 1.5, 2.5]
    assert run("calls", "-o", "r.json").status == 0
    assert "segments" not in json.loads(Path("r.json").read_text())[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--segments", "r.csv"], "r.csv is read or written already"),
        (["--segments", "r.summary.json"], "r.summary.json is read or written already"),
        (["--segments", "calls/c.flac.csv", "-o", "calls/c.flac.csv"], "c.flac.csv is read or written already"),
        (["--segments", "r.csv/x/"], "r.csv/x would lie inside the report, which is a file"),
        (["--segments", "r.srt"], "r.srt cannot tell 3 recordings apart: give a folder"),
        (["--segments", "r.doc"], "unknown format of timelines 'doc': expected one of .csv"),
        (["--segments", "t/", "--segments-format", "doc"], "unknown format of timelines 'doc'"),
        (["--segments-format", "srt"], "--segments-format requires --segments"),
        (["--segments", "all.csv", "--segments-format", "srt"], "the suffix of all.csv names its format"),
        (["--segments", "t/", "--segments-format", "rttm"], "cannot write the timeline t/c.flac.rttm: it is a folder"),
        (["--segments", "calls/c.flac/t/"], "calls/c.flac is not a folder"),
        (["--channels", "left"], "channels should be one of auto, mix, split, found 'left'"),
        (["--vad", "maybe"], "--vad should be on or off, found 'maybe'"),
        (["--vad", "on", "--hop", "1"], "--hop requires fixed windows"),
        (["--window", "2", "--hop", "3"], "--hop 3 would leave gaps between windows of 2 s"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(run: Run, calls: Path, arguments: list[str], message: str) -> None:
    Path("t/c.flac.rttm").mkdir(parents=True)
    status, out, err = run("calls", "-o", "r.csv", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not Path("r.csv").exists()


def test_the_command_has_the_options_of_the_function() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    offered = {parameter.name for parameter in commands["predict"].params} - {"verbose", "quiet"}
    own = {name for name in inspect.signature(predict_folder).parameters if name != "options"}
    renamed = own - {"cluster", "progress", "on_resume", "stdin", "stdout"} | {"dask"}
    assert offered == renamed | PredictOptions.__optional_keys__


@pytest.mark.parametrize(
    ("command", "name", "choices"),
    [
        ("predict", "out", FORMATS),
        ("predict", "segments", TIMELINES),
        ("explain", "out", EXPLANATION_SUFFIXES),
        ("predict", "device", DEVICES),
        ("train", "device", DEVICES),
    ],
)
def test_help_lists_all_choices(command: str, name: str, choices: Iterable[str]) -> None:
    assert ", ".join(choices) in find_parameter(command, name).help


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("channels", list(CHANNEL_MODES)),
        ("vad", ["on", "off"]),
        ("device", list(DEVICES)),
        ("segments_format", [suffix[1:] for suffix in TIMELINES]),
    ],
)
def test_the_shell_completes_choices(name: str, choices: list[str]) -> None:
    parameter = find_parameter("predict", name)
    context = typer.Context(typer.main.get_command(app))
    assert [item.value for item in parameter.shell_complete(context, "")] == choices
    assert [item.value for item in parameter.shell_complete(context, choices[-1])] == choices[-1:]


def find_parameter(command: str, name: str) -> Any:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return next(parameter for parameter in commands[command].params if parameter.name == name)


def test_fixed_windows_of_any_size(run: Run, calls: Path) -> None:
    assert run("calls/c.flac", "-o", "r.json", "--segments", "r.tsv", "--window", "1", "--hop", "0.5").status == 0
    lines = [line.split("\t")[:2] for line in Path("r.tsv").read_text().splitlines()[1:]]
    assert lines == [["0", "1000"], ["500", "1500"], ["1000", "2000"], ["1500", "2500"]]
    (row,) = json.loads(Path("r.json").read_text())
    (told,) = json.loads(Path("r.summary.json").read_text())["channels"].values()
    # What windows share is heard once.
    assert sum(share["speech_seconds"] for share in told.values()) == pytest.approx(row["speech"])


@pytest.mark.parametrize("name", ["model.json", "model.onnx", "model.safetensors", "MODEL_CARD.md"])
@pytest.mark.parametrize("option", ["--segments", "--out"])
def test_the_model_is_not_written_over(calls: Path, model: Path, run: Run, name: str, option: str) -> None:
    before = (model / name).read_bytes()
    link = calls.parent / "link.json"
    link.symlink_to(model / name)
    status, _, err = run("calls", option, link)
    assert (status, "link.json is read or written already" in err) == (2, True)
    assert (model / name).read_bytes() == before


def test_the_picture_of_an_earlier_run_does_not_stay_beside_a_new_report(run: Run, calls: Path) -> None:
    Path("truth.csv").write_text("file,emotion\ncalls/c.flac,sad\n")
    assert run("calls", "-o", "r.csv", "--labels", "truth.csv").status == 0
    assert Path("r.confusion.png").exists()
    assert run("calls", "-o", "r.csv").status == 0
    assert not Path("r.confusion.png").exists()


def test_the_picture_of_another_report_stays(run: Run, calls: Path) -> None:
    Path("truth.csv").write_text("file,emotion\ncalls/c.flac,sad\n")
    assert run("calls/c.flac", "-o", "r.csv", "--labels", "truth.csv").status == 0
    for _ in range(2):
        assert run("calls/c.flac", "-o", "r.json").status == 0
        assert Path("r.confusion.png").exists()


def test_doubt_is_reported_rather_than_a_guess(run: Run, calls: Path) -> None:
    status, out, err = run("calls", "--min-confidence", "1")
    assert status == 0
    assert {(row["status"], row["emotion"]) for row in read_csv(out)} == {("ok", "uncertain")}
    assert re.search(r"^uncertain +100%", err, re.MULTILINE)


def test_what_is_unlike_training_is_reported_in_the_row(run: Run, tmp_path: Path) -> None:
    write_sound(tmp_path / "loud.wav", np.sign(np.sin(np.arange(32_000) / 20)))
    status, out, err = run("loud.wav")
    (row,) = read_csv(out)
    assert (status, row["status"]) == (0, "ok")
    assert row["warning"].startswith("clipped (")
    assert row["error"] == ""
    assert "warnings: clipped (1)" in err
