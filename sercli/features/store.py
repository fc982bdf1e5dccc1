"""The HDF5 store of feature matrices: ragged frames end to end in one dataset, with offsets.

While featurize runs, finished matrices go to a journal beside the store (``features.h5.part``), an append-only
file whose records carry a checksum; the store itself is written at the end and appears by rename. A run killed
at any moment thus leaves the old store whole, and a journal that holds everything committed.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import h5py
import numpy as np
import numpy.typing as npt

from sercli.config import AudioConfig, FeatureConfig
from sercli.errors import StoreError, UsageError
from sercli.files import one_line
from sercli.version import __version__

SCHEMA_VERSION = 1
CHUNK_FRAMES = 512  # frames per HDF5 chunk; near the length of four utterances, so reads waste little
_MAGIC = b"sercli features 1\n"
_RECORD = struct.Struct("<4sIII")  # mark, bytes of the key, bytes of the matrix, CRC-32 of both
_MARK = b"UTT1"

Matrix = npt.NDArray[np.float32]
"""Features in shape ``(n_features, n_frames)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreParameters:
    """What a store's features were computed with.

    Attributes:
        audio: preprocessing.
        features: of the front end.
        dtype: of the numbers on disk, ``float16`` or ``float32``.
    """

    audio: AudioConfig
    features: FeatureConfig
    dtype: str = "float16"

    def to_dict(self) -> dict[str, Any]:
        """The parameters as a JSON-ready dict."""
        return {"audio": self.audio.to_dict(), "features": self.features.to_dict(), "dtype": self.dtype}

    @property
    def fingerprint(self) -> str:
        """Equal for equal parameters: of the signal, of the features, and the type of number."""
        return f"{self.audio.fingerprint()}-{self.features.fingerprint()}-{self.dtype}"

    def describe_difference(self, other: "StoreParameters") -> str:
        """Names and values in which another set differs, as ``n_mels 64 against 80``."""
        mine, theirs = self._flat(), other._flat()
        return ", ".join(f"{name} {mine[name]} against {theirs[name]}" for name in mine if mine[name] != theirs[name])

    def _flat(self) -> dict[str, Any]:
        # The sample rate stands in both parts; it is named once.
        return {**self.features.to_dict(), **self.audio.to_dict(), "dtype": self.dtype}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRow:
    """One matrix of a store: of an utterance, or of an altered copy of one.

    Attributes:
        file: of the utterance, as in the index.
        sha256: of the utterance's file.
        alteration: how the copy differs; empty for the utterance itself.
    """

    file: str
    sha256: str
    alteration: str = ""

    @property
    def key(self) -> str:
        """Names the content: equal keys have equal features under equal parameters."""
        return f"{self.sha256} {self.alteration}"


class FeatureStore:
    """A store opened for reading; a context manager.

    Opening reads no more than the header. Any number of readers may open one store.

    Args:
        path: of the HDF5 file.

    Raises:
        StoreError: if it is missing, damaged, or of another schema version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = h5py.File(path, "r")
        except FileNotFoundError:
            msg = f"no feature store at {path}: make it with 'sercli featurize'"
            if journal_path(path).exists():
                msg = f"the feature store {path} is unfinished: run 'sercli featurize' again to go on"
            raise StoreError(msg) from None
        except OSError as reason:
            msg = f"{path} is not a whole HDF5 file ({one_line(reason)}): remove it and run 'sercli featurize'"
            raise StoreError(msg) from None
        try:
            self.parameters = self._read_parameters()
            self._features, self._offsets = self._file["features"], self._file["offsets"]
            if self._features.shape[1] != self.parameters.features.n_features:
                msg = f"expected {self.parameters.features.n_features} features, found {self._features.shape[1]}"
                raise ValueError(msg)
        except (KeyError, ValueError, TypeError, AttributeError, IndexError, UsageError) as reason:
            self._file.close()
            msg = f"{path} is not a feature store ({one_line(reason)}): remove it and run 'sercli featurize'"
            raise StoreError(msg) from None
        except BaseException:
            self._file.close()
            raise

    def _read_parameters(self) -> StoreParameters:
        version = int(self._file.attrs["schema_version"])
        if version != SCHEMA_VERSION:
            msg = (
                f"{self.path} has schema version {version}, this sercli reads {SCHEMA_VERSION}: "
                "make it anew with 'sercli featurize --restart'"
            )
            raise StoreError(msg)
        return parse_parameters(json.loads(self._file.attrs["parameters"]))

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        """Closes the file."""
        self._file.close()

    def __len__(self) -> int:
        """Number of matrices, copies included."""
        return len(self._offsets) - 1

    @property
    def rows(self) -> list[StoredRow]:
        """What each matrix belongs to, in order."""
        group = self._file["rows"]
        columns = [group[name].asstr()[:] for name in ("file", "sha256", "alteration")]
        return [StoredRow(file=f, sha256=s, alteration=a) for f, s, a in zip(*columns, strict=True)]

    @property
    def n_frames(self) -> npt.NDArray[np.int64]:
        """Frames of each matrix, in shape ``(len(self),)``."""
        frames: npt.NDArray[np.int64] = np.diff(self._offsets[:])
        return frames

    def read(self, number: int) -> Matrix:
        """One matrix in shape ``(n_features, n_frames)``."""
        start, stop = self._offsets[number : number + 2]
        matrix: Matrix = self._features[start:stop].astype(np.float32).T
        return matrix

    def read_frames(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Matrices `start` to `stop` end to end, in shape ``(frames, n_features)``."""
        first, last = int(self._offsets[start]), int(self._offsets[stop])
        frames: npt.NDArray[np.float32] = self._features[first:last].astype(np.float32)
        return frames


