"""Recordings that crash or hang their worker, which is done to real processes by real signals."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from sercli.errors import ModelError
from sercli.prediction.discovery import Recording
from sercli.prediction.pool import Message, WorkerError, WorkerPool, end_idle_workers, start_ahead
from sercli.prediction.rows import RecordingResult
from sercli.prediction.settings import ScoringSettings
from tests.prediction.conftest import WINDOW
from tests.sounds import write_sound, write_tone

LONG = 4  # position of the recording that takes seconds


def record(*paths: Path) -> list[Recording]:
    return [Recording(path=path, name=path.name) for path in paths]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    """A recording that takes seconds, between short ones."""
    folder = tmp_path_factory.mktemp("recordings")
    short = [write_tone(folder / f"{number}.wav", seed=number) for number in range(8)]
    long = write_sound(folder / "long.flac", 0.1 * np.random.default_rng(0).standard_normal((16_000 * 1_800, 1)))
    return record(*short[:LONG], long, *short[LONG:])


def make_settings(model_folder: Path, timeout: float) -> ScoringSettings:
    return ScoringSettings(model=str(model_folder), window=WINDOW, hop=WINDOW, timeout=timeout)


def find_workers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


def collect(messages: Iterable[tuple[int, Message]]) -> dict[int, RecordingResult]:
    results: dict[int, RecordingResult] = {}
    for position, message in messages:
        if isinstance(message, RecordingResult):
            assert position not in results
            results[position] = message
    return results


def errors(results: dict[int, RecordingResult]) -> dict[int, str]:
    return {position: results[position].predictions[0].error for position in sorted(results)}


def disturb(sign: signal.Signals, recordings: list[Recording], settings: ScoringSettings) -> dict[int, str]:
    """Sends a signal to the worker that works on the long recording; returns all errors."""
    before = {worker.pid for worker in find_workers()}
    with WorkerPool(settings, workers=1) as pool:
        messages = pool.score(recordings)
        results: dict[int, RecordingResult] = {}
        for position, message in messages:
            if isinstance(message, RecordingResult):
                results[position] = message
            elif position == LONG:
                (worker,) = (each for each in find_workers() if each.pid not in before)
                worker.send_signal(sign)
                break
        return errors(results | collect(messages))


@pytest.mark.parametrize("sign", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_crash_costs_one_recording_and_no_other(
    recordings: list[Recording], model_folder: Path, sign: signal.Signals
) -> None:
    found = disturb(sign, recordings, make_settings(model_folder, timeout=60))
    assert found == dict.fromkeys(range(9), "") | {LONG: f"its decoding crashed ({sign.name})"}


def test_a_worker_without_a_sign_of_life_is_replaced(recordings: list[Recording], model_folder: Path) -> None:
    found = disturb(signal.SIGSTOP, recordings, make_settings(model_folder, timeout=2))
    reason = "decoding made no progress for 2 s (--timeout)"
    assert found == dict.fromkeys(range(9), "") | {LONG: reason}


def test_a_reader_who_is_away_again_and_again_loses_nothing(recordings: list[Recording], model_folder: Path) -> None:
    results = {}
    with WorkerPool(make_settings(model_folder, timeout=1), workers=1) as pool:
        for position, message in pool.score(recordings[2:6]):
            if isinstance(message, RecordingResult):
                results[position] = message
                if position in (0, 2):
                    time.sleep(3)  # meanwhile the worker has sent all it has, and waits
    assert errors(results) == dict.fromkeys(range(4), "")


def test_a_program_that_is_stopped_and_continued_loses_nothing(recordings: list[Recording], model_folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sercli.prediction.pool import WorkerPool\n"
        "from tests.prediction.test_pool import make_settings, record\n"
        "with WorkerPool(make_settings(Path(sys.argv[1]), timeout=1), workers=1) as pool:\n"
        "    for position, message in pool.score(record(*map(Path, sys.argv[2:]))):\n"
        "        print(position, type(message).__name__, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, model_folder, *(str(each.path) for each in recordings[3:6])],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout
    assert process.stdout.readline() == "0 RecordingResult\n"
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(3)
    os.killpg(process.pid, signal.SIGCONT)
    out, _ = process.communicate(timeout=120)
    assert [line for line in out.splitlines() if "Heartbeat" not in line] == ["1 RecordingResult", "2 RecordingResult"]
    assert process.returncode == 0


def test_the_workers_of_a_pool_are_kept_for_the_next_recordings(
    recordings: list[Recording], model_folder: Path
) -> None:
    with WorkerPool(make_settings(model_folder, timeout=60), workers=2) as pool:
        first = collect(pool.score(recordings[:3]))
        workers = {worker.pid for worker in find_workers()}
        second = collect(pool.score(recordings[:3]))
        assert {worker.pid for worker in find_workers()} == workers
    assert second == first


def test_nothing_is_left_when_nobody_wants_more(recordings: list[Recording], model_folder: Path) -> None:
    before, threads = {worker.pid for worker in find_workers()}, threading.active_count()
    with WorkerPool(make_settings(model_folder, timeout=60), workers=2) as pool:
        next(pool.score(recordings))
        assert len({worker.pid for worker in find_workers()} - before) == 2
    assert not {worker.pid for worker in find_workers()} - before
    assert threading.active_count() == threads


def test_workers_that_were_started_ahead_are_used_or_ended(recordings: list[Recording], model_folder: Path) -> None:
    before = {worker.pid for worker in find_workers()}
    start_ahead(3)
    ahead = {worker.pid for worker in find_workers()} - before
    assert len(ahead) == 3
    with WorkerPool(make_settings(model_folder, timeout=60), workers=1) as pool:
        messages = pool.score(recordings)
        next(messages)
        (used,) = {worker.pid for worker in find_workers()} - before
        assert used in ahead


@pytest.fixture
def parent(recordings: list[Recording], model_folder: Path) -> Iterator[psutil.Process]:
    """A program in the middle of scoring a long recording with two workers."""
    code = (
        "import sys; from pathlib import Path; from sercli.prediction.pool import WorkerPool\n"
        "from tests.prediction.test_pool import make_settings, record\n"
        "with WorkerPool(make_settings(Path(sys.argv[1]), timeout=60), workers=2) as pool:\n"
        "    for _ in pool.score(record(*map(Path, sys.argv[2:]))):\n"
        "        print(flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, model_folder, *(str(each.path) for each in recordings[LONG:])],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout
    process.stdout.readline()
    yield psutil.Process(process.pid)
    process.kill()
    process.communicate(timeout=60)


def test_workers_end_with_their_parent_however_it_ends(parent: psutil.Process) -> None:
    workers = parent.children()
    assert len(workers) == 2
    parent.kill()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert alive == []


def test_workers_that_cannot_start_are_an_error_that_says_why(
    recordings: list[Recording], model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_idle_workers()
    monkeypatch.setattr("sys.path", [])
    with (
        WorkerPool(make_settings(model_folder, timeout=60), workers=1) as pool,
        pytest.raises(WorkerError, match=r"worker processes cannot be started: .*No module named"),
    ):
        collect(pool.score(recordings))


def test_a_model_that_is_gone_when_workers_start_is_an_error(recordings: list[Recording], tmp_path: Path) -> None:
    with (
        WorkerPool(make_settings(tmp_path / "gone", timeout=60), workers=1) as pool,
        pytest.raises(ModelError, match=r"no model at .*gone"),
    ):
        collect(pool.score(recordings))
