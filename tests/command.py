"""The real command in a process of its own."""

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import coverage

PROJECT = Path(__file__).parents[1]
TIMEOUT = 300  # seconds; a command that hangs fails its test


class Process:
    """A running command; as much of `subprocess.Popen` as the tests use."""

    def __init__(self, connection: socket.socket, stdout: int | None, stderr: int) -> None:
        self._connection = connection.makefile("r")
        connection.close()
        self.stdout = None if stdout is None else os.fdopen(stdout, encoding="utf-8")
        self.stderr = os.fdopen(stderr, encoding="utf-8")
        self.pid = int(self._connection.readline())
        self.returncode: int | Any = None
        self._waiting = ThreadPoolExecutor(3)
        self._status = self._waiting.submit(self._connection.readline)

    def poll(self) -> int | None:
        if self._status.done():
            self.returncode = int(self._status.result())
        return self.returncode

    def wait(self, timeout: float = TIMEOUT) -> int:
        try:
            self.returncode = int(self._status.result(timeout))
        except TimeoutError:
            self.send_signal(signal.SIGKILL)
            raise
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self, timeout: float = TIMEOUT) -> tuple[str, str]:
        """What it wrote to stdout and stderr, when it has ended."""
        texts = [self._waiting.submit(stream.read) for stream in (self.stdout, self.stderr) if stream]
        self.wait(timeout)
        *out, err = (text.result(timeout) for text in texts)
        self.close()
        return "".join(out), err

    def close(self) -> None:
        for stream in (self.stdout, self.stderr, self._connection):
            if stream:
                stream.close()
        self._waiting.shutdown()


@functools.cache
def _start_zygote(*, measured: bool) -> Path:
    """The socket of a process that starts commands without delay; it ends with this one.

    The coverage of the commands can be measured too, except where the disk is too small for it.
    """
    folder = tempfile.mkdtemp(prefix="sercli-zygote-")
    path = Path(folder, "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        environment = {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "120"}
        if measured:
            environment["ZYGOTE_COVERAGE"] = str(PROJECT / "pyproject.toml")
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.zygote", str(listener.fileno())],
            cwd=PROJECT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
        )

    def end() -> None:
        assert process.stdin
        process.stdin.close()
        process.wait()
        path.unlink()
        path.parent.rmdir()

    atexit.register(end)
    return path


def start_sercli(*arguments: str | Path, cwd: Path, disk: int | None = None, stdout: int = subprocess.PIPE) -> Process:
    """Starts ``sercli`` in a folder; `disk` is the greatest size in bytes that a file may reach."""
    request = {
        "arguments": list(map(str, arguments)),
        "cwd": str(cwd),
        "disk": disk,
        "environment": {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "NO_COLOR": "1",
            "COLUMNS": "120",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        },
    }
    reading, writing = os.pipe() if stdout == subprocess.PIPE else (None, os.dup(stdout))
    err_reading, err_writing = os.pipe()
    nothing = os.open(os.devnull, os.O_RDONLY)
    connection = socket.socket(socket.AF_UNIX)
    measured = disk is None and coverage.Coverage.current() is not None
    connection.connect(str(_start_zygote(measured=measured)))
    socket.send_fds(connection, [json.dumps(request).encode()], [nothing, writing, err_writing])
    for stream in (nothing, writing, err_writing):
        os.close(stream)
    return Process(connection, reading, err_reading)


def run_sercli(*arguments: str | Path, cwd: Path, disk: int | None = None) -> tuple[int, str, str]:
    """Runs ``sercli`` to its end: exit status, stdout, stderr."""
    process = start_sercli(*arguments, cwd=cwd, disk=disk)
    out, err = process.communicate()
    return process.wait(), out, err


def interrupt_sercli(*arguments: str | Path, cwd: Path, when: Callable[[], bool]) -> tuple[int, str, str]:
    """Runs ``sercli`` and presses Ctrl-C as soon as `when` says so: exit status, stdout, stderr."""
    process = start_sercli(*arguments, cwd=cwd)
    deadline = time.monotonic() + TIMEOUT
    while process.poll() is None and not when() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    return process.wait(), out, err
