"""An append-only file of feature matrices, each with a checksum: what a killed run leaves behind.

Layout: a line that names the format, a line of JSON with the parameters, then records of a fixed head (mark,
bytes of the key, bytes of the matrix, CRC-32 of both), the key, and the numbers of the matrix. Whatever stands
after the last whole record was being written when the run ended, and is dropped.
"""

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from sercli.errors import StoreError, UsageError
from sercli.features.parameters import StoreParameters, parse_parameters
from sercli.files import name_file, one_line

_MAGIC = b"sercli features 1\n"
_HEAD = struct.Struct("<4sIII")
_MARK = b"UTT1"


class Journal:
    """The journal of one store.

    Args:
        path: of the file.
        parameters: of its matrices when it is written; None to read one that is there.
        restart: forget what the file holds.

    Attributes:
        parameters: of its matrices.
        spans: of each key, where its matrix starts in the file and how many bytes it has.

    Raises:
        StoreError: if the file is no journal, or there is none to read.
    """

    def __init__(self, path: Path, parameters: StoreParameters | None = None, *, restart: bool = False) -> None:
        self.path = path
        self.spans: dict[str, tuple[int, int]] = {}
        found = _read_header(path, restart=restart)
        if found:
            self.parameters, start = found
            self._file: BinaryIO = path.open("rb" if parameters is None else "r+b")
            end = self._scan(start)
            if parameters is not None:
                self._file.truncate(end)
                self._file.seek(end)
        elif parameters is None:
            msg = f"{path} is not a journal of features: move it away, or give another --store"
            raise StoreError(msg)
        else:
            self.parameters = parameters
            self._file = path.open("w+b")
            self._file.write(_MAGIC + json.dumps(parameters.to_dict(), sort_keys=True).encode() + b"\n")

    def append(self, key: str, frames: npt.NDArray[Any]) -> None:
        """Adds a matrix in shape ``(n_frames, n_features)`` under a key."""
        name = key.encode()
        data = np.ascontiguousarray(frames, dtype=self.parameters.dtype).tobytes()
        head = _HEAD.pack(_MARK, len(name), len(data), zlib.crc32(data, zlib.crc32(name)))
        start = self._file.tell() + len(head) + len(name)
        with name_file(self.path):
            self._file.write(head + name + data)
        self.spans[key] = (start, len(data))

    def commit(self) -> None:
        """Makes sure that all that was added survives a crash of the machine."""
        with name_file(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def read(self, key: str) -> npt.NDArray[Any]:
        """The matrix under a key, in shape ``(n_frames, n_features)``; committed ones only."""
        start, size = self.spans[key]
        data = os.pread(self._file.fileno(), size, start)
        return np.frombuffer(data, self.parameters.dtype).reshape(-1, self.parameters.features.n_features)

    def count_frames(self, key: str) -> int:
        """Frames of the matrix under a key."""
        return self.spans[key][1] // self._frame_bytes

    @property
    def _frame_bytes(self) -> int:
        return self.parameters.features.n_features * np.dtype(self.parameters.dtype).itemsize

    def close(self) -> None:
        """Closes the file, which stays."""
        with name_file(self.path):  # what is still in the buffer is written now
            self._file.close()

    def _scan(self, position: int) -> int:
        """Notes every whole record; returns where the next one would start."""
        self._file.seek(position)
        size = os.fstat(self._file.fileno()).st_size
        while position + _HEAD.size <= size:
            mark, name_size, data_size, checksum = _HEAD.unpack(self._file.read(_HEAD.size))
            end = position + _HEAD.size + name_size + data_size
            if mark != _MARK or end > size:
                break
            name, data = self._file.read(name_size), self._file.read(data_size)
            if zlib.crc32(data, zlib.crc32(name)) != checksum or data_size % self._frame_bytes:
                break
            self.spans[name.decode(errors="replace")] = (end - data_size, data_size)
            position = end
        return position


def journal_path(path: Path) -> Path:
    """The journal that belongs to a store."""
    return path.with_name(path.name + ".part")


def _read_header(path: Path, *, restart: bool) -> tuple[StoreParameters, int] | None:
    """Parameters of a journal and where its records start; None if it starts over, or was cut within its header."""
    try:
        with path.open("rb") as file:
            magic, line = file.readline(len(_MAGIC)), file.readline(1 << 16)
    except FileNotFoundError:
        return None
    if not _MAGIC.startswith(magic) or (magic != _MAGIC and line):
        msg = f"{path} is in the way of the journal and is none: move it, or give another --store"
        raise StoreError(msg)
    if restart or not line.endswith(b"\n"):
        return None
    try:
        return parse_parameters(json.loads(line)), len(magic) + len(line)
    except (ValueError, KeyError, TypeError, UsageError) as reason:
        msg = f"{path} is damaged ({one_line(reason)}): start over with 'sercli featurize --restart'"
        raise StoreError(msg) from None
