"""The real command in a process of its own."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

TIMEOUT = 120  # seconds; a command that hangs fails its test


def start_sercli(
    *arguments: str | Path, cwd: Path, disk: int | None = None, stdout: int = subprocess.PIPE
) -> "subprocess.Popen[str]":
    """Starts ``sercli`` in a folder; `disk` is the greatest size in bytes that a file may reach."""
    limit = None if disk is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))
    return subprocess.Popen(
        [sys.executable, "-m", "sercli", *map(str, arguments)],
        cwd=cwd,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "NO_COLOR": "1",
            "COLUMNS": "120",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        },
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
    )


def run_sercli(*arguments: str | Path, cwd: Path, disk: int | None = None) -> tuple[int, str, str]:
    """Runs ``sercli`` to its end: exit status, stdout, stderr."""
    process = start_sercli(*arguments, cwd=cwd, disk=disk)
    out, err = process.communicate(timeout=TIMEOUT)
    return process.returncode, out, err


def interrupt_sercli(*arguments: str | Path, cwd: Path, when: Callable[[], bool]) -> tuple[int, str, str]:
    """Runs ``sercli`` and presses Ctrl-C as soon as `when` says so: exit status, stdout, stderr."""
    process = start_sercli(*arguments, cwd=cwd)
    deadline = time.monotonic() + TIMEOUT
    while process.poll() is None and not when() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT)
    return process.returncode, out, err
