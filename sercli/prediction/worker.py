"""The worker process: recordings named on stdin, one a line of JSON, to findings on stdout."""

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from sercli.audio.cutters import Cutting
from sercli.audio.voice import VoiceDetector
from sercli.config import AudioConfig
from sercli.features.frontend import FeatureConfig, get_front_end
from sercli.prediction.analysis import AnalysisConfig, analyse
from sercli.prediction.discovery import Recording
from sercli.prediction.wire import write_finding


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
    # What decoders print must not get among the findings.
    findings = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    config = _read_config(sys.stdin.buffer.readline())
    # What is not installed as it should be shows here, and not as a failure of each recording.
    get_front_end(config.features)
    if config.cutting.vad:
        VoiceDetector()
    tasks: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read_tasks, args=(tasks,), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        while True:
            task = tasks.get()
            recording = Recording(path=Path(task["path"]), name=task["name"], problem=task["problem"])
            for finding in analyse(recording, config):
                write_finding(findings, task["task"], finding)


def _read_config(line: bytes) -> AnalysisConfig:
    values = json.loads(line)
    return AnalysisConfig(
        audio=AudioConfig.from_dict(values["audio"]),
        features=FeatureConfig.from_dict(values["features"]),
        cutting=Cutting.from_dict(values["cutting"]),
    )


def _read_tasks(tasks: "queue.Queue[dict[str, Any]]") -> None:
    for line in sys.stdin.buffer:
        tasks.put(json.loads(line))
    # At once, also when a recording is being worked on: the parent has ended, or been killed.
    os._exit(0)
