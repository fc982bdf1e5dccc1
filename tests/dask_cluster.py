"""A real Dask cluster on 127.0.0.1: a scheduler and workers, each a process of its own."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from distributed import Client

TIMEOUT = 60  # seconds until a part must be up


@dataclass(frozen=True)
class Cluster:
    address: str
    scheduler: "subprocess.Popen[bytes]"
    workers: "list[subprocess.Popen[bytes]]"


@contextlib.contextmanager
def start_cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """Starts a cluster, and ends it."""
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as local:
        file = folder / "scheduler.json"
        arguments = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
        scheduler = stack.enter_context(_start("scheduler", *arguments))
        address = _wait_for_address(file)
        options = ["--nworkers", "1", "--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory", local]
        started = [stack.enter_context(_start("worker", address, *options)) for _ in range(workers)]
        _wait_for_workers(address, workers)
        yield Cluster(address=address, scheduler=scheduler, workers=started)


@contextlib.contextmanager
def _start(*arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    process = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_address(path: Path) -> str:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
            return str(json.loads(path.read_text())["address"])
        time.sleep(0.1)
    msg = "the Dask scheduler did not start"
    raise TimeoutError(msg)


def _wait_for_workers(address: str, count: int) -> None:
    with Client(address, timeout=TIMEOUT, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=TIMEOUT)
