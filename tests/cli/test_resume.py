"""``sercli predict`` killed again and again: nothing is lost, nothing is doubled, nothing finished is done again."""

import csv
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.command import Process, run_sercli, start_sercli
from tests.journals import read_records
from tests.sounds import make_tone, write_sound
from tests.toy_model import make_model

RECORDINGS = 80
MIN_KILLS, KILLS = 3, 6  # before a run may end by itself


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and recordings, some of them broken, that take some seconds in all."""
    folder = tmp_path_factory.mktemp("made")
    make_model(folder / "model")
    for number in range(RECORDINGS):
        seconds = 30.0 if number % 5 else 0.5
        samples = make_tone(seconds=seconds, frequency=100 + 7 * number, seed=number)
        write_sound(folder / "calls" / f"{number:03}.wav", samples)
    (folder / "calls" / "050.wav").write_text("no sound")
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    """A copy of what was made."""
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


def command(out: str) -> list[str]:
    return ["predict", "calls", "--out", out, "--segments", f"{out}.rttm", "--model", "model", "--vad", "off"]


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, strict=True))


def read_journal(folder: Path) -> list[tuple[str, bytes]]:
    return read_records(folder / ".killed.csv.journal")


def count_children(process: Process) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in listed.stdout.split()]


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_killed_at_random_moments_it_ends_as_if_it_never_was(here: Path) -> None:
    status, _, err = run_sercli(*command("whole.csv"), cwd=here)
    assert status == 1, err
    (here / "killed.csv").write_text("an older report")
    rng = np.random.default_rng(5)
    done: list[tuple[str, bytes]] = []
    kills = 0
    while True:
        process = start_sercli(*command("killed.csv"), cwd=here)
        wait_for_more = time.monotonic() + 60
        while process.poll() is None and len(read_journal(here)) <= len(done) and time.monotonic() < wait_for_more:
            time.sleep(0.01)
        # Early at first, so that even a fast machine does not finish before it is killed.
        time.sleep(float(rng.uniform(0, 0.05 if kills < MIN_KILLS else 0.7)))
        children = count_children(process)
        if process.poll() is None and kills < KILLS:
            kills += 1
            process.send_signal(signal.SIGKILL)
        process.communicate(timeout=120)
        if process.returncode >= 0:
            break
        if (here / "killed.csv").read_text() != "an older report":
            assert len(read_rows(here / "killed.csv")) == RECORDINGS  # killed when all was done
            break
        now = read_journal(here)
        assert now[: len(done)] == done  # what was finished is still there, as it was
        done = now
        until = time.monotonic() + 20
        while any(map(is_running, children)) and time.monotonic() < until:
            time.sleep(0.05)
        assert not any(map(is_running, children))
    status = process.returncode if process.returncode >= 0 else run_sercli(*command("killed.csv"), cwd=here)[0]
    assert status == 1  # for the broken recording
    assert kills >= MIN_KILLS
    names = [name for name, _ in done]
    ok = [name for name in names if name != "calls/050.wav"]
    assert len(ok) == len(set(ok))  # finished once only
    expected, found = read_rows(here / "whole.csv"), read_rows(here / "killed.csv")
    assert [row["file"] for row in found] == [f"calls/{number:03}.wav" for number in range(RECORDINGS)]
    for row, other in zip(found, expected, strict=True):
        assert (row["status"], row["emotion"], row["end"]) == (other["status"], other["emotion"], other["end"])
    timelines = [(here / f"{name}.csv.rttm").read_text() for name in ("killed", "whole")]
    assert timelines[0].count("\n") == timelines[1].count("\n") > RECORDINGS
    left = {path.name for path in here.iterdir() if path.name.startswith(".killed")}
    assert left == set()


def test_what_is_finished_is_not_done_again_and_what_has_changed_is(here: Path) -> None:
    process = start_sercli(*command("killed.csv"), cwd=here)
    until = time.monotonic() + 60
    while len(read_journal(here)) < 20 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert "interrupted; finished work is kept" in err
    finished = {name for name, _ in read_journal(here)}
    assert 20 <= len(finished) < RECORDINGS
    changed = min(finished - {"calls/050.wav"})
    write_sound(here / changed, np.zeros((16_000, 1)))
    for name in finished - {changed, "calls/050.wav"}:
        os.utime(here / name)  # a new time, but the same content, so the result is reused
    status, _, err = run_sercli(*command("killed.csv"), cwd=here)
    assert status == 1
    assert f"{len(finished - {changed, 'calls/050.wav'})} recordings already done" in err
    assert f"(without {len(finished - {changed, 'calls/050.wav'})} recordings done before) in" in err
    rows = {row["file"]: row for row in read_rows(here / "killed.csv")}
    assert len(rows) == RECORDINGS
    assert rows[changed]["status"] == "no-speech"


def test_other_options_lose_no_finished_work_and_a_restart_starts_over(here: Path) -> None:
    process = start_sercli(*command("killed.csv"), cwd=here)
    while len(read_journal(here)) < 5 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    finished = read_journal(here)
    assert len(finished) >= 5
    other = ("--min-confidence", "0.9")
    status, _, err = run_sercli(*command("killed.csv"), *other, cwd=here)
    assert (status, err.count("\n")) == (1, 1)
    assert f"has finished {len(finished)} recordings with other options" in err
    assert "or give --restart to drop them" in err
    assert read_journal(here) == finished
    _, _, err = run_sercli(*command("killed.csv"), *other, "--restart", cwd=here)
    assert "already done" not in err
    rows = read_rows(here / "killed.csv")
    assert len(rows) == RECORDINGS
    assert {row["emotion"] for row in rows} == {"uncertain", ""}


def test_two_runs_do_not_write_one_report(here: Path) -> None:
    process = start_sercli(*command("killed.csv"), cwd=here)
    while len(read_journal(here)) < 1 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)
    status, _, err = run_sercli(*command("killed.csv"), cwd=here)
    process.send_signal(signal.SIGCONT)
    assert status == 1
    assert "killed.csv is being written by another sercli predict" in err
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


def test_a_journal_is_neither_read_nor_written_through_a_link(here: Path) -> None:
    (here / "victim.txt").write_text("precious")
    (here / ".killed.csv.journal").symlink_to("victim.txt")
    status, _, err = run_sercli("predict", "calls/000.wav", "--out", "killed.csv", "--model", "model", cwd=here)
    assert (status, err.count("\n")) == (1, 1)
    (here / ".killed.csv.journal").unlink()
    (here / ".killed.csv.journal").write_text("my own notes")
    status, _, err = run_sercli("predict", "calls/000.wav", "--out", "killed.csv", "--model", "model", cwd=here)
    assert status == 1
    assert "exists but is not a journal" in err
    assert (here / "victim.txt").read_text() == "precious"
    assert (here / ".killed.csv.journal").read_text() == "my own notes"
    assert not (here / ".killed.csv.lock").exists()
