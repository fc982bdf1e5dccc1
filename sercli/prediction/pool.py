"""Pool of worker processes that score recordings, so that one that crashes or hangs affects no others.

Parent and workers exchange lines of JSON, so a compromised worker cannot make the parent execute anything. Quick to
import, so that workers load while the parent is still loading.
"""

import atexit
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any, Self

from sercli.errors import ModelError, SercliError, UsageError
from sercli.files import one_line
from sercli.prediction.discovery import Recording
from sercli.prediction.rows import RecordingResult
from sercli.prediction.settings import ScoringSettings
from sercli.progress import Heartbeat

QUEUED_TASKS = 2  # recordings sent to a worker: the current one and the next
QUEUED_MESSAGES = 256  # messages that may wait to be fetched
PATIENCE = 0.25  # seconds between checks for timeouts
ENDING = 5.0  # seconds that a silent worker may take to exit
STARTING = 60.0  # seconds that a worker may take to load, at least

# One thread per worker, since recordings are scored in parallel. Memory arenas per thread would only hold unused
# memory.
_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "MALLOC_ARENA_MAX": "2",
    "ORT_DISABLE_TELEMETRY": "1",
}


class WorkerError(SercliError):
    """Workers cannot be started."""


Message = Heartbeat | RecordingResult


@dataclass(eq=False)
class _Worker:
    process: "subprocess.Popen[bytes]"
    errors: IO[bytes]
    tasks: deque[tuple[int, Recording]] = field(default_factory=deque)
    last_message: float = field(default_factory=time.monotonic)
    ready: bool = False
    hung: bool = False
    listener: threading.Thread = field(default_factory=threading.Thread)

    def end(self) -> None:
        """Kills the worker and closes its streams."""
        self.process.kill()
        self.process.wait()
        # The thread that reads stdout closes it at its end.
        for stream in (self.process.stdin, self.errors):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()


_idle: list[_Worker] = []


def start_ahead(count: int) -> None:
    """Starts workers that load in the background; a `WorkerPool` takes them over."""
    _idle.extend(_spawn() for _ in range(count - len(_idle)))


def _spawn() -> _Worker:
    code = f"import sys; sys.path[:] = {sys.path!r}; from sercli.prediction.worker import main; main()"
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
    process = subprocess.Popen(  # noqa: S603 - this Python
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, **_ENVIRONMENT},
    )
    return _Worker(process, errors)


@atexit.register
def end_idle_workers() -> None:
    """Ends workers that were started ahead but not used."""
    while _idle:
        worker = _idle.pop()
        worker.end()
        if worker.process.stdout:
            worker.process.stdout.close()


