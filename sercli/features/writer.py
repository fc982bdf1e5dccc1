"""Writes feature stores: results are added to a journal, from which the store is written atomically."""

import contextlib
import glob
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np
import numpy.typing as npt

from sercli.errors import StoreError, UsageError
from sercli.features.frontend import FEATURES, HalfMatrix
from sercli.features.parameters import StoreParameters
from sercli.features.store import (
    NUMBER_COLUMNS,
    SCHEMA_VERSION,
    TEXT_COLUMNS,
    Content,
    FeatureStore,
    StoreRow,
    open_hdf5,
)
from sercli.features.utterance import Extracted, SegmentSpan
from sercli.files import name_file, one_line
from sercli.journal import Journal, read_identity
from sercli.locks import hold_lock
from sercli.version import __version__

WRITE_FRAMES = 8_192  # frames written at a time; HDF5 is slow at many small writes


@dataclass(frozen=True, slots=True)
class _Part:
    """Some features of a content in the journal."""

    key: str
    names: tuple[str, ...]
    segments: tuple[SegmentSpan, ...]


class StoreWriter:
    """Collects features in a journal and writes a store; a context manager.

    Args:
        path: Store to write.
        parameters: Parameters and names of the features to add.
        restart: Whether to discard an earlier store or journal.

    Attributes:
        parameters: Parameters of the new store, including features of the old one.

    Raises:
        StoreError: If a store or journal has other parameters (the message shows both), or another process is writing
            it.
        InputError: If a file is in the way of the journal.
    """

    def __init__(self, path: Path, parameters: StoreParameters, *, restart: bool = False) -> None:
        self.path, self.parameters = path, parameters
        self._old_rows: dict[Content, range] = {}
        self._old_copies: dict[str, list[str]] = defaultdict(list)
        self._old_frames: dict[str, npt.NDArray[np.int64]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            busy = f"{path} is being written by another sercli featurize: wait for it, or give another --store"
            stack.enter_context(hold_lock(path.with_name(f"{self.prefix}lock"), StoreError(busy)))
            for leftover in path.parent.glob(f"{glob.escape(self.prefix)}*.tmp"):
                leftover.unlink()  # from a run that was killed
            self._old = None if restart or not path.exists() else self._open_old(stack)
            if self._old:
                self.parameters = parameters.add(self._old.parameters.names)
                self._old_rows = self._old.group_rows()
                self._old_frames = {name: self._old.count_frames(name) for name in self._old.parameters.names}
                for content in self._old_rows:
                    if content.augmentation:
                        self._old_copies[content.sha256].append(content.augmentation)
            if not restart:
                self._refuse_other_journal(journal_path(path))
            self._journal = stack.enter_context(Journal(journal_path(path), _identify(parameters), restart=restart))
            self._groups = {group for group in {key.split("|")[2] for key in self._journal} if self._is_current(group)}
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        """Returns the writer itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        """Closes the files; keeps the journal for the next run if the store was not written and it has anything."""
        if not any(True for _ in self._journal):
            journal_path(self.path).unlink(missing_ok=True)  # while the lock is held
        self._open.close()

    @property
    def prefix(self) -> str:
        """Prefix of temporary files beside the store, which end in ``.tmp``."""
        return f".{self.path.name}."

    def find_copies(self, sha256: str) -> list[str]:
        """Lists the augmented copies of an utterance in the old store, in order."""
        return self._old_copies.get(sha256, [])

    def find_missing(self, content: Content, names: Iterable[str]) -> tuple[str, ...]:
        """Returns the features that are neither in the old store nor in the journal."""
        known = {*self._names_in_store(content), *(name for part in self._find_parts(content) for name in part.names)}
        return tuple(name for name in names if name not in known)

    def __contains__(self, content: Content) -> bool:
        """Whether a content has any features."""
        return content in self._old_rows or bool(self._find_parts(content))

    def add(self, sha256: str, extracted: Extracted) -> Content:
        """Adds features of an utterance or a copy, and removes the file they were in.

        They survive the end of the process at once, and a crash of the machine after a few seconds.

        Raises:
            StoreError: If its segments differ from those in the store.
        """
        content, names = Content(sha256, extracted.copy.name), extracted.copy.names
        self._refuse_other_segments(content, extracted)
        group = self._name_group(names)
        self._groups.add(group)
        key = f"{sha256}|{content.augmentation}|{group}"
        width = 2 * sum(self.parameters.features.select(names).sizes.values())
        with extracted.open() as stream:
            for number, segment in enumerate(extracted.segments):
                self._journal.append(f"{key}|{number}", stream.read(width * segment.n_frames))
        # Written after its segments, so that an entry is always complete.
        self._journal.append(key, json.dumps([astuple(segment) for segment in extracted.segments]).encode())
        extracted.discard()
        return content

    def finish(self, contents: Sequence[tuple[Content, str]]) -> None:
        """Writes the store, renames it into place, and removes the journal.

        Args:
            contents: Contents of the store, in order, with the file name of each utterance.

        Raises:
            KeyError: If a content has no features.
            OSError: If the store cannot be written; the old store and the journal stay.
        """
        self._journal.commit()
        temporary = self.path.with_name(f"{self.prefix}{os.getpid()}.tmp")
        try:
            with name_file(self.path):
                with open_hdf5(temporary, "w") as file:
                    self._write(file, contents)
                with temporary.open("rb") as stream:
                    os.fsync(stream.fileno())
                temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)
        self._journal.remove()

    def _write(self, file: h5py.File, contents: Sequence[tuple[Content, str]]) -> None:
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["parameters"] = json.dumps(self.parameters.to_dict())
        file.attrs["sercli_version"] = __version__
        rows: list[StoreRow] = []
        lengths: dict[str, list[int]] = {name: [] for name in self.parameters.names}
        for content, name in contents:
            added = self._list_rows(content, name)
            rows += added
            for feature, counts in self._count_frames(content, len(added)).items():
                lengths[feature] += counts
        _write_rows(file.create_group("rows"), rows)
        datasets = {}
        for name, size in self.parameters.features.sizes.items():
            group = file.create_group(f"features/{name}")
            group.attrs["fingerprint"] = self.parameters.features.fingerprint_of(name)
            offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths[name], dtype=np.int64)])
            group["offsets"] = offsets
            datasets[name] = _Appender(group.create_dataset("frames", shape=(int(offsets[-1]), size), dtype=np.float16))
        for content, _ in contents:
            for name, matrix in self._read(content):
                datasets[name].append(matrix)
        for dataset in datasets.values():
            dataset.flush()

    def _list_rows(self, content: Content, file: str) -> list[StoreRow]:
        if self._old and content in self._old_rows:
            return [replace(self._old.rows[number], file=file) for number in self._old_rows[content]]
        parts = self._find_parts(content)
        if not parts:
            raise KeyError(content)
        return [
            StoreRow(
                file=file,
                sha256=content.sha256,
                augmentation=content.augmentation,
                segment=number,
                start=segment.start,
                end=segment.end,
                speech=segment.speech,
            )
            for number, segment in enumerate(parts[0].segments)
        ]

    def _count_frames(self, content: Content, count: int) -> dict[str, list[int]]:
        """Counts the frames of each of the `count` rows of a content, by feature; 0 where it is missing."""
        frames = {name: [0] * count for name in self.parameters.names}
        for name in self._names_in_store(content):
            numbers = self._old_rows[content]
            frames[name] = self._old_frames[name][numbers.start : numbers.stop].tolist()
        for part in self._find_parts(content):
            frames |= {name: [segment.n_frames for segment in part.segments] for name in part.names}
        return frames

    def _read(self, content: Content) -> Iterator[tuple[str, HalfMatrix]]:
        """Yields the features of a content in row order, each in shape ``(n_frames, rows)``."""
        parts = self._find_parts(content)
        in_journal = {name for part in parts for name in part.names}
        for name in self._names_in_store(content):
            if self._old and name not in in_journal:
                numbers = self._old_rows[content]
                yield name, self._old.read_frames(numbers.start, numbers.stop, name)
        for part in parts:
            sizes = self.parameters.features.select(part.names).sizes
            for number, segment in enumerate(part.segments):
                data, start = self._journal[f"{part.key}|{number}"], 0
                for name, size in sizes.items():
                    count = segment.n_frames * size
                    yield name, np.frombuffer(data, np.float16, count, start).reshape(segment.n_frames, size)
                    start += 2 * count

    def _names_in_store(self, content: Content) -> list[str]:
        if not self._old or content not in self._old_rows:
            return []
        first = self._old_rows[content].start
        return [name for name, frames in self._old_frames.items() if frames[first]]

    def _find_parts(self, content: Content) -> list[_Part]:
        parts = []
        for group in sorted(self._groups):
            key = f"{content.sha256}|{content.augmentation}|{group}"
            if key in self._journal:
                segments = tuple(SegmentSpan(*values) for values in json.loads(self._journal[key]))
                parts.append(_Part(key, _parse_group(group), segments))
        return parts

    def _name_group(self, names: tuple[str, ...]) -> str:
        """Names features and identifies their values, for keys of the journal."""
        prints = "".join(self.parameters.features.fingerprint_of(name) for name in names)
        return f"{','.join(names)}:{hashlib.sha256(prints.encode()).hexdigest()[:8]}"

    def _is_current(self, group: str) -> bool:
        """Whether features in the journal would have the same values today."""
        names = _parse_group(group)
        return set(names) <= set(FEATURES) and group == self._name_group(names)

    def _open_old(self, stack: contextlib.ExitStack) -> FeatureStore | None:
        """Opens the old store; None if the journal is that of an interrupted restart, which replaces the store."""
        try:
            old = stack.enter_context(FeatureStore(self.path))
            self._refuse_other(old)
        except StoreError:
            if read_identity(journal_path(self.path)) != _identify(self.parameters):
                raise
            return None
        return old

    def _refuse_other(self, old: FeatureStore) -> None:
        self._refuse_difference(old.parameters, self.path)
        for name in set(old.parameters.names) & set(self.parameters.names):
            expected, found = self.parameters.features.fingerprint_of(name), old.fingerprint_of(name)
            if found != expected:
                msg = (
                    f"feature {name} of {self.path} was computed by another version of sercli: expected {expected}, "
                    f"found {found}; give another --store, or --restart to replace it"
                )
                raise StoreError(msg)

    def _refuse_other_segments(self, content: Content, extracted: Extracted) -> None:
        counts = [segment.n_frames for segment in extracted.segments]
        for name in self._names_in_store(content):
            rows = self._old_rows[content]
            if self._old_frames[name][rows.start : rows.stop].tolist() != counts:
                msg = (
                    f"{self.path} has {name} of other segments of the recording {content.sha256[:12]}…, perhaps "
                    "because a library was updated: give another --store, or --restart to replace it"
                )
                raise StoreError(msg)

    def _refuse_other_journal(self, path: Path) -> None:
        identity = read_identity(path)
        if identity is None:
            return
        try:
            parameters = StoreParameters.from_dict(json.loads(identity))
        except (ValueError, TypeError, KeyError, UsageError) as reason:
            msg = f"{path} is damaged ({one_line(reason)}): start over with 'sercli featurize --restart'"
            raise StoreError(msg) from None
        self._refuse_difference(parameters, path)

    def _refuse_difference(self, found: StoreParameters, path: Path) -> None:
        difference = found.describe_difference(self.parameters)
        if difference:
            # With the same features, so that equal fingerprints mean equal parameters.
            found = replace(found, features=replace(found.features, names=self.parameters.names))
            msg = (
                f"{path} was made with other parameters: found {found.fingerprint}, expected "
                f"{self.parameters.fingerprint} ({difference}); give another --store, or --restart to replace it"
            )
            raise StoreError(msg)


class _Appender:
    """Appends matrices to a dataset in large blocks, since HDF5 is slow at many small writes."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset, self._written, self._frames = dataset, 0, 0
        self._waiting: list[HalfMatrix] = []

    def append(self, matrix: HalfMatrix) -> None:
        self._waiting.append(matrix)
        self._frames += len(matrix)
        if self._frames >= WRITE_FRAMES:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._dataset[self._written : self._written + self._frames] = np.concatenate(self._waiting)
        self._written += self._frames
        self._waiting, self._frames = [], 0


def journal_path(path: Path) -> Path:
    """Returns the journal of a store."""
    return path.with_name(path.name + ".part")


def _write_rows(group: h5py.Group, rows: Sequence[StoreRow]) -> None:
    for name in TEXT_COLUMNS:
        values = [getattr(row, name) for row in rows]
        group.create_dataset(name, data=values, shape=(len(rows),), dtype=h5py.string_dtype())
    for name, kind in NUMBER_COLUMNS.items():
        group[name] = np.array([getattr(row, name) for row in rows], dtype=kind)


def _identify(parameters: StoreParameters) -> str:
    """Identifies the entries of a journal: all parameters except which features."""
    values = parameters.to_dict()
    del values["features"]["names"]
    return json.dumps(values, sort_keys=True)


def _parse_group(group: str) -> tuple[str, ...]:
    return tuple(group.partition(":")[0].split(","))
