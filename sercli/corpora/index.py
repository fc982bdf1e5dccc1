"""Index of utterances (CSV)."""

import contextlib
import csv
import io
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sercli.errors import CorpusError
from sercli.files import make_csv_writer, write_by_rename
from sercli.labels import LabelSelection, find_problem, order_labels, require_list

COLUMNS: tuple[str, ...] = (
    "file",
    "corpus",
    "speaker",
    "gender",
    "emotion",
    "intensity",
    "statement",
    "repetition",
    "duration",
    "sample_rate",
    "channels",
    "sha256",
    "duplicate_of",
)
"""Columns of ``index.csv``; the user's columns follow."""

_PARSED = {"file", "duration", "sample_rate", "channels"}
_REMEDY = "move it away and run 'sercli prepare', or give another --index"

_SHA256 = re.compile("([0-9a-f]{64})?")

NO_EXTRA: Mapping[str, str] = {}  # shared by all utterances without extra columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One recording of one speaker with its label.

    Attributes:
        file: Path, relative to the index's folder with ``/``, or absolute.
        corpus: Name of the corpus.
        speaker: Name that is unique across corpora, such as ``ravdess-01``; empty if unknown.
        gender: ``female``, ``male``, another word of the corpus, or empty.
        emotion: Label, one of `sercli.labels.EMOTIONS` or another.
        intensity: Intensity in the corpus's own words, or empty.
        statement: Sentence in the corpus's own words, or empty.
        repetition: Take in the corpus's own words, or empty.
        duration: Length in seconds.
        sample_rate: Sample rate in Hz.
        channels: Number of channels.
        sha256: SHA-256 of the file's bytes in hexadecimal.
        duplicate_of: `file` of the first utterance with the same sound, or empty.
        extra: Further columns, added by the user.
    """

    file: str
    corpus: str
    speaker: str = ""
    gender: str = ""
    emotion: str
    intensity: str = ""
    statement: str = ""
    repetition: str = ""
    duration: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    sha256: str = ""
    duplicate_of: str = ""
    extra: Mapping[str, str] = field(default_factory=lambda: NO_EXTRA)

    @property
    def sound(self) -> str:
        """`file` of the first utterance with this sound, which may be this one."""
        return self.duplicate_of or self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Utterances sorted by corpus and file, and the folder that their relative paths start from."""

    folder: Path
    utterances: tuple[Utterance, ...]

    def __len__(self) -> int:
        """Number of utterances."""
        return len(self.utterances)

    def path_of(self, utterance: Utterance) -> Path:
        """Returns the path of the recording."""
        return self.folder / utterance.file

    @property
    def corpora(self) -> tuple[str, ...]:
        """Sorted names of the corpora in the index."""
        return tuple(sorted({utterance.corpus for utterance in self.utterances}))

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the utterances, in the order of `order_labels`."""
        return order_labels(utterance.emotion for utterance in self.utterances)

    def relabel(self, selection: LabelSelection) -> "Index":
        """Returns the utterances whose labels a selection keeps, with merged labels.

        Raises:
            UsageError: If the selection names a label that no utterance has, or if two of the labels that are left
                mean the same.
        """
        selection.check(self.labels)
        labels = {label: selection.apply(label) for label in self.labels}
        kept = ((utterance, labels[utterance.emotion]) for utterance in self.utterances)
        return replace(self, utterances=tuple(replace(u, emotion=label) for u, label in kept if label))

    def select(self, corpora: Iterable[str] | None) -> "Index":
        """Returns the part of the index that belongs to the named corpora; all of it for None.

        Raises:
            CorpusError: If no corpus is named, or one is not in the index; the message lists those that are.
            UsageError: If `corpora` is text.
        """
        require_list("corpora", corpora)
        if corpora is None:
            return self
        names = set(corpora)
        if not names:
            msg = f"no corpus is named: the index has {', '.join(self.corpora) or 'none'}"
            raise CorpusError(msg)
        unknown = sorted(names - set(self.corpora))
        if unknown:
            msg = f"corpus {unknown[0]!r} is not in the index: it has {', '.join(self.corpora) or 'none'}"
            raise CorpusError(msg)
        return replace(self, utterances=tuple(u for u in self.utterances if u.corpus in names))


def relative_name(path: Path, folder: Path) -> str:
    """Returns the name of a path in an index: relative with ``/`` below the index's folder, else absolute."""
    absolute, base = Path(os.path.abspath(path)), Path(os.path.abspath(folder))  # noqa: PTH100 - keeps links
    return absolute.relative_to(base).as_posix() if absolute.is_relative_to(base) else str(absolute)


def merge_index(index: Index, corpus: str, utterances: Iterable[Utterance]) -> Index:
    """Returns the index with the rows of one corpus replaced, sorted by corpus and file.

    A duplicate stays marked if its file has not changed.
    """
    others = [utterance for utterance in index.utterances if utterance.corpus != corpus]
    marks = {(u.file, u.sha256): u.duplicate_of for u in index.utterances if u.sha256}
    marked = [replace(u, duplicate_of=u.duplicate_of or marks.get((u.file, u.sha256), "")) for u in utterances]
    rows = sorted([*others, *marked], key=lambda u: (u.corpus, u.file))
    return replace(index, utterances=tuple(rows))


