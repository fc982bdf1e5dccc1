"""The worker process: recordings on stdin, one JSON object per line, to results on stdout."""

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import IO, Any

from sercli.audio.segmentation import Heartbeat
from sercli.errors import SercliError, UsageError
from sercli.prediction.discovery import Recording
from sercli.prediction.scoring import RecordingScorer
from sercli.prediction.settings import ScoringSettings


def main() -> None:
    """Works until stdin ends, which is when nobody wants anything any more."""
    # Ctrl-C reaches the whole group of processes; the parent decides what becomes of this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _work()
    except BaseException:  # noqa: BLE001 - whatever it is, the parent is to read it
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # without Python's own end, which a thread that waits for stdin would turn into a crash


def _work() -> None:
    # What decoders print must not get among the results.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    settings = ScoringSettings.from_dict(json.loads(sys.stdin.buffer.readline()))
    try:
        scorer = RecordingScorer(settings)
        scorer.warm_up()
    except SercliError as error:
        _write(out, {"error": str(error), "usage": isinstance(error, UsageError)})
        return
    _write(out, {"ready": True})
    tasks: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read_tasks, args=(tasks,), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        while True:
            task = tasks.get()
            recording = Recording(path=Path(task["path"]), name=task["name"], problem=task["problem"])
            for found in scorer.score(recording):
                kind = {"heartbeat": found.seconds} if isinstance(found, Heartbeat) else {"result": found.to_dict()}
                _write(out, {"task": task["task"], **kind})


def _write(out: IO[bytes], message: dict[str, Any]) -> None:
    out.write(json.dumps(message).encode() + b"\n")
    out.flush()


def _read_tasks(tasks: "queue.Queue[dict[str, Any]]") -> None:
    for line in sys.stdin.buffer:
        tasks.put(json.loads(line))
    # At once, also while a recording is being scored: the parent has ended, or was killed.
    os._exit(0)
