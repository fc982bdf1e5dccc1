"""The HDF5 store of feature matrices: ragged frames end to end in one dataset, with offsets.

While featurize runs, finished matrices go to a journal beside the store (``features.h5.part``); the store is
written from it at the end and appears by rename. A run killed at any moment thus leaves the old store whole,
and a journal that holds everything committed, which can be read like a store and is what the next run starts
from.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from sercli.errors import StoreError, UsageError
from sercli.features.hdf5 import open_hdf5
from sercli.features.journal import Journal, journal_path
from sercli.features.parameters import StoreParameters, parse_parameters
from sercli.features.rows import StoredRow, parse_key
from sercli.files import one_line

SCHEMA_VERSION = 1

Matrix = npt.NDArray[np.float32]
"""Features in shape ``(n_features, n_frames)``."""

Frames = npt.NDArray[np.float32]
"""Features in shape ``(n_frames, n_features)``."""


class _Source(Protocol):
    """Where a store's numbers come from."""

    parameters: StoreParameters

    def count(self) -> int: ...
    def rows(self) -> list[StoredRow]: ...
    def n_frames(self) -> npt.NDArray[np.int64]: ...
    def read(self, start: int, stop: int) -> npt.NDArray[Any]: ...
    def close(self) -> None: ...


class FeatureStore:
    """A store opened for reading; a context manager.

    Opening reads no more than the header. Any number of readers may open one store. Where a first run was
    interrupted and has left only its journal, that is read.

    Args:
        path: of the HDF5 file.

    Attributes:
        complete: whether the run that made it has ended.

    Raises:
        StoreError: if it is missing, damaged, or of another schema version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.complete = path.exists() or not journal_path(path).exists()
        self._source: _Source = _HDF5Source(path) if self.complete else _JournalSource(path)
        self.parameters = self._source.parameters

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        """Closes the file."""
        self._source.close()

    def __len__(self) -> int:
        """Number of matrices, copies included."""
        return self._source.count()

    @property
    def rows(self) -> list[StoredRow]:
        """What each matrix belongs to, in order."""
        return self._source.rows()

    @property
    def n_frames(self) -> npt.NDArray[np.int64]:
        """Frames of each matrix, in shape ``(len(self),)``."""
        return self._source.n_frames()

    def read(self, number: int) -> Matrix:
        """One matrix in shape ``(n_features, n_frames)``."""
        return self.read_frames(number, number + 1).T

    def read_frames(self, start: int, stop: int) -> Frames:
        """Matrices `start` to `stop` end to end, in shape ``(n_frames, n_features)``."""
        return self.read_stored(start, stop).astype(np.float32)

    def read_stored(self, start: int, stop: int) -> npt.NDArray[np.floating[Any]]:
        """As `read_frames`, with the type of number that the store has on disk."""
        return self._source.read(start, stop)


class _HDF5Source:
    def __init__(self, path: Path) -> None:
        try:
            self._file = open_hdf5(path, "r")
        except FileNotFoundError:
            msg = f"no feature store at {path}: make it with 'sercli featurize'"
            raise StoreError(msg) from None
        try:
            self.parameters = self._read_parameters(path)
            self._features, self._offsets = self._file["features"], self._file["offsets"]
            width = self.parameters.features.n_features
            if self._features.shape[1] != width:
                msg = f"expected {width} features, found {self._features.shape[1]}"
                raise ValueError(msg)
        except (KeyError, ValueError, TypeError, AttributeError, IndexError, UsageError) as reason:
            self.close()
            msg = (
                f"{path} is not a feature store ({one_line(reason)}): move it away and run 'sercli featurize', or give "
                "another --store"
            )
            raise StoreError(msg) from None
        except BaseException:
            self.close()
            raise

    def _read_parameters(self, path: Path) -> StoreParameters:
        version = int(self._file.attrs["schema_version"])
        if version != SCHEMA_VERSION:
            msg = (
                f"{path} has schema version {version}, this sercli reads {SCHEMA_VERSION}: "
                "make it anew with 'sercli featurize --restart'"
            )
            raise StoreError(msg)
        return parse_parameters(json.loads(self._file.attrs["parameters"]))

    def count(self) -> int:
        return len(self._offsets) - 1

    def rows(self) -> list[StoredRow]:
        group = self._file["rows"]
        columns = [group[name].asstr()[:] for name in ("file", "sha256", "alteration")]
        return [StoredRow(file=f, sha256=s, alteration=a) for f, s, a in zip(*columns, strict=True)]

    def n_frames(self) -> npt.NDArray[np.int64]:
        frames: npt.NDArray[np.int64] = np.diff(self._offsets[:])
        return frames

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        first, last = int(self._offsets[start]), int(self._offsets[stop])
        frames: npt.NDArray[Any] = self._features[first:last]
        return frames

    def close(self) -> None:
        self._file.close()


class _JournalSource:
    def __init__(self, path: Path) -> None:
        self._journal = Journal(journal_path(path))
        self._keys = list(self._journal.spans)
        self.parameters = self._journal.parameters

    def count(self) -> int:
        return len(self._keys)

    def rows(self) -> list[StoredRow]:
        return [parse_key(key) for key in self._keys]

    def n_frames(self) -> npt.NDArray[np.int64]:
        return np.asarray([self._journal.count_frames(key) for key in self._keys], dtype=np.int64)

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        width = self.parameters.features.n_features
        found = [self._journal.read(key) for key in self._keys[start:stop]]
        return np.concatenate(found) if found else np.zeros((0, width), self.parameters.dtype)

    def close(self) -> None:
        self._journal.close()
