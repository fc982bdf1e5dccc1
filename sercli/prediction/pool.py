"""Recordings scored in processes of their own, so that one that crashes or hangs takes nothing else along.

Parent and worker exchange lines of JSON: nothing that a worker sends can make the parent run anything, whatever a
recording has done to the worker. Quick to import, so that workers load while the parent still does.
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

QUEUED_TASKS = 2  # recordings that a worker is given: the one it works on, and the next
QUEUED_MESSAGES = 256  # messages that may wait to be fetched
PATIENCE = 0.25  # seconds between two looks at the clock
ENDING = 5.0  # seconds that a worker that no longer speaks may take to end
STARTING = 60.0  # seconds, at least, that a worker may take to load

# One thread per worker, since recordings are scored side by side; and what glibc keeps for threads of its own would
# only be held, not used.
_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "MALLOC_ARENA_MAX": "2",
    "ORT_DISABLE_TELEMETRY": "1",
}


class WorkerError(SercliError):
    """Workers cannot be started at all."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life of a worker: seconds of audio that are done."""

    seconds: float


Message = Heartbeat | RecordingResult


@dataclass(eq=False)
class _Worker:
    process: "subprocess.Popen[bytes]"
    errors: IO[bytes]
    tasks: deque[tuple[int, Recording]] = field(default_factory=deque)
    heard: float = field(default_factory=time.monotonic)
    ready: bool = False
    hung: bool = False
    listener: threading.Thread = field(default_factory=threading.Thread)

    def end(self) -> None:
        """Ends it, whatever it is doing, and closes what is open to it."""
        self.process.kill()
        self.process.wait()
        # stdout is closed by whoever reads it, at its end.
        for stream in (self.process.stdin, self.errors):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()


_idle: list[_Worker] = []


def start_ahead(count: int) -> None:
    """Starts workers that load while the caller goes on; a `WorkerPool` takes them."""
    _idle.extend(_spawn() for _ in range(count - len(_idle)))


def _spawn() -> _Worker:
    code = f"import sys; sys.path[:] = {sys.path!r}; from sercli.prediction.worker import main; main()"
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
    process = subprocess.Popen(  # noqa: S603 - this very Python
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, **_ENVIRONMENT},
    )
    return _Worker(process, errors)


@atexit.register
def end_idle_workers() -> None:
    """Ends workers that were started ahead and are not wanted after all."""
    while _idle:
        worker = _idle.pop()
        worker.end()
        if worker.process.stdout:
            worker.process.stdout.close()


