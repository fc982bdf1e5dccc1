"""predict on a real Dask cluster of two worker processes."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from sercli.errors import InputError
from sercli.parallel import map_in_order
from sercli.prediction.predictor import Predictor
from sercli.prediction.rows import Prediction
from tests.dask_cluster import Cluster
from tests.prediction.conftest import WINDOW
from tests.sounds import write_sound, write_tone

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")


def find_scorers(worker: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """The processes in which a worker of the cluster scores."""
    children = psutil.Process(worker.pid).children(recursive=True)
    return [each for each in children if "prediction.worker" in " ".join(each.cmdline())]


def assert_same(rows: list[Prediction], expected: list[Prediction]) -> None:
    assert [(row.file, row.status, row.emotion, row.error) for row in rows] == [
        (row.file, row.status, row.emotion, row.error) for row in expected
    ]
    for row, other in zip(rows, expected, strict=True):
        assert row.probabilities == pytest.approx(other.probabilities, abs=1e-5)
        assert len(row.segments) == len(other.segments)


def test_paths_are_those_of_the_caller_and_not_of_the_workers(
    cluster: Cluster, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the workers stay where they were started
    write_tone(Path("calls/a.wav"), seed=1)
    (row,) = predictor.predict_many(["calls/a.wav"], cluster=cluster.address)
    assert (row.file, row.status, row.error) == ("calls/a.wav", "ok", "")


def test_a_cluster_that_loses_a_worker_gives_the_same_rows(
    cluster: Cluster, predictor: Predictor, tmp_path: Path
) -> None:
    recordings = [write_tone(tmp_path / f"{n:03}.wav", frequency=150 + 5 * n, seed=n) for n in range(150)]
    (tmp_path / "broken.wav").write_text("no sound")
    recordings.insert(70, tmp_path / "broken.wav")
    local = list(predictor.predict_many(recordings))
    rows = []
    for row in predictor.predict_many(recordings, cluster=cluster.address):
        rows.append(row)
        if len(rows) == 10:
            cluster.workers[0].send_signal(signal.SIGKILL)
    assert_same(rows, local)


@pytest.mark.parametrize("lost", ["its last worker", "the scheduler"])
def test_a_cluster_that_is_lost_ends_the_run_with_a_reason(
    lost: str, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sercli.parallel.CONNECT_TIMEOUT", 2)
    ended = [cluster.scheduler] if lost == "the scheduler" else cluster.workers
    killers = [threading.Timer(3, process.kill) for process in ended]
    for killer in killers:
        killer.start()
    with pytest.raises(InputError, match=r"has lost its last worker|does not answer any more"):
        list(map_in_order(time.sleep, [0.2] * 200, cluster=cluster.address))
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    ("sign", "reason"),
    [
        (signal.SIGSEGV, "its decoding crashed (SIGSEGV)"),
        (signal.SIGSTOP, "decoding made no progress for 3 s (--timeout)"),
    ],
)
def test_a_recording_that_crashes_or_hangs_is_a_failed_row_there_too(
    cluster: Cluster, model_folder: Path, tmp_path: Path, sign: signal.Signals, reason: str
) -> None:
    recordings = [write_tone(tmp_path / f"{n:02}.wav", seed=n) for n in range(6)]
    long = write_sound(tmp_path / "long.flac", 0.1 * np.random.default_rng(0).standard_normal((16_000 * 1_800, 1)))
    predictor = Predictor(model_folder, window=WINDOW, timeout=3)
    rows: list[Prediction] = []
    thread = threading.Thread(
        target=lambda: rows.extend(predictor.predict_many([*recordings, long], cluster=cluster.address))
    )
    thread.start()
    until = time.monotonic() + 60
    busy: list[psutil.Process] = []
    while not busy and thread.is_alive() and time.monotonic() < until:
        time.sleep(0.02)
        for worker in cluster.workers:
            busy += [each for each in find_scorers(worker) if any(long.name in f.path for f in each.open_files())]
    assert busy
    os.kill(busy[0].pid, sign)
    thread.join(timeout=120)
    assert [row.error for row in rows] == [""] * 6 + [reason]


def test_a_long_recording_takes_bounded_memory_on_the_cluster(
    cluster: Cluster, model_folder: Path, tmp_path: Path
) -> None:
    """Twelve minutes of a call at 8 kHz against two minutes: the decoded signal alone would be 23 MB in 32 bits."""
    rng = np.random.default_rng(0)
    predictor = Predictor(model_folder, window=WINDOW)
    peaks = []
    for minutes in (2, 12):
        seconds = np.arange(minutes * 60 * 8_000) / 8_000
        call = 0.3 * np.sin(2 * np.pi * 300 * seconds) * (np.sin(seconds) > 0) + 0.01 * rng.standard_normal(
            len(seconds)
        )
        path = write_sound(tmp_path / f"{minutes}.wav", call, 8_000)
        (row,) = predictor.predict_many([path], cluster=cluster.address)
        assert (row.status, len(row.segments)) == ("ok", minutes * 10)
        scorers = [each for worker in cluster.workers for each in find_scorers(worker)]
        peaks.append(max(_peak_memory(each.pid) for each in scorers))
    assert peaks[1] < peaks[0] + 12_000_000


def _peak_memory(pid: int) -> int:
    """Most resident memory of a process so far (bytes)."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])
