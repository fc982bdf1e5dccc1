"""Starting worker processes; light to import, so that they can be under way while this one still loads."""

import atexit
import contextlib
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import IO

# Recordings are worked on side by side; and what glibc keeps for threads of its own would only be held, not used.
_SETTINGS = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "MALLOC_ARENA_MAX": "2",
}
_idle: list["WorkerProcess"] = []


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A worker and what it says when it breaks down.

    Attributes:
        process: that `sercli.prediction.worker.main` runs in.
        errors: its stderr.
    """

    process: "subprocess.Popen[bytes]"
    errors: IO[bytes]

    def end(self) -> None:
        """Ends it, whatever it is doing, and closes what is open to it."""
        self.process.kill()
        self.process.wait()
        # stdout is closed by whoever reads it, at its end.
        for stream in (self.process.stdin, self.errors):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()


def start_worker() -> WorkerProcess:
    """A worker that waits for its configuration: one started ahead, or a new one."""
    return _idle.pop() if _idle else _spawn()


def start_ahead(count: int) -> None:
    """Sees to it that so many workers are under way."""
    _idle.extend(_spawn() for _ in range(count - len(_idle)))


def _spawn() -> WorkerProcess:
    code = f"import sys; sys.path[:] = {sys.path!r}; from sercli.prediction.worker import main; main()"
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
    process = subprocess.Popen(  # noqa: S603 - this very Python
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, **_SETTINGS},
    )
    return WorkerProcess(process, errors)


@atexit.register
def end_idle_workers() -> None:
    """Ends what was started ahead and not wanted after all."""
    while _idle:
        worker = _idle.pop()
        worker.end()
        if worker.process.stdout:
            worker.process.stdout.close()
