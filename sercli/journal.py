"""Crash-safe journal of finished work: an append-only file of keyed byte strings, each with a checksum.

Layout: a line with the format name, a line of JSON that identifies the work, then records: a fixed-size head (mark,
sizes of key and value, CRC-32 of both), the key, the value. Bytes after the last intact record were being written when
the run ended, and are dropped.
"""

import json
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sercli.errors import InputError
from sercli.files import name_file

_MAGIC = b"sercli journal 1\n"
_HEAD = struct.Struct("<4sIQI")
_MARK = b"ENT1"
MAX_IDENTITY = 1 << 20  # bytes


class Journal:
    """Finished work by key, kept in a file until the final result is written; a context manager.

    Memory holds only the keys and the positions of their values. An added value survives the end of the process, and
    after `commit` also a crash of the machine. Several threads may use it.

    Args:
        path: Journal file.
        identity: Cache key of the work; values stored under another key are dropped.
        restart: Whether to drop all values.
        interval: Seconds after which `append` commits automatically.
        mode: Permissions of a new file, subject to the umask.

    Raises:
        InputError: If the file is not a journal.
        OSError: If the file cannot be read or written.
    """

    def __init__(
        self, path: Path, identity: str, *, restart: bool = False, interval: float = 2.0, mode: int = 0o666
    ) -> None:
        known = read_identity(path)
        self.path, self._interval, self._committed = path, interval, time.monotonic()
        self._offsets: dict[str, int] = {}
        self._lock = threading.Lock()
        # Never follow a symbolic link that someone else put there.
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        self._file: BinaryIO = os.fdopen(os.open(path, flags, mode), "r+b")
        try:
            if known == identity and not restart:
                self._file.truncate(self._scan())
            else:
                self._file.truncate(0)
                self._file.write(_MAGIC + json.dumps(identity).encode() + b"\n")
                with name_file(path):
                    self._file.flush()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Journal":
        """Returns the journal itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes and keeps the file."""
        self.close()

    def __len__(self) -> int:
        """Returns the number of keys."""
        return len(self._offsets)

    def __contains__(self, key: object) -> bool:
        """Whether the key has a value."""
        return key in self._offsets

    def __iter__(self) -> Iterator[str]:
        """Iterates over the keys, in the order in which they were first added."""
        return iter(self._offsets)

    def __getitem__(self, key: str) -> bytes:
        """Returns the last value added for a key.

        Raises:
            KeyError: If the key has no value.
        """
        with self._lock:
            self._file.seek(self._offsets[key])
            _, key_size, size, _ = _HEAD.unpack(self._file.read(_HEAD.size))
            self._file.seek(key_size, os.SEEK_CUR)
            return self._file.read(size)

    def append(self, key: str, value: bytes) -> None:
        """Adds a value, replacing an earlier value of the key."""
        name = key.encode(errors="surrogateescape")
        with self._lock, name_file(self.path):
            start = self._file.seek(0, os.SEEK_END)
            self._file.write(_HEAD.pack(_MARK, len(name), len(value), zlib.crc32(value, zlib.crc32(name))) + name)
            self._file.write(value)
            self._file.flush()
        self._offsets[key] = start
        if time.monotonic() - self._committed > self._interval:
            self.commit()

    def commit(self) -> None:
        """Syncs everything added so far to disk."""
        with name_file(self.path):
            os.fsync(self._file.fileno())
        self._committed = time.monotonic()

    def close(self) -> None:
        """Closes and keeps the file."""
        with name_file(self.path):  # closing writes again what could not be written
            self._file.close()

    def remove(self) -> None:
        """Closes and removes the file."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _scan(self) -> int:
        """Indexes every intact record; returns the position after the last one."""
        self._file.seek(len(_MAGIC))
        self._file.readline(MAX_IDENTITY)
        position, size = self._file.tell(), os.fstat(self._file.fileno()).st_size
        while position + _HEAD.size <= size:
            mark, key_size, value_size, checksum = _HEAD.unpack(self._file.read(_HEAD.size))
            end = position + _HEAD.size + key_size + value_size
            if mark != _MARK or end > size:
                break
            name, value = self._file.read(key_size), self._file.read(value_size)
            if zlib.crc32(value, zlib.crc32(name)) != checksum:
                break
            self._offsets[name.decode(errors="surrogateescape")] = position
            position = end
        return position


def read_identity(path: Path) -> str | None:
    """Reads the identity of a journal; None if there is none, or it ends within its header.

    Raises:
        InputError: If the file is not a journal.
    """
    try:
        with path.open("rb") as file:
            magic, line = file.readline(len(_MAGIC)), file.readline(MAX_IDENTITY)
    except FileNotFoundError:
        return None
    if not _MAGIC.startswith(magic) or (magic != _MAGIC and line):
        msg = f"{path} exists but is not a journal of unfinished work: move it away"
        raise InputError(msg)
    if not line.endswith(b"\n"):
        return None
    try:
        return str(json.loads(line))
    except (ValueError, RecursionError):
        return None
