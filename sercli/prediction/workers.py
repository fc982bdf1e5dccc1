"""Recordings worked through in processes of their own, so that one that crashes or hangs takes nothing else along."""

import contextlib
import json
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field

from sercli.errors import SercliError
from sercli.files import one_line
from sercli.prediction.analysis import Analysis, AnalysisConfig, Finding
from sercli.prediction.discovery import Recording
from sercli.prediction.processes import WorkerProcess, end_idle_workers, start_worker
from sercli.prediction.wire import read_finding

WAITING = 2  # recordings that a worker is given: the one it works on, and the next
QUEUED = 256  # findings that may wait to be fetched, of some 0.1 MB each
PATIENCE = 0.25  # seconds between two looks at the clock
ENDING = 5.0  # seconds that a worker that no longer speaks may take to end
STARTING = 60.0  # seconds, at least, that a worker may take to load
DEFAULT_TIMEOUT = 120.0  # seconds


class WorkerError(SercliError):
    """Workers cannot be started at all."""


def analyse_in_workers(
    recordings: Iterable[Recording], config: AnalysisConfig, *, workers: int, timeout: float = DEFAULT_TIMEOUT
) -> Generator[tuple[int, Finding], None, None]:
    """What is found in recordings, as it is found.

    A worker that crashes, or gives no sign of life for too long, is replaced; the recording that it was working on
    has failed, all others are worked on. Findings that are not fetched make the workers wait.

    Args:
        recordings: taken as they are needed.
        config: what to look for.
        workers: processes.
        timeout: seconds without a finding after which a worker is given up.

    Yields:
        the position of a recording and what was found in it; of each recording an `Analysis` comes last.

    Raises:
        WorkerError: if a worker cannot even start.
    """
    pool = _Pool(recordings, config, timeout)
    try:
        for _ in range(workers):
            pool.start_worker()
        end_idle_workers()  # of those started ahead more than are wanted
        yield from pool.run()
    finally:
        pool.stop()


@dataclass(eq=False)
class _Worker:
    started: WorkerProcess
    tasks: deque[tuple[int, Recording]] = field(default_factory=deque)
    heard: float = field(default_factory=time.monotonic)
    proven: bool = False  # whether it has found anything yet
    hung: bool = False
    listener: threading.Thread = field(default_factory=threading.Thread)

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        return self.started.process


class _Pool:
    def __init__(self, recordings: Iterable[Recording], config: AnalysisConfig, timeout: float) -> None:
        self._todo = iter(enumerate(recordings))
        self._again: deque[tuple[int, Recording]] = deque()
        self._timeout = timeout
        self._workers: list[_Worker] = []
        self._findings: queue.Queue[tuple[_Worker, tuple[int, Finding] | None]] = queue.Queue(QUEUED)
        self._stopped = threading.Event()
        self._proven = False  # whether any worker has found anything
        parts = {"audio": config.audio, "features": config.features, "cutting": config.cutting}
        self._config = json.dumps({name: part.to_dict() for name, part in parts.items()}).encode() + b"\n"

    def start_worker(self) -> None:
        worker = _Worker(start_worker())
        self._workers.append(worker)
        self._send(worker, self._config)
        worker.listener = threading.Thread(target=self._listen, args=(worker,), name="sercli-worker", daemon=True)
        worker.listener.start()
        self._supply(worker)

    def run(self) -> Iterator[tuple[int, Finding]]:
        looked = time.monotonic()
        while any(worker.tasks for worker in self._workers):
            away = time.monotonic() - looked
            looked += away
            if away > 2 * PATIENCE:
                # Nobody has looked for a while, or the whole program was stopped: no fault of the workers.
                for worker in self._workers:
                    worker.heard += away
            elif self._findings.empty():
                self._give_up_silent_workers()
            try:
                worker, found = self._findings.get(timeout=PATIENCE)
            except queue.Empty:
                continue
            if found is None:
                yield from self._replace(worker)
                continue
            task, finding = found
            worker.proven = self._proven = True
            if isinstance(finding, Analysis):
                worker.tasks.popleft()
                self._supply(worker)
            yield task, finding

    def _listen(self, worker: _Worker) -> None:
        """In a thread of its own: passes a worker's findings on until it ends, None at the end."""
        found: tuple[int, Finding] | None = None
        stream = worker.process.stdout
        assert stream is not None  # noqa: S101 - it is a pipe
        while not self._stopped.is_set():
            try:
                found = read_finding(stream)  # type: ignore[arg-type]
            except (ValueError, KeyError, TypeError, OSError):
                found = None
            worker.heard = time.monotonic()
            while not self._stopped.is_set():
                with contextlib.suppress(queue.Full):
                    self._findings.put((worker, found), timeout=PATIENCE)
                    break
                worker.heard = time.monotonic()  # it is not its fault that nobody fetches
            if found is None:
                break
        stream.close()

    def _supply(self, worker: _Worker) -> None:
        while len(worker.tasks) < WAITING:
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
        with contextlib.suppress(OSError):  # it has ended, which its listener will tell
            stream.write(line)
            stream.flush()

    def _give_up_silent_workers(self) -> None:
        for worker in self._workers:
            if worker.tasks and time.monotonic() - worker.heard > self._patience_with(worker):
                worker.hung = True
                worker.process.kill()

    def _patience_with(self, worker: _Worker) -> float:
        return self._timeout if worker.proven else max(self._timeout, STARTING)

    def _replace(self, worker: _Worker) -> Iterator[tuple[int, Finding]]:
        self._workers.remove(worker)
        if not worker.hung:
            # It has ended or is about to; its own status says more than that of being killed.
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(ENDING)
        worker.process.kill()
        status = worker.process.wait()
        reason = self._explain(worker, status)
        worker.started.end()
        if not worker.tasks:
            return
        if not self._proven and not worker.hung and status > 0:
            raise WorkerError(f"worker processes cannot be started: {reason}")  # noqa: EM102 - said once
        number, _ = worker.tasks.popleft()
        self._again.extendleft(reversed(worker.tasks))
        yield number, Analysis(error=reason)
        self.start_worker()

    def _explain(self, worker: _Worker, status: int) -> str:
        if worker.hung:
            return f"given up: no sign of life from its decoding for {self._patience_with(worker):g} s (--timeout)"
        if status < 0:
            with contextlib.suppress(ValueError):
                return f"its decoding crashed ({signal.Signals(-status).name})"
        worker.started.errors.seek(0)
        last = worker.started.errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        return f"its decoding crashed ({one_line(last)[:200] if last else f'exit status {status}'})"

    def stop(self) -> None:
        self._stopped.set()
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.started.end()
            worker.listener.join()
