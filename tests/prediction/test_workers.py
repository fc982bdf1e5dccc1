"""Recordings that crash or hang their worker, which is done to real processes by real signals."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import psutil
import pytest

from sercli.audio.cutters import Cutting
from sercli.config import AudioConfig
from sercli.features.frontend import FeatureConfig
from sercli.prediction.analysis import Analysis, AnalysisConfig, Finding
from sercli.prediction.discovery import Recording
from sercli.prediction.processes import end_idle_workers
from sercli.prediction.workers import WorkerError, analyse_in_workers
from tests.sounds import write_sound, write_tone

CONFIG = AnalysisConfig(audio=AudioConfig(), features=FeatureConfig(names=("logmel",)), cutting=Cutting(vad=False))


def record(*paths: Path) -> list[Recording]:
    return [Recording(path=path, name=path.name) for path in paths]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    """A recording that takes seconds, between short ones."""
    folder = tmp_path_factory.mktemp("recordings")
    short = [write_tone(folder / f"{number}.wav", seed=number) for number in range(8)]
    long = write_sound(folder / "long.flac", 0.1 * np.random.default_rng(0).standard_normal((16_000 * 1_800, 1)))
    return record(*short[:4], long, *short[4:])


def find_workers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


def collect(found: Iterator[tuple[int, Finding]]) -> dict[int, Analysis]:
    ends: dict[int, Analysis] = {}
    for task, finding in found:
        if isinstance(finding, Analysis):
            assert task not in ends
            ends[task] = finding
    return ends


def disturb(sign: signal.Signals, recordings: list[Recording], *, timeout: float) -> dict[int, Analysis]:
    """Sends a signal to the worker that works on the long recording."""
    before = {worker.pid for worker in find_workers()}
    findings = analyse_in_workers(recordings, CONFIG, workers=1, timeout=timeout)
    ends: dict[int, Analysis] = {}
    for task, finding in findings:
        if isinstance(finding, Analysis):
            ends[task] = finding
        elif task == 4:
            (worker,) = (each for each in find_workers() if each.pid not in before)
            worker.send_signal(sign)
            break
    return ends | collect(findings)


@pytest.mark.parametrize("sign", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_crash_takes_down_one_recording_and_no_other(recordings: list[Recording], sign: signal.Signals) -> None:
    ends = disturb(sign, recordings, timeout=60)
    assert sorted(ends) == list(range(9))
    assert ends[4].error == f"its decoding crashed ({sign.name})"
    assert {ends[task].error for task in ends if task != 4} == {""}


def test_a_worker_without_a_sign_of_life_is_replaced(recordings: list[Recording]) -> None:
    began = time.monotonic()
    ends = disturb(signal.SIGSTOP, recordings, timeout=2)
    assert time.monotonic() - began < 60
    assert sorted(ends) == list(range(9))
    assert ends[4].error == "given up: no sign of life from its decoding for 2 s (--timeout)"
    assert {ends[task].error for task in ends if task != 4} == {""}


def test_a_reader_who_takes_his_time_is_no_reason_to_give_up(recordings: list[Recording]) -> None:
    findings = analyse_in_workers(recordings[3:6], CONFIG, workers=1, timeout=1)
    next(findings)
    time.sleep(3)
    assert {end.error for end in collect(findings).values()} == {""}


def test_a_reader_who_is_away_again_and_again_loses_nothing(recordings: list[Recording]) -> None:
    ends = {}
    for task, finding in analyse_in_workers(recordings, CONFIG, workers=1, timeout=1):
        if isinstance(finding, Analysis):
            ends[task] = finding.error
            if task in (1, 5):
                time.sleep(3)  # meanwhile the worker has told all it has and waits
    assert ends == dict.fromkeys(range(9), "")


def test_a_program_that_is_stopped_and_goes_on_loses_nothing(recordings: list[Recording], tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sercli.prediction.workers import analyse_in_workers as a\n"
        "from tests.prediction.test_workers import CONFIG, record\n"
        "for task, f in a(record(*map(Path, sys.argv[1:])), CONFIG, workers=1, timeout=1):\n"
        "    print(task, type(f).__name__, getattr(f, 'error', ''), flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *(str(each.path) for each in recordings[3:6])],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(3)
    os.killpg(process.pid, signal.SIGCONT)
    out, _ = process.communicate(timeout=60)
    ends = [line.rstrip() for line in out.splitlines() if "Analysis" in line]
    assert ends[-2:] == ["1 Analysis", "2 Analysis"]


def test_nothing_is_left_when_nobody_wants_more(recordings: list[Recording]) -> None:
    before, threads = {worker.pid for worker in find_workers()}, threading.active_count()
    findings = analyse_in_workers(recordings, CONFIG, workers=2)
    next(findings)
    assert len({worker.pid for worker in find_workers()} - before) == 2
    findings.close()
    assert not {worker.pid for worker in find_workers()} - before
    assert threading.active_count() == threads


def test_a_worker_ends_with_its_parent(recordings: list[Recording]) -> None:
    findings = analyse_in_workers(recordings, CONFIG, workers=1)
    next(findings)
    worker = find_workers()[-1]
    # What happens to it when the parent is killed: its stdin ends.
    frame: FrameType = findings.gi_frame  # type: ignore[attr-defined]
    frame.f_locals["pool"]._workers[0].process.stdin.close()
    assert worker.wait(timeout=60) == 0
    findings.close()


def test_workers_that_cannot_start_are_an_error_that_says_why(
    recordings: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    end_idle_workers()
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(WorkerError, match=r"worker processes cannot be started: .*No module named"):
        collect(analyse_in_workers(recordings, CONFIG, workers=1))
