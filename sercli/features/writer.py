"""Writing a feature store: into a journal first, then at once."""

import contextlib
import glob
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import filelock
import h5py
import numpy as np
import numpy.typing as npt

from sercli.errors import StoreError
from sercli.features.hdf5 import open_hdf5
from sercli.features.journal import Journal, journal_path
from sercli.features.parameters import StoreParameters
from sercli.features.rows import StoredRow
from sercli.features.store import SCHEMA_VERSION, FeatureStore
from sercli.files import acquire_lock, name_file
from sercli.version import __version__

CHUNK_FRAMES = 128  # per HDF5 chunk, near the length of an utterance: random reads are twice as fast as with 512
WRITE_FRAMES = 8_192  # frames written at a time; HDF5 is slow at many small writes


class StoreWriter:
    """Collects matrices in a journal and makes a store of them; a context manager.

    Args:
        path: of the store to be.
        parameters: of every matrix in it.
        restart: forget what an earlier store or journal holds.

    Raises:
        StoreError: if a store or journal there has other parameters (the message shows both), or another
            process is writing it.
    """

    def __init__(self, path: Path, parameters: StoreParameters, *, restart: bool = False) -> None:
        self.path, self.parameters = path, parameters
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            stack.callback(self._lock().release)
            for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
                left.unlink()  # by a run that was killed while it wrote the store
            self._old = stack.enter_context(FeatureStore(path)) if path.exists() and not restart else None
            self._old_rows: dict[str, int] = {}
            if self._old:
                self._refuse_other(self._old.parameters, path)
                self._old_rows = {row.key: number for number, row in enumerate(self._old.rows)}
                self._old_frames = self._old.n_frames
            self._journal = Journal(journal_path(path), parameters, restart=restart)
            stack.callback(self._journal.close)
            self._refuse_other(self._journal.parameters, self._journal.path)
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        """Closes the files; a journal that was not finished stays for the next run."""
        self._open.close()

    @property
    def old_rows(self) -> Sequence[StoredRow]:
        """The rows of the store that will be replaced."""
        return self._old.rows if self._old else ()

    def __contains__(self, key: str) -> bool:
        """Whether the content named by a `StoredRow.key` is here already."""
        return key in self._journal.spans or key in self._old_rows

    def add(self, key: str, frames: npt.NDArray[Any]) -> None:
        """Adds a matrix in shape ``(n_frames, n_features)``."""
        self._journal.append(key, frames)

    def commit(self) -> None:
        """Makes sure that everything added so far survives a crash of the machine."""
        self._journal.commit()

    def finish(self, rows: Sequence[StoredRow]) -> None:
        """Writes the store with these rows in this order, puts it in place, and removes the journal.

        Raises:
            KeyError: if a row's content was never added.
            OSError: if it cannot be written; the old store and the journal stay.
        """
        self.commit()
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            with name_file(self.path):
                with open_hdf5(temporary, "w") as file:
                    self._write(file, rows)
                with temporary.open("rb") as stream:
                    os.fsync(stream.fileno())
                temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)
        self._journal.path.unlink()

    def _write(self, file: h5py.File, rows: Sequence[StoredRow]) -> None:
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["parameters"] = json.dumps(self.parameters.to_dict())
        file.attrs["fingerprint"] = self.parameters.fingerprint
        file.attrs["sercli_version"] = __version__
        lengths = np.fromiter((self._count_frames(row.key) for row in rows), np.int64, len(rows))
        file["offsets"] = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        group = file.create_group("rows")
        for name in ("file", "sha256", "alteration"):
            values = [getattr(row, name) for row in rows]
            group.create_dataset(name, data=values, shape=(len(rows),), dtype=h5py.string_dtype())
        total, width = int(lengths.sum()), self.parameters.features.n_features
        # Not compressed: gzip saves 8 to 16 % of float16 features and makes random reads twenty times slower.
        features = file.create_dataset(
            "features",
            shape=(total, width),
            dtype=self.parameters.dtype,
            chunks=(min(CHUNK_FRAMES, total), width) if total else None,
        )
        start = 0
        for block in _gather(self._read(row.key) for row in rows):
            features[start : start + len(block)] = block
            start += len(block)

    def _count_frames(self, key: str) -> int:
        if key in self._journal.spans:
            return self._journal.count_frames(key)
        return int(self._old_frames[self._old_rows[key]])

    def _read(self, key: str) -> npt.NDArray[Any]:
        if key in self._journal.spans or not self._old:
            return self._journal.read(key)
        number = self._old_rows[key]
        return self._old.read_stored(number, number + 1)

    def _lock(self) -> filelock.BaseFileLock:
        busy = f"{self.path} is being written by another sercli featurize: wait for it, or give another --store"
        return acquire_lock(self.path.with_name(f".{self.path.name}.lock"), StoreError(busy))

    def _refuse_other(self, found: StoreParameters, path: Path) -> None:
        if found != self.parameters:
            msg = (
                f"{path} was made with other parameters: found {found.fingerprint}, wanted "
                f"{self.parameters.fingerprint} ({found.describe_difference(self.parameters)}); "
                "give another --store, or --restart to replace it"
            )
            raise StoreError(msg)


def _gather(matrices: Iterable[npt.NDArray[Any]]) -> Iterator[npt.NDArray[Any]]:
    """Joins matrices into blocks of about `WRITE_FRAMES`."""
    held: list[npt.NDArray[Any]] = []
    frames = 0
    for matrix in matrices:
        held.append(matrix)
        frames += len(matrix)
        if frames >= WRITE_FRAMES:
            yield np.concatenate(held)
            held, frames = [], 0
    if held:
        yield np.concatenate(held)