def write_index(path: Path, index: Index) -> None:
    """Writes the index as UTF-8 CSV, by rename; `index.folder` should be the folder of `path`.

    Raises:
        OSError: If it cannot be written; an older index stays as it was.
    """
    extras = sorted({name for utterance in index.utterances for name in utterance.extra})
    with write_by_rename(path) as stream:
        write = make_csv_writer(stream)
        write([*COLUMNS, *extras])
        for utterance in index.utterances:
            write(_to_row(utterance, extras))


def _to_row(utterance: Utterance, extras: Iterable[str]) -> list[str]:
    cells = {name: str(getattr(utterance, name)) for name in COLUMNS}
    cells["duration"] = f"{utterance.duration:.6f}"
    return [*cells.values(), *(utterance.extra.get(name, "") for name in extras)]


def read_index(path: Path) -> Index:
    """Reads an index.

    Raises:
        CorpusError: If the file is missing, lacks a column or has no rows, or a row has an invalid value; the
            message names file, line and column.
    """
    try:
        # The csv module needs the line ends as they are, because a quoted file name may hold one.
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        msg = f"no index at {path}: make it with 'sercli prepare'"
        raise CorpusError(msg) from None
    except UnicodeDecodeError as reason:
        msg = f"{path} is not UTF-8 text ({reason.reason} at byte {reason.start}): {_REMEDY}"
        raise CorpusError(msg) from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            msg = f"{path} lacks the column {missing[0]!r}: expected {','.join(COLUMNS)}; {_REMEDY}"
            raise CorpusError(msg)
        utterances = [_parse_row(row, f"{path}, line {reader.line_num}") for row in reader]
    except csv.Error as reason:
        msg = f"{path}, line {reader.line_num}: not valid CSV ({reason})"
        raise CorpusError(msg) from None
    if not utterances:
        msg = f"{path} has no utterances: {_REMEDY}"
        raise CorpusError(msg)
    return Index(folder=path.parent, utterances=tuple(utterances))


def _parse_row(row: dict[str, str | None], where: str) -> Utterance:
    cells = {name: value for name, value in row.items() if name is not None and value is not None}
    absent = [name for name in COLUMNS if name not in cells]
    if absent or None in row:
        msg = f"{where}: the row has fewer or more cells than the header; {_REMEDY}"
        raise CorpusError(msg)
    if not _SHA256.fullmatch(cells["sha256"]):
        msg = f"{where}: sha256 should be empty or 64 hexadecimal digits, found {cells['sha256']!r}; {_REMEDY}"
        raise CorpusError(msg)
    if problem := find_problem(cells["emotion"]):
        msg = f"{where}: the emotion {cells['emotion'][:40]!r} cannot be a label: {problem}; {_REMEDY}"
        raise CorpusError(msg)
    try:
        return Utterance(
            file=_parse_file(cells["file"]),
            duration=_parse_duration(cells["duration"]),
            sample_rate=_parse_count("sample_rate", cells["sample_rate"]),
            channels=_parse_count("channels", cells["channels"]),
            **{name: cells[name] for name in COLUMNS if name not in _PARSED},
            extra={name: value for name, value in cells.items() if name not in COLUMNS} or NO_EXTRA,
        )
    except ValueError as reason:
        msg = f"{where}: {reason}; {_REMEDY}"
        raise CorpusError(msg) from None


def _parse_file(text: str) -> str:
    if not text or "\0" in text:
        msg = f"file should be a path, found {text!r}"
        raise ValueError(msg)
    return text


def _parse_duration(text: str) -> float:
    with contextlib.suppress(ValueError):
        duration = float(text or 0)
        if math.isfinite(duration) and duration >= 0:
            return duration
    msg = f"duration should be seconds, found {text!r}"
    raise ValueError(msg)


def _parse_count(name: str, text: str) -> int:
    with contextlib.suppress(ValueError):
        count = int(text or 0)
        if count >= 0:
            return count
    msg = f"{name} should be a whole number of at least 0, found {text!r}"
    raise ValueError(msg)


def mark_duplicates(index: Index, digests: Mapping[str, str]) -> Index:
    """Sets `duplicate_of` of each row to the first row with the same sound, so that copies never straddle a split.

    Rows have the same sound if their files are equal or, where known, their decoded samples, also in different
    corpora. Duplicates marked by earlier runs stay marked, also if the row that they duplicate is gone, unless the
    samples of both are known.

    Args:
        index: Rows, in the order that decides which is first.
        digests: Digest of the decoded samples by `sha256`, where known.
    """
    from scipy.cluster.hierarchy import DisjointSet  # slow to import, and only prepare needs it

    digest_of = {row.file: digests.get(row.sha256) for row in index.utterances}
    groups: DisjointSet = DisjointSet()
    for row in index.utterances:
        digest = digest_of[row.file]
        keys = [f"bytes {row.sha256}"] if row.sha256 else []
        keys += [f"sound {digest}"] if digest else []
        if row.duplicate_of and not (digest and digest_of.get(row.duplicate_of)):
            keys += [f"row {row.duplicate_of}"]
        groups.add(f"row {row.file}")
        for key in keys:
            groups.add(key)
            groups.merge(f"row {row.file}", key)
    first: dict[str, str] = {}
    for row in index.utterances:
        first.setdefault(groups[f"row {row.file}"], row.file)
    originals = [first[groups[f"row {row.file}"]] for row in index.utterances]
    rows = tuple(
        replace(row, duplicate_of=original if original != row.file else "")
        for row, original in zip(index.utterances, originals, strict=True)
    )
    return replace(index, utterances=rows)