def parse_parameters(values: dict[str, Any]) -> StoreParameters:
    """Reads what `StoreParameters.to_dict` gave.

    Raises:
        UsageError: if a value is not what it should be.
        KeyError: if a part is missing.
    """
    return StoreParameters(
        audio=AudioConfig.from_dict(values["audio"]),
        features=FeatureConfig.from_dict(values["features"]),
        dtype=str(values["dtype"]),
    )


def journal_path(path: Path) -> Path:
    """The journal that belongs to a store."""
    return path.with_name(path.name + ".part")


class StoreWriter:
    """Collects matrices in a journal and makes a store of them; a context manager, one at a time.

    Args:
        path: of the store to be.
        parameters: of every matrix in it.
        restart: forget what an earlier store or journal holds.

    Raises:
        StoreError: if a store or journal there has other parameters; the message shows both.
    """

    def __init__(self, path: Path, parameters: StoreParameters, *, restart: bool = False) -> None:
        self.path, self.parameters = path, parameters
        self._journal_path = journal_path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._old: h5py.File | dict[str, h5py.Dataset] = {}
        self._old_rows: dict[str, tuple[int, int]] = {}  # first frame, frame after the last
        self._journal_rows: dict[str, tuple[int, int]] = {}  # where the matrix starts, its bytes
        if not restart and path.exists():
            self._open_old()
        self._journal = self._open_journal(restart=restart)

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        """Closes the files; a journal that was not finished stays for the next run."""
        self._journal.close()
        self._close_old()

    def __contains__(self, key: str) -> bool:
        """Whether the content named by a `StoredRow.key` is here already."""
        return key in self._journal_rows or key in self._old_rows

    def add(self, key: str, matrix: Matrix) -> None:
        """Appends a matrix in shape ``(n_features, n_frames)`` to the journal."""
        name = key.encode()
        data = np.ascontiguousarray(matrix.T, dtype=self.parameters.dtype).tobytes()
        checksum = zlib.crc32(data, zlib.crc32(name))
        start = self._journal.tell() + _RECORD.size + len(name)
        self._journal.write(_RECORD.pack(_MARK, len(name), len(data), checksum) + name + data)
        self._journal_rows[key] = (start, len(data))

    def commit(self) -> None:
        """Makes sure that everything added so far survives a crash of the machine."""
        self._journal.flush()
        os.fsync(self._journal.fileno())

    def finish(self, rows: Sequence[StoredRow]) -> None:
        """Writes the store with these rows in this order, puts it in place, and removes the journal.

        Raises:
            KeyError: if a row's content was never added.
            OSError: if it cannot be written; the old store and the journal stay.
        """
        self.commit()
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            with h5py.File(temporary, "w", libver="v110") as file:
                self._write(file, rows)
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            self._close_old()
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)
        self._journal.close()
        self._journal_path.unlink(missing_ok=True)

    def _open_old(self) -> None:
        with FeatureStore(self.path) as store:
            self._refuse_other(store.parameters, self.path)
            stops = np.cumsum(store.n_frames)
            spans = zip(stops - store.n_frames, stops, strict=True)
            self._old_rows = {row.key: span for row, span in zip(store.rows, spans, strict=True)}
        self._old = h5py.File(self.path, "r")

    def _close_old(self) -> None:
        if isinstance(self._old, h5py.File):
            self._old.close()

    def _write(self, file: h5py.File, rows: Sequence[StoredRow]) -> None:
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["parameters"] = json.dumps(self.parameters.to_dict())
        file.attrs["fingerprint"] = self.parameters.fingerprint
        file.attrs["sercli_version"] = __version__
        lengths = [self._count_frames(row.key) for row in rows]
        file["offsets"] = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        group = file.create_group("rows")
        for name in ("file", "sha256", "alteration"):
            values = [getattr(row, name) for row in rows]
            group.create_dataset(name, data=values, shape=(len(rows),), dtype=h5py.string_dtype())
        total, width = sum(lengths), self.parameters.features.n_features
        features = file.create_dataset(
            "features",
            shape=(total, width),
            dtype=self.parameters.dtype,
            chunks=(min(CHUNK_FRAMES, max(total, 1)), width),
        )
        start = 0
        for block in _gather(self._read(row.key) for row in rows):
            features[start : start + len(block)] = block
            start += len(block)

    def _count_frames(self, key: str) -> int:
        if key in self._journal_rows:
            return self._journal_rows[key][1] // self._frame_bytes
        start, stop = self._old_rows[key]
        return stop - start

    def _read(self, key: str) -> npt.NDArray[Any]:
        if key in self._journal_rows:
            start, size = self._journal_rows[key]
            data = os.pread(self._journal.fileno(), size, start)
            return np.frombuffer(data, self.parameters.dtype).reshape(-1, self.parameters.features.n_features)
        start, stop = self._old_rows[key]
        frames: npt.NDArray[Any] = self._old["features"][start:stop]
        return frames

    @property
    def _frame_bytes(self) -> int:
        return self.parameters.features.n_features * np.dtype(self.parameters.dtype).itemsize

    def _open_journal(self, *, restart: bool) -> BinaryIO:
        header = _MAGIC + json.dumps(self.parameters.to_dict(), sort_keys=True).encode() + b"\n"
        journal = self._journal_path.open("w+b" if restart or not self._journal_path.exists() else "r+b")
        try:
            journal.seek(0)
            magic, found = journal.readline(), journal.readline()
            if magic == _MAGIC and found.endswith(b"\n"):
                self._refuse_other(parse_parameters(json.loads(found)), self._journal_path)
                journal.seek(self._scan(journal, len(magic) + len(found)))
                journal.truncate()
            else:
                journal.seek(0)
                journal.truncate()
                journal.write(header)
        except BaseException:
            journal.close()
            raise
        return journal

    def _scan(self, journal: BinaryIO, position: int) -> int:
        """Notes every whole record; returns where the first damaged or missing one would stand."""
        size = os.fstat(journal.fileno()).st_size
        while position + _RECORD.size <= size:
            mark, name_size, data_size, checksum = _RECORD.unpack(journal.read(_RECORD.size))
            end = position + _RECORD.size + name_size + data_size
            if mark != _MARK or end > size:
                break
            name, data = journal.read(name_size), journal.read(data_size)
            if zlib.crc32(data, zlib.crc32(name)) != checksum:
                break
            self._journal_rows[name.decode()] = (end - data_size, data_size)
            position = end
        return position

    def _refuse_other(self, found: StoreParameters, path: Path) -> None:
        if found != self.parameters:
            msg = (
                f"{path} was made with other parameters: found {found.fingerprint}, wanted "
                f"{self.parameters.fingerprint} ({found.describe_difference(self.parameters)}); "
                "give another --store, or --restart to replace it"
            )
            raise StoreError(msg)


def _gather(matrices: Iterable[npt.NDArray[Any]]) -> Iterator[npt.NDArray[Any]]:
    """Joins matrices into blocks of some thousand frames, since HDF5 is slow at many small writes."""
    held: list[npt.NDArray[Any]] = []
    frames = 0
    for matrix in matrices:
        held.append(matrix)
        frames += len(matrix)
        if frames >= 16 * CHUNK_FRAMES:
            yield np.concatenate(held)
            held, frames = [], 0
    if held:
        yield np.concatenate(held)
