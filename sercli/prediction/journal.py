"""What a run has finished so far, so that the same command goes on after whatever ended it."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sercli.errors import InputError
from sercli.files import acquire_lock, hash_file, name_file, release_lock
from sercli.prediction.discovery import Recording
from sercli.prediction.rows import Prediction

_HEADER = b'{"sercli predict": '  # begins the first line of every journal
SYNC_EVERY = 0.5  # seconds, at most, of finished work that a power cut may take


@dataclass(frozen=True, slots=True)
class _Entry:
    sha256: str
    offset: int  # of its line in the journal
    failed: bool


class Journal:
    """Finished recordings of one report, a line of JSON each, in a hidden file beside it.

    Only where each line begins is held in memory.

    Args:
        report: the file to be made.
        key: names model and options; what another key has finished is dropped.
        restart: drop it in any case.

    Raises:
        InputError: if another run is writing the same report.
        OSError: if the journal cannot be written.

    Attributes:
        path: of the journal.
    """

    def __init__(self, report: Path, key: str, *, restart: bool = False) -> None:
        self.path = report.with_name(f".{report.name}.journal")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        busy = f"{report} is being written by another sercli predict: wait for it, or give another --out"
        self._lock = acquire_lock(report.with_name(f".{report.name}.lock"), InputError(busy))
        self._entries: dict[str, _Entry] = {}
        self._synced = time.monotonic()
        try:
            self._stream = self._open(key, restart=restart)
        except BaseException:
            self._unlock()
            raise

    def _open(self, key: str, *, restart: bool) -> IO[bytes]:
        header = _HEADER + json.dumps(key).encode() + b"}\n"
        # For nobody else to read, and never through a link that somebody has laid there.
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        stream = os.fdopen(os.open(self.path, flags, 0o600), "r+b")
        first = stream.readline()
        if not first.startswith(_HEADER) and not _HEADER.startswith(first):  # a killed run may have begun it
            stream.close()
            msg = f"{self.path} is in the way and no journal of sercli: move it, or give another --out"
            raise InputError(msg)
        if first == header and not restart:
            stream.truncate(self._read_entries(stream))
            stream.seek(0, os.SEEK_END)
            return stream
        stream.seek(0)
        stream.truncate()
        with name_file(self.path):
            stream.write(header)
            stream.flush()
        return stream

    def _read_entries(self, stream: IO[bytes]) -> int:
        """Notes the whole lines, and returns where they end: a killed run may have left a part of one."""
        end = stream.tell()
        for line in iter(stream.readline, b""):
            try:
                values = json.loads(line)
                failed = any(row["status"] == "failed" for row in values["rows"])
                if not line.endswith(b"\n"):
                    break
                self._entries[str(values["name"])] = _Entry(str(values["sha256"]), end, failed)
            except (ValueError, KeyError, TypeError):
                break
            end += len(line)
        return end

    def __len__(self) -> int:
        """Recordings that are finished."""
        return len(self._entries)

    def find_finished(self, recordings: Sequence[Recording]) -> set[int]:
        """Positions of the recordings that are finished and have not changed since; failed ones are tried again."""
        finished = set()
        for position, recording in enumerate(recordings):
            entry = self._entries.get(recording.name)
            if entry and not entry.failed and entry.sha256 and entry.sha256 == hash_recording(recording):
                finished.add(position)
        return finished

    def add(self, name: str, sha256: str, predictions: Sequence[Prediction]) -> None:
        """Writes down what a recording came to; it is safe from the end of the process at once.

        Args:
            name: of the recording.
            sha256: of its file.
            predictions: its rows.
        """
        offset = self._stream.seek(0, os.SEEK_END)
        values = {"name": name, "sha256": sha256, "rows": [prediction.to_dict() for prediction in predictions]}
        with name_file(self.path):
            self._stream.write(json.dumps(values).encode() + b"\n")
            self._stream.flush()
        failed = any(prediction.status == "failed" for prediction in predictions)
        self._entries[name] = _Entry(sha256, offset, failed)
        if time.monotonic() - self._synced > SYNC_EVERY:
            self.sync()

    def sync(self) -> None:
        """Makes all that was added safe from a power cut."""
        with name_file(self.path):
            os.fsync(self._stream.fileno())
        self._synced = time.monotonic()

    def read(self, name: str) -> tuple[Prediction, ...]:
        """The rows of a finished recording."""
        self._stream.seek(self._entries[name].offset)
        values: dict[str, Any] = json.loads(self._stream.readline())
        return tuple(Prediction.from_dict(row) for row in values["rows"])

    def close(self, *, finished: bool) -> None:
        """Ends the work on the journal; it is removed if the report is there."""
        with contextlib.suppress(OSError):
            self.sync()
        with contextlib.suppress(OSError):  # of a full disk, once more
            self._stream.close()
        with contextlib.suppress(OSError):
            if finished:
                self.path.unlink(missing_ok=True)
        self._unlock()

    def _unlock(self) -> None:
        release_lock(self._lock)


@contextlib.contextmanager
def open_journal(report: Path, key: str, *, restart: bool = False) -> Iterator[Journal]:
    """A journal that is removed when the block ends without error, and kept otherwise."""
    journal = Journal(report, key, restart=restart)
    finished = False
    try:
        yield journal
        finished = True
    finally:
        journal.close(finished=finished)


def hash_recording(recording: Recording) -> str:
    """Digest of a recording's file; empty if it cannot be read."""
    try:
        return hash_file(recording.path) if recording.path.is_file() else ""
    except (OSError, ValueError):
        return ""
