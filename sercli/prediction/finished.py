"""Finished recordings of a report, so that the same command resumes after any interruption."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sercli.errors import InputError
from sercli.files import hash_file, make_folder
from sercli.journal import Journal, read_identity
from sercli.locks import hold_lock
from sercli.prediction.discovery import Recording
from sercli.prediction.rows import RecordingResult

PRIVATE = 0o600  # permissions of a journal, which describes private recordings
COMMIT_INTERVAL = 0.5  # seconds of finished work that a power cut may lose


@dataclass(frozen=True, slots=True)
class FinishedRecordings:
    """Results by recording name, in a journal beside the report.

    Attributes:
        journal: Journal that holds them.
    """

    journal: Journal

    def __len__(self) -> int:
        """Returns the number of recordings, including failed ones."""
        return len(self.journal)

    def find(self, recordings: Sequence[Recording], *, envelope: bool = False) -> set[int]:
        """Returns the positions of finished recordings that have not changed; failed ones are tried again.

        Args:
            recordings: Recordings of the report.
            envelope: Whether their rows must have an envelope.
        """
        finished = set()
        for position, recording in enumerate(recordings):
            if recording.name in self.journal:
                try:
                    result = self.read(recording.name)
                except (KeyError, TypeError, ValueError):  # not written by this version
                    continue
                usable = all(row.status != "failed" and (row.envelope or not envelope) for row in result.predictions)
                if result.sha256 and usable and result.sha256 == hash_recording(recording):
                    finished.add(position)
        return finished

    def add(self, name: str, result: RecordingResult) -> None:
        """Adds the result of a recording; it survives the end of the process."""
        self.journal.append(name, json.dumps(result.to_dict()).encode())

    def read(self, name: str) -> RecordingResult:
        """Reads the result of a recording.

        Raises:
            KeyError: If the recording is not finished.
        """
        return RecordingResult.from_dict(json.loads(self.journal[name]))


@contextlib.contextmanager
def open_finished(report: Path, key: str, *, restart: bool = False) -> Iterator[FinishedRecordings]:
    """Opens the finished recordings of a report; removes their journal if the block ends without an error.

    Args:
        report: Report to be written.
        key: Cache key of model and options.
        restart: Whether to drop all results.

    Raises:
        InputError: If another run is writing the same report, the journal has results with another key, or a file is in
            the way of the journal.
        OSError: If the journal cannot be written.
    """
    busy = f"{report} is being written by another sercli predict: wait for it, or give another --out"
    lock = report.with_name(f".{report.name}.lock")
    with make_folder(report.parent), hold_lock(lock, InputError(busy)):
        path = report.with_name(f".{report.name}.journal")
        if not restart:
            _refuse_other(path, key, report)
        journal = Journal(path, key, restart=restart, interval=COMMIT_INTERVAL, mode=PRIVATE)
        try:
            yield FinishedRecordings(journal)
        except BaseException:
            with contextlib.suppress(OSError):  # of a full disk, once more
                journal.commit()
            with contextlib.suppress(OSError):
                if len(journal):
                    journal.close()
                else:
                    journal.remove()
            raise
        journal.remove()


def _refuse_other(path: Path, key: str, report: Path) -> None:
    """Raises an error if a journal has results with another key, which would be lost."""
    other = read_identity(path)
    if other is None or other == key:
        return
    with Journal(path, other) as journal:
        count = len(journal)
    if count:
        msg = (
            f"an interrupted run for {report} has finished {count} recordings with other options, another model or "
            "another version of sercli: repeat its command to resume it, or give --restart to drop them"
        )
        raise InputError(msg)


def hash_recording(recording: Recording) -> str:
    """Computes the SHA-256 of a recording; empty if it cannot be read."""
    try:
        return hash_file(recording.path) if recording.path.is_file() else ""
    except (OSError, ValueError):
        return ""