class WorkerPool:
    """Processes that score recordings side by side; a context manager.

    A worker that crashes, or gives no sign of life for too long, is replaced; the recording that it was working on has
    failed, all others are scored. Results that are not fetched make the workers wait.

    Args:
        settings: how to score.
        workers: processes.
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
        """The pool itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        """Ends all workers."""
        self.close()

    def score(self, recordings: Iterable[Recording]) -> Generator[tuple[int, Message], None, None]:
        """Scores recordings; when they are done, more can be scored by the same workers.

        Args:
            recordings: taken as they are needed.

        Yields:
            The position of a recording and a sign of life or its result, which comes last, as they come.

        Raises:
            ModelError: if the model cannot be used.
            UsageError: if it cannot be used on this device.
            WorkerError: if a worker cannot even start.
        """
        self._todo = iter(enumerate(recordings))
        for worker in self._workers:
            self._supply(worker)
        while len(self._workers) < self._count:
            self._start_worker()
        end_idle_workers()  # of those started ahead more than are wanted
        yield from self._run()

    def _start_worker(self) -> None:
        worker = _idle.pop() if _idle else _spawn()
        worker.heard = time.monotonic()
        self._workers.append(worker)
        self._send(worker, self._settings)
        worker.listener = threading.Thread(target=self._listen, args=(worker,), name="sercli-worker", daemon=True)
        worker.listener.start()
        self._supply(worker)

    def _run(self) -> Iterator[tuple[int, Message]]:
        looked = time.monotonic()
        while any(worker.tasks for worker in self._workers):
            away = time.monotonic() - looked
            looked += away
            if away > 2 * PATIENCE:
                # Nobody has looked for a while, or the whole program was stopped: no fault of the workers.
                for worker in self._workers:
                    worker.heard += away
            elif self._messages.empty():
                self._give_up_silent_workers()
            try:
                worker, message = self._messages.get(timeout=PATIENCE)
            except queue.Empty:
                continue
            yield from self._replace(worker) if message is None else self._take(worker, message)

    def _take(self, worker: _Worker, message: dict[str, Any]) -> Iterator[tuple[int, Message]]:
        if "error" in message:
            kind = UsageError if message.get("usage") else ModelError
            raise kind(str(message["error"]))
        worker.ready = self._proven = True
        if "result" not in message:
            if "task" in message:
                yield int(message["task"]), Heartbeat(float(message["heartbeat"]))
            return
        task, recording = worker.tasks.popleft()
        self._supply(worker)
        try:
            result = RecordingResult.from_dict(message["result"])
        except (KeyError, TypeError, ValueError) as error:
            result = RecordingResult.failed(recording.name, f"its worker said nonsense ({one_line(error)[:100]})")
        yield task, result

    def _listen(self, worker: _Worker) -> None:
        """In a thread of its own: passes a worker's messages on until it ends, None at the end."""
        message: dict[str, Any] | None = None
        stream = worker.process.stdout
        assert stream is not None  # noqa: S101 - it is a pipe
        while not self._stopped.is_set():
            message = _read_message(stream)
            worker.heard = time.monotonic()
            while not self._stopped.is_set():
                with contextlib.suppress(queue.Full):
                    self._messages.put((worker, message), timeout=PATIENCE)
                    break
                worker.heard = time.monotonic()  # it is not its fault that nobody fetches
            if message is None:
                break
        stream.close()

    def _supply(self, worker: _Worker) -> None:
        while len(worker.tasks) < QUEUED_TASKS:
            task = self._again.popleft() if self._again else next(self._todo, None)
            if task is None:
                return
            if not worker.tasks:
                worker.heard = time.monotonic()
            worker.tasks.append(task)
            number, recording = task
            fields = {"task": number, "path": str(recording.path), "name": recording.name, "problem": recording.problem}
            self._send(worker, json.dumps(fields).encode() + b"\n")

    def _send(self, worker: _Worker, line: bytes) -> None:
        stream = worker.process.stdin
        assert stream is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(OSError):  # it has ended, which its listener will report
            stream.write(line)
            stream.flush()

    def _give_up_silent_workers(self) -> None:
        for worker in self._workers:
            if worker.tasks and time.monotonic() - worker.heard > self._patience_with(worker):
                worker.hung = True
                worker.process.kill()

    def _patience_with(self, worker: _Worker) -> float:
        return self._timeout if worker.ready else max(self._timeout, STARTING)

    def _replace(self, worker: _Worker) -> Iterator[tuple[int, Message]]:
        self._workers.remove(worker)
        if not worker.hung:
            # It has ended or is about to; its own status says more than that of being killed.
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(ENDING)
        worker.process.kill()
        status = worker.process.wait()
        reason = self._explain(worker, status)
        worker.end()
        if not worker.tasks:
            return
        if not self._proven and not worker.hung and status > 0:
            raise WorkerError(f"worker processes cannot be started: {reason}")  # noqa: EM102 - said once
        number, recording = worker.tasks.popleft()
        self._again.extendleft(reversed(worker.tasks))
        yield number, RecordingResult.failed(recording.name, reason)
        self._start_worker()

    def _explain(self, worker: _Worker, status: int) -> str:
        if worker.hung:
            return f"given up: no sign of life from its decoding for {self._patience_with(worker):g} s (--timeout)"
        if status < 0:
            with contextlib.suppress(ValueError):
                return f"its decoding crashed ({signal.Signals(-status).name})"
        worker.errors.seek(0)
        last = worker.errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        return f"its decoding crashed ({one_line(last)[:200] if last else f'exit status {status}'})"

    def close(self) -> None:
        """Ends all workers, whatever they are doing."""
        self._stopped.set()
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.end()
            worker.listener.join()


def _read_message(stream: IO[bytes]) -> dict[str, Any] | None:
    """The next message of a worker; None at the end of the stream, or where it breaks off."""
    try:
        line = stream.readline()
        message = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, OSError):
        return None
    return message if isinstance(message, dict) else None
