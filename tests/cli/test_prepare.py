"""``sercli prepare`` as users see it: exit status, stderr, and what is left when it is stopped."""

import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from sercli.cli import main
from sercli.corpora.index import read_index
from sercli.corpora.registry import CORPORA
from tests.corpora import server
from tests.corpora.server import open_shop
from tests.sounds import write_tone
from tests.toy import make_ravdess

NAME = "Actor_01/03-01-03-01-01-01-01.wav"
RAVDESS_ZIP = 208_468_073  # bytes of the download


class Result(NamedTuple):
    status: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``sercli prepare`` in a folder of its own, as the command would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SERCLI_DATA_DIR", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    before = signal.getsignal(signal.SIGTERM)

    def run_prepare(*arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["sercli", "prepare", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        signal.signal(signal.SIGTERM, before)
        out, err = capsys.readouterr()
        assert isinstance(stopped.value.code, int)
        return Result(stopped.value.code, out, err)

    return run_prepare


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return make_ravdess(tmp_path / "toy", speakers=2, takes=1, seconds=0.1)


def test_a_folder_is_indexed_and_what_is_missing_is_named(run: Run, toy: Path) -> None:
    write_tone(toy / "x/03-01-06-01-01-01-24.wav", channels=2, seconds=0.2)
    status, out, err = run("--from", toy)
    assert (status, out) == (0, "")
    assert re.search(r"neutral\s+│\s+1 │\s+1 │\s+2", err)
    assert re.search(r"fearful\s+│\s+1 │\s+0 │\s+1", err)
    assert re.search(r"all\s+│\s+5 │\s+4 │\s+9", err)
    assert "3 speakers, 0.00 hours, 1 file with more than one channel, 0 duplicates" in err
    assert "warning: missing from ravdess (1431): 03-01-01-01-01-01-03; " in err
    assert "; and 1426 more (--verbose shows all)" in err
    assert "warning: ravdess is incomplete (8): 2 of 96 neutral; 0 of 192 calm; " in err
    assert "indexed 9 utterances of ravdess in data/index.csv" in err
    assert len(read_index(Path("data/index.csv"))) == 9


def test_second_run_says_that_there_is_nothing_to_do(run: Run, toy: Path) -> None:
    run("--from", toy)
    again = run("--from", toy)
    assert again.status == 0
    assert "ravdess is already prepared, 8 utterances in data/index.csv" in again.err
    for option in ("--force", "--restart"):
        assert "indexed 8 utterances" in run("--from", toy, option).err


def test_failures_are_one_line_and_status_1(run: Run, toy: Path) -> None:
    (toy / NAME).write_text("text")
    write_tone(toy / "hello [red].wav")
    write_tone(toy / "03-02-03-01-01-01-01.wav")
    status, _, err = run("--from", toy, "--quiet")
    assert status == 1
    assert err.count("\n") == 1
    assert err.startswith("error: not indexed (2): hello [red].wav: not a file name of ravdess: expected seven")
    assert f"; {NAME}: is not a sound file" in err
    assert len(read_index(Path("data/index.csv"))) == 7
    err = run("--from", toy).err
    assert "warning: extra files, not indexed (1): 03-02-03-01-01-01-01.wav: belongs to another" in err


def test_verbose_lists_all(run: Run, toy: Path) -> None:
    err = run("--from", toy, "-v").err
    assert "03-01-08-02-02-02-24" in err
    assert "--verbose" not in err


def test_quiet_success_is_silent(run: Run, toy: Path) -> None:
    assert run("--from", toy, "-q") == Result(0, "", "")


def test_labels_of_a_table_can_be_merged(run: Run, toy: Path) -> None:
    Path("my.csv").write_text(f"file,emotion,speaker\ntoy/{NAME},joy,ann\n")
    near = run("csv", "--labels", "my.csv")
    assert near.status == 0
    assert "warning: these labels are synonyms of sercli's: merge them with --map joy=happy" in near.err
    typo = run("csv", "--labels", "my.csv", "--map", "yoj=happy", "--index", "other.csv")
    assert (typo.status, typo.err) == (2, "error: unknown label 'yoj': expected one of joy\n")
    taken = run("csv", "--labels", "my.csv", "--map", "joy=happy", "--index", "other.csv", "-j", "99")
    assert taken.status == 0
    assert "1 speaker," in taken.err
    (row,) = read_index(Path("other.csv")).utterances
    assert (row.file, row.corpus, row.speaker, row.emotion) == (f"toy/{NAME}", "csv", "csv-ann", "happy")


def test_cells_that_should_be_empty_are_named(run: Run, toy: Path) -> None:
    files = sorted(toy.rglob("*.wav"))[:3]
    rows = zip(files, ("NaN", "sad", "sad"), ("ann", "nan", "Nan Goldin"), strict=True)
    Path("my.csv").write_text("file,emotion,speaker\n" + "".join(f"{f},{label},{who}\n" for f, label, who in rows))
    status, _, err = run("csv", "--labels", "my.csv")
    assert status == 0
    assert "labels or speakers look like empty cells: 'NaN' (1), 'nan' (1); leave unknown cells empty" in err


def test_speakers_that_may_be_one_are_named(run: Run, toy: Path) -> None:
    rows = zip(sorted(toy.rglob("*.wav")), ("Ann", "ann", "bob 1", "bob_1", "Cleo"), strict=False)
    Path("my.csv").write_text("file,emotion,speaker\n" + "".join(f"{f},sad,{who}\n" for f, who in rows))
    status, _, err = run("csv", "--labels", "my.csv")
    assert status == 0
    assert "warning: speakers with nearly the same name, treated as different people (2): 'Ann' and 'ann'; " in err
    assert "; 'bob 1' and 'bob_1'\n" in err


def test_copies_are_named_and_not_counted(run: Run, toy: Path) -> None:
    shutil.copytree(toy, toy / "audio_speech_actors_01-24")
    status, _, err = run("--from", toy)
    assert status == 0
    assert "warning: duplicate files, not indexed (8): audio_speech_actors_01-24/" in err
    assert f"{NAME}: copy of {NAME}" in run("--from", toy, "-v").err
    assert "indexed 8 utterances" in err


def test_archive_that_cannot_be_read_is_one_line(run: Run) -> None:
    Path("all.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(50))
    status, _, err = run("--from", "all.7z")
    assert (status, err.count("\n")) == (1, 1)
    assert "is a 7z archive, which sercli does not read: unpack it and give the folder" in err


def test_help_lists_the_corpora(run: Run) -> None:
    out = run("--help").out
    text = " ".join(out.replace("│", " ").split())
    assert "ravdess, ravdess-song, crema-d, emodb" in text
    assert "csv (your own recordings, labeled in a table)" in text


def test_list_shows_every_corpus(run: Run) -> None:
    status, out, _ = run("--list")
    assert status == 0
    lines = [line for line in out.splitlines() if line[:1].strip()]
    assert [line.split()[0] for line in lines[1:]] == list(CORPORA)
    assert re.search(r"^iemocap +12\.0 +10 ", out, re.MULTILINE)
    assert "boredom" in out
    assert not Path("data").exists()


def test_folder_of_data_from_the_environment(
    run: Run, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERCLI_DATA_DIR", str(tmp_path / "elsewhere"))
    assert run("--from", toy).status == 0
    assert (tmp_path / "elsewhere/index.csv").is_file()
    assert not Path("data").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["emo"], 2, "unknown corpus 'emo': expected one of ravdess, ravdess-song, crema-d"),
        (["nemo"], 2, "sercli cannot download nemo"),
        (["csv"], 2, "the corpus csv needs a table of labels"),
        (["ravdess", "--labels", "x"], 2, "--labels is for the corpus csv"),
        (["csv", "--labels", "x", "--map", "joy"], 2, "cannot read the label map at 'joy'"),
        (
            ["csv", "--labels", "x", "--map", "joy=uncertain"],
            2,
            "'uncertain' cannot be a label: 'uncertain' is reserved",
        ),
        (["csv", "--labels", "gone.csv"], 1, "no table at gone.csv: no such file"),
        (["--from", "gone"], 1, "no such file or folder: gone"),
        (["--from", "."], 1, "no recording under ."),
        (["--jobs", "0"], 2, "Invalid value for '--jobs'"),
        (["--nonsense"], 2, "No such option: --nonsense"),
        (["--url", "ftp://127.0.0.1/x"], 1, "cannot fetch ftp://127.0.0.1/x"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_one_line(run: Run, arguments: list[str], status: int, message: str) -> None:
    result = run(*arguments)
    assert result.status == status
    assert result.out == ""
    assert result.err.startswith(f"error: {message}")
    assert result.err.count("\n") == 1
    assert not Path("data/index.csv").exists()


def test_mirror_with_another_file(run: Run) -> None:
    with open_shop(b"page") as shop:
        result = run("--url", shop.url)
    assert result.status == 1
    assert f"offers 4 bytes, expected {RAVDESS_ZIP}" in result.err
    assert list(Path("data").rglob("*.*")) == []


def test_help_tells_every_option(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    status, out, _ = run("--help")
    assert status == 0
    for option in ("--from", "--labels", "--map", "--url", "--force", "--jobs", "--data-dir", "--index"):
        assert option in out
    assert out.count("[default:") >= 5


def start(folder: Path, *arguments: str | Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "NO_PROXY": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, "-m", "sercli", "prepare", *map(str, arguments), "--data-dir", str(folder / "data")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def write_long_recording(path: Path) -> Path:
    """A gigabyte of silence, most of it a hole in the file, that takes seconds to decode."""
    with path.open("wb") as stream, wave.open(stream, "wb") as sound:
        sound.setparams((2, 2, 48_000, 0, "NONE", ""))
        sound.writeframes(np.zeros(2, np.int16).tobytes())
    size = 1 << 30
    content = bytearray(path.read_bytes())
    content[4:8] = (size + 36).to_bytes(4, "little")
    content[40:44] = size.to_bytes(4, "little")
    path.write_bytes(content)
    os.truncate(path, size + 44)
    return path


def wait_until_open(process: "subprocess.Popen[str]", path: Path) -> None:
    links = Path(f"/proc/{process.pid}/fd")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        with contextlib.suppress(FileNotFoundError):  # closed while we look
            if any(str(link.readlink()) == str(path) for link in links.iterdir()):
                return
        time.sleep(0.01)
    pytest.fail(f"{path} was never opened")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to see which files are open")
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_decoding(tmp_path: Path, toy: Path, jobs: str, sent: signal.Signals) -> None:
    long = write_long_recording(toy / "03-01-08-02-02-02-24.wav")
    process = start(tmp_path, "--from", toy, "--jobs", jobs)
    wait_until_open(process, long)
    process.send_signal(sent)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert err == "error: interrupted\n"
    assert [path for path in tmp_path.rglob("*") if toy not in (path, *path.parents)] == []


def test_interrupted_while_downloading(tmp_path: Path) -> None:
    with open_shop(b"x" * 500_000, server.stall_after(500_000, RAVDESS_ZIP)) as shop:
        process = start(tmp_path, "--url", shop.url)
        assert shop.stalled.wait(60)
        part = tmp_path / "data/ravdess/Audio_Speech_Actors_01-24.zip.part"
        deadline = time.monotonic() + 30
        while not part.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err == "error: interrupted; finished work is kept: repeat the command to resume\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [part]
    assert set(part.read_bytes()) <= {ord("x")}


def test_a_second_download_of_a_corpus_is_refused(tmp_path: Path, run: Run) -> None:
    with open_shop(b"x" * 500_000, server.stall_after(500_000, RAVDESS_ZIP)) as shop:
        process = start(tmp_path, "--url", shop.url)
        assert shop.stalled.wait(60)
        status, _, err = run("--url", shop.url, "--data-dir", tmp_path / "data")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert status == 1
    assert "data/ravdess is being written by another sercli command: wait until it ends" in err


def limit_files(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def run_with_small_disk(folder: Path, size: int, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "sercli", "prepare", *map(str, arguments), "--data-dir", str(folder / "data")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        preexec_fn=limit_files(size),
    )


def test_index_that_cannot_be_written_stays_as_it_was(run: Run, tmp_path: Path, toy: Path) -> None:
    run("--from", toy)
    before = (tmp_path / "data/index.csv").read_bytes()
    done = run_with_small_disk(tmp_path, 500, "--from", toy, "--force")
    assert done.returncode == 1
    assert re.fullmatch(r"error: File too large.*\n", done.stderr)
    assert (tmp_path / "data/index.csv").read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["index.csv", "ravdess"]


def test_download_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    with open_shop(b"x" * 500_000, server.stall_after(500_000, RAVDESS_ZIP)) as shop:
        done = run_with_small_disk(tmp_path, 100_000, "--url", shop.url)
    assert done.returncode == 1
    assert re.fullmatch(r"error: File too large \(.*Audio_Speech_Actors_01-24\.zip\.part\): .*\n", done.stderr)


def test_genders_and_names_are_shown_as_they_are(run: Run, toy: Path) -> None:
    Path("my.csv").write_text(f"file,emotion,speaker,gender\ntoy/{NAME},sad,ann,[/x]\n\x1b]0;gone.wav,sad,ann,[/x]\n")
    taken = run("csv", "--labels", "my.csv")
    assert taken.status == 1
    assert "[/x]" in taken.err
    assert "\x1b]" not in taken.err
