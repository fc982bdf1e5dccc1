"""What parent and worker processes tell each other: a line of JSON, and the numbers of a piece as plain bytes.

Nothing that a worker sends can make the parent run anything, whatever a recording has done to the worker.
"""

import json
from dataclasses import asdict
from typing import BinaryIO

import numpy as np

from sercli.audio.segments import Segment
from sercli.prediction.analysis import Analysis, Channel, Finding, Piece, Progress

MOST = 1 << 17  # rows and columns, of more than which no piece can be


def write_finding(stream: BinaryIO, task: int, finding: Finding) -> None:
    """Writes what a worker has found in the recording of a task."""
    payload = b""
    header: dict[str, object] = {"task": task, "kind": type(finding).__name__}
    if isinstance(finding, Piece):
        payload = np.ascontiguousarray(finding.features, dtype=np.float32).tobytes()
        segment = asdict(finding.segment)
        header |= {"channel": finding.channel, "segment": segment, "shape": finding.features.shape}
    else:
        header |= asdict(finding)
    stream.write(json.dumps(header).encode() + b"\n" + payload)
    stream.flush()


def read_finding(stream: BinaryIO) -> tuple[int, Finding] | None:
    """Reads what `write_finding` wrote; None at the end of the stream, or where it breaks off.

    Raises:
        ValueError: if it is something else.
        KeyError: likewise.
        TypeError: likewise.
    """
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    header = json.loads(line)
    if not isinstance(header, dict):
        msg = f"expected a JSON object, found {type(header).__name__}"
        raise TypeError(msg)
    task, kind = int(header.pop("task")), header.pop("kind")
    if kind == Progress.__name__:
        return task, Progress(**header)
    if kind == Analysis.__name__:
        channels = tuple(
            Channel(name=str(c["name"]), speech=float(c["speech"]), warnings=tuple(map(str, c["warnings"])))
            for c in header.pop("channels")
        )
        return task, Analysis(channels=channels, **header)
    rows, columns = map(int, header["shape"])
    if not (0 <= rows <= MOST and 0 <= columns <= MOST):
        msg = f"impossible shape {rows} × {columns}"
        raise ValueError(msg)
    payload = stream.read(4 * rows * columns)
    if len(payload) < 4 * rows * columns:
        return None
    features = np.frombuffer(payload, dtype=np.float32).reshape(rows, columns).copy()
    return task, Piece(channel=str(header["channel"]), segment=Segment(**header["segment"]), features=features)
