"""Feature store: an HDF5 file with one dataset of concatenated matrices per feature.

A row is one segment of an utterance or of an augmented copy; the rows of an utterance are consecutive. Layout:
``features/<name>/frames`` in shape ``(total_frames, rows)`` and half precision, ``features/<name>/offsets`` in shape
``(n_rows + 1,)``, where a row without frames lacks the feature; ``rows/<column>`` for the fields of `StoreRow`.
Nothing is compressed: gzip saves 8 to 16% of half-precision features and makes random reads twenty times slower.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import h5py
import numpy as np
import numpy.typing as npt

from sercli.errors import StoreError, UsageError
from sercli.features.frontend import HalfMatrix
from sercli.features.parameters import StoreParameters
from sercli.files import one_line

SCHEMA_VERSION = 2
REMEDY = "move it away and run 'sercli featurize', or give another --store"


@dataclass(frozen=True, slots=True)
class Content:
    """An utterance or an augmented copy, identified by content rather than file name.

    Attributes:
        sha256: Hash of the utterance's file.
        augmentation: Name of the copy's augmentation, from `name_copy`; empty for the utterance itself.
    """

    sha256: str
    augmentation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRow:
    """One segment of an utterance, or of an augmented copy of it.

    Attributes:
        file: File of the utterance, as in the index.
        sha256: Hash of the utterance's file.
        augmentation: Name of the copy's augmentation, from `name_copy`; empty for the utterance itself.
        segment: Number of the segment, from 0.
        start: Start of the segment in the recording (s).
        end: End of the segment in the recording (s).
        speech: Speech in the segment (s); for a single segment, all that is not silent.
    """

    file: str
    sha256: str
    augmentation: str = ""
    segment: int = 0
    start: float = 0.0
    end: float = 0.0
    speech: float = 0.0


# What h5py, numpy and json raise where a file is damaged.
_DAMAGE = (
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    OverflowError,
    MemoryError,
)
TEXT_COLUMNS = ("file", "sha256", "augmentation")
NUMBER_COLUMNS = {"segment": np.int64, "start": np.float64, "end": np.float64, "speech": np.float64}


class FeatureStore:
    """A store opened for reading; a context manager.

    Opening reads only the header. Any number of readers may open a store; if it is replaced, they keep reading the old
    one.

    Args:
        path: HDF5 file.

    Attributes:
        parameters: Parameters of the store.

    Raises:
        StoreError: If the file is missing, damaged, or has another schema version.
        OSError: If the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = open_hdf5(path, "r")
        except FileNotFoundError:
            msg = f"no feature store at {path}: make it with 'sercli featurize'"
            raise StoreError(msg) from None
        try:
            self.parameters = self._read_parameters()
            features = {name: self._file[f"features/{name}"] for name in self.parameters.names}
            self._frames = {name: group["frames"] for name, group in features.items()}
            self._offset_sets = {name: group["offsets"] for name, group in features.items()}
            self._check_shapes()
        except (*_DAMAGE, UsageError) as reason:
            self.close()
            msg = f"{path} is not a feature store ({one_line(reason)}): {REMEDY}"
            raise StoreError(msg) from None
        except BaseException:
            self.close()
            raise

    def _read_parameters(self) -> StoreParameters:
        version = int(self._file.attrs["schema_version"])
        if version != SCHEMA_VERSION:
            msg = (
                f"{self.path} has schema version {version}, this sercli reads {SCHEMA_VERSION}: "
                "replace it with 'sercli featurize --restart'"
            )
            raise StoreError(msg)
        return StoreParameters.from_dict(json.loads(self._file.attrs["parameters"]))

    def _check_shapes(self) -> None:
        self._count = len(self._file["rows/file"])
        for name, size in self.parameters.features.sizes.items():
            frames, offsets = self._frames[name], self._offset_sets[name]
            if frames.shape[1] != size or offsets.shape != (self._count + 1,) or offsets[-1] != len(frames):
                msg = f"{name} has frames of shape {frames.shape} and offsets of shape {offsets.shape}"
                raise ValueError(msg)

    def __enter__(self) -> Self:
        """Returns the store itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        """Closes the file."""
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __len__(self) -> int:
        """Number of rows, including augmented copies."""
        return self._count

    @cached_property
    def rows(self) -> list[StoreRow]:
        """Lists the segment of each matrix, in order."""
        with self._naming_damage():
            group = self._file["rows"]
            columns: list[Sequence[Any]] = [group[name].asstr()[:].tolist() for name in TEXT_COLUMNS]
            columns += [group[name].astype(kind)[:].tolist() for name, kind in NUMBER_COLUMNS.items()]
            names = (*TEXT_COLUMNS, *NUMBER_COLUMNS)
            return [StoreRow(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]

    @contextlib.contextmanager
    def _naming_damage(self) -> Iterator[None]:
        """Raises a `StoreError` for what h5py raises where a file is damaged."""
        try:
            yield
        except (*_DAMAGE, OSError) as reason:
            if isinstance(reason, OSError) and reason.errno:
                raise
            msg = f"{self.path} is damaged ({one_line(reason)}): {REMEDY}"
            raise StoreError(msg) from None

    def group_rows(self) -> dict[Content, range]:
        """Groups the row numbers of each content, in order; the first one wins for equal contents."""
        rows: dict[Content, range] = {}
        last = None
        for number, row in enumerate(self.rows):
            content = Content(row.sha256, row.augmentation)
            if row.segment == 0 and content not in rows:
                rows[content] = range(number, number + 1)
                last = content
            elif content == last and row.segment == len(rows[content]):
                rows[content] = range(rows[content].start, number + 1)
            else:
                last = None
        return rows

    @cached_property
    def _offsets(self) -> dict[str, npt.NDArray[np.int64]]:
        with self._naming_damage():
            loaded = {name: offsets.astype(np.int64)[:] for name, offsets in self._offset_sets.items()}
            for name, offsets in loaded.items():
                if offsets[0] != 0 or (np.diff(offsets) < 0).any():
                    msg = f"the offsets of {name} do not ascend from 0"
                    raise ValueError(msg)
            return loaded

    def count_frames(self, name: str) -> npt.NDArray[np.int64]:
        """Counts the frames of each row, shape ``(len(self),)``; 0 where the row lacks the feature."""
        return np.diff(self._offsets[name])

    def has(self, name: str, number: int) -> bool:
        """Whether a row has a feature."""
        return bool(self._offsets[name][number + 1] > self._offsets[name][number])

    def fingerprint_of(self, name: str) -> str:
        """Identifies a feature's values: `FeatureConfig.fingerprint_of` when they were computed."""
        with self._naming_damage():
            return str(self._file[f"features/{name}"].attrs["fingerprint"])

    def read(self, number: int, names: Sequence[str] | None = None) -> HalfMatrix:
        """Reads features of one row in shape ``(n_features, n_frames)``.

        Args:
            number: Number of the row.
            names: Features, in the requested order; None for all.

        Raises:
            StoreError: If the row lacks a feature.
        """
        matrices = [self.read_frames(number, number + 1, name) for name in names or self.parameters.names]
        if any(len(matrix) != len(matrices[0]) or not len(matrix) for matrix in matrices):
            msg = f"{self.path} lacks features of {self.rows[number].file}: run 'sercli featurize'"
            raise StoreError(msg)
        return (matrices[0] if len(matrices) == 1 else np.concatenate(matrices, axis=1)).T

    def read_frames(self, start: int, stop: int, name: str) -> HalfMatrix:
        """Reads one feature of the concatenated rows `start` to `stop`, shape ``(n_frames, rows)``."""
        first, last = int(self._offsets[name][start]), int(self._offsets[name][stop])
        with self._naming_damage():
            frames: HalfMatrix = self._frames[name][first:last]
            return frames


def open_hdf5(path: Path, mode: Literal["r", "w"]) -> h5py.File:
    """Opens an HDF5 file without HDF5's own locking.

    Its locks fail on some file systems, and stores do not need them: a store appears by rename, and its writer holds
    another lock.

    Args:
        path: File to open.
        mode: ``"r"`` to read, ``"w"`` to create a file.

    Raises:
        StoreError: If the file is not a complete HDF5 file.
        OSError: If the file system refuses to open it; names the file.
    """
    try:
        return _open(path, mode, locking=False)
    except OSError as reason:
        if reason.errno:
            raise type(reason)(reason.errno, os.strerror(reason.errno), str(path)) from reason
        msg = f"{path} is not a complete HDF5 file ({one_line(reason)}): {REMEDY}"
        raise StoreError(msg) from None


def _open(path: Path, mode: str, *, locking: bool | None) -> h5py.File:
    try:
        return h5py.File(path, mode, libver="v110" if mode == "w" else None, locking=locking)
    except OSError as reason:
        # This process has already opened the file with locking, as h5py.File does by default.
        if locking is None or "file locking flag" not in str(reason):
            raise
        return _open(path, mode, locking=None)
