"""Worker process: reads recordings from stdin, one JSON object per line, and writes results to stdout."""

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

from sercli.errors import SercliError, UsageError
from sercli.prediction.discovery import Recording
from sercli.prediction.scoring import RecordingScorer
from sercli.prediction.settings import ScoringSettings
from sercli.progress import Heartbeat


def main() -> None:
    """Runs until stdin is closed, when the parent no longer needs it."""
    # Ctrl-C reaches the whole process group; the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _work()
    except BaseException:  # noqa: BLE001 - the parent reports it
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # skips Python's shutdown, which a thread waiting for stdin would turn into a crash


def _work() -> None:
    # Keep the output of decoders out of the results.
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
            for event in scorer.score(recording):
                kind = {"heartbeat": event.seconds} if isinstance(event, Heartbeat) else {"result": event.to_dict()}
                _write(out, {"task": task["task"], **kind})


def _write(out: IO[bytes], message: dict[str, Any]) -> None:
    out.write(json.dumps(message).encode() + b"\n")
    out.flush()


def _read_tasks(tasks: "queue.Queue[dict[str, Any]]") -> None:
    for line in sys.stdin.buffer:
        tasks.put(json.loads(line))
    # Exit at once, even while scoring: the parent has ended or was killed.
    os._exit(0)