class WorkerPool:
    """Processes that score recordings in parallel; a context manager.

    A worker that crashes or stops responding is replaced; its current recording fails, all others are scored. Workers
    wait while results are not fetched.

    Args:
        settings: Scoring settings.
        workers: Number of processes.
    """

    def __init__(self, settings: ScoringSettings, workers: int) -> None:
        self._timeout = settings.timeout
        self._settings = json.dumps(settings.to_dict()).encode() + b"\n"
        self._count = workers
        self._workers: list[_Worker] = []
        self._todo: Iterator[tuple[int, Recording]] = iter(())
        self._again: deque[tuple[int, Recording]] = deque()
        self._messages: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue(QUEUED_MESSAGES)
        self._stopped = threading.Event()
        self._proven = False  # whether any worker was ever ready

    def __enter__(self) -> Self:
        """Returns the pool itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        """Ends all workers."""
        self.close()

    def score(self, recordings: Iterable[Recording]) -> Generator[tuple[int, Message], None, None]:
        """Scores recordings; can be called again, with the same workers.

        Args:
            recordings: Recordings, consumed as they are needed.

        Yields:
            Position of a recording with a heartbeat or its result, which is the last message for it.

        Raises:
            ModelError: If the model cannot be used.
            UsageError: If the model cannot be used on this device.
            WorkerError: If workers cannot be started.
        """
        self._todo = iter(enumerate(recordings))
        for worker in self._workers:
            self._supply(worker)
        while len(self._workers) < self._count:
            self._start_worker()
        end_idle_workers()  # workers that were started ahead and are not needed
        looked = time.monotonic()
        while any(worker.tasks for worker in self._workers):
            away = time.monotonic() - looked
            looked += away
            if away > 2 * PATIENCE:
                # The caller did not fetch for a while, or the program was suspended: not the workers' fault.
                for worker in self._workers:
                    worker.last_message += away
            elif self._messages.empty():
                self._give_up_silent_workers()
            try:
                worker, message = self._messages.get(timeout=PATIENCE)
            except queue.Empty:
                continue
            yield from self._replace(worker) if message is None else self._take(worker, message)

    def _start_worker(self) -> None:
        worker = _idle.pop() if _idle else _spawn()
        worker.last_message = time.monotonic()
        self._workers.append(worker)
        self._send(worker, self._settings)
        worker.listener = threading.Thread(target=self._listen, args=(worker,), name="sercli-worker", daemon=True)
        worker.listener.start()
        self._supply(worker)

    def _take(self, worker: _Worker, message: dict[str, Any]) -> Iterator[tuple[int, Message]]:
        if "error" in message:
            kind = UsageError if message.get("usage") else ModelError
            raise kind(str(message["error"]))
        worker.ready = self._proven = True
        if "result" not in message:
            if "task" in message:
                yield int(message["task"]), Heartbeat(seconds=float(message["heartbeat"]))
            return
        task, recording = worker.tasks.popleft()
        self._supply(worker)
        try:
            result = RecordingResult.from_dict(message["result"])
        except (KeyError, TypeError, ValueError) as error:
            result = RecordingResult.failed(recording.name, f"invalid result from its worker ({one_line(error)[:100]})")
        yield task, result

    def _listen(self, worker: _Worker) -> None:
        """Runs in a thread: forwards a worker's messages until it ends, then None."""
        message: dict[str, Any] | None = None
        stream = worker.process.stdout
        assert stream is not None  # noqa: S101 - it is a pipe
        while not self._stopped.is_set():
            message = _read_message(stream)
            worker.last_message = time.monotonic()
            while not self._stopped.is_set():
                with contextlib.suppress(queue.Full):
                    self._messages.put((worker, message), timeout=PATIENCE)
                    break
                worker.last_message = time.monotonic()  # waiting for the caller does not count
            if message is None:
                break
        stream.close()

    def _supply(self, worker: _Worker) -> None:
        while len(worker.tasks) < QUEUED_TASKS:
            task = self._again.popleft() if self._again else next(self._todo, None)
            if task is None:
                return
            if not worker.tasks:
                worker.last_message = time.monotonic()
            worker.tasks.append(task)
            number, recording = task
            fields = {"task": number, "path": str(recording.path), "name": recording.name, "problem": recording.problem}
            self._send(worker, json.dumps(fields).encode() + b"\n")

    def _send(self, worker: _Worker, line: bytes) -> None:
        stream = worker.process.stdin
        assert stream is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(OSError):  # the worker has ended, which its listener reports
            stream.write(line)
            stream.flush()

    def _give_up_silent_workers(self) -> None:
        for worker in self._workers:
            if worker.tasks and time.monotonic() - worker.last_message > self._patience_with(worker):
                worker.hung = True
                worker.process.kill()

    def _patience_with(self, worker: _Worker) -> float:
        return self._timeout if worker.ready else max(self._timeout, STARTING)

    def _replace(self, worker: _Worker) -> Iterator[tuple[int, Message]]:
        self._workers.remove(worker)
        if not worker.hung:
            # Killed only if it does not exit by itself; its own exit status tells more.
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(ENDING)
        worker.process.kill()
        status = worker.process.wait()
        reason = self._explain(worker, status)
        worker.end()
        if not worker.tasks:
            return
        if not self._proven and not worker.hung and status > 0:
            raise WorkerError(f"worker processes cannot be started: {reason}")  # noqa: EM102 - raised only here
        number, recording = worker.tasks.popleft()
        self._again.extendleft(reversed(worker.tasks))
        yield number, RecordingResult.failed(recording.name, reason)
        self._start_worker()

    def _explain(self, worker: _Worker, status: int) -> str:
        if worker.hung:
            return f"decoding made no progress for {self._patience_with(worker):g} s (--timeout)"
        if status < 0:
            with contextlib.suppress(ValueError):
                return f"its decoding crashed ({signal.Signals(-status).name})"
        worker.errors.seek(0)
        last = worker.errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        return f"its decoding crashed ({one_line(last)[:200] if last else f'exit status {status}'})"

    def close(self) -> None:
        """Kills all workers."""
        self._stopped.set()
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.end()
            worker.listener.join()


def _read_message(stream: IO[bytes]) -> dict[str, Any] | None:
    """Reads the next message of a worker; None at the end of the stream, even within a message."""
    try:
        line = stream.readline()
        message = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, OSError):
        return None
    return message if isinstance(message, dict) else None
