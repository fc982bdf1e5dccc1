"""The index of utterances, one row each, that every later step starts from."""

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
from sercli.labels import EMOTIONS

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
"""The columns of ``index.csv``; a corpus may add its own after them."""

_PARSED = {"file", "duration", "sample_rate", "channels"}
_REMEDY = "move it away and run 'sercli prepare', or give another --index"

_SHA256 = re.compile("([0-9a-f]{64})?")

NO_EXTRA: Mapping[str, str] = {}  # shared by all utterances without columns of the user's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One recording of one speaker with its label.

    Attributes:
        file: path as it stands in the index: relative to the index's folder, with ``/``, or absolute.
        corpus: name of the corpus.
        speaker: unique across corpora, as ``ravdess-01``; empty if unknown.
        gender: ``female``, ``male`` or empty.
        emotion: one of `sercli.labels.EMOTIONS`.
        intensity: as the corpus has it, or empty.
        statement: as the corpus has it, or empty.
        repetition: as the corpus has it, or empty.
        duration: in seconds.
        sample_rate: in Hz.
        channels: number of channels.
        sha256: of the file's bytes.
        duplicate_of: `file` of the first utterance with the same sound, or empty.
        extra: further columns of the user's own.
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
        """`file` of the utterance whose sound this is: its own, or that of the one it duplicates."""
        return self.duplicate_of or self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Utterances sorted by corpus, then file, and the folder their relative paths start from."""

    folder: Path
    utterances: tuple[Utterance, ...]

    def __len__(self) -> int:
        """Number of utterances."""
        return len(self.utterances)

    def path_of(self, utterance: Utterance) -> Path:
        """Where the recording lies."""
        return self.folder / utterance.file

    @property
    def corpora(self) -> tuple[str, ...]:
        """Names of the corpora in it, sorted."""
        return tuple(sorted({utterance.corpus for utterance in self.utterances}))

    def select(self, corpora: Iterable[str] | None) -> "Index":
        """The part of the index that belongs to the named corpora; all of it for None.

        Raises:
            CorpusError: if a name is not in the index; the message lists those that are.
        """
        if corpora is None:
            return self
        wanted = set(corpora)
        unknown = sorted(wanted - set(self.corpora))
        if unknown:
            msg = f"corpus {unknown[0]!r} is not in the index: it holds {', '.join(self.corpora) or 'none'}"
            raise CorpusError(msg)
        return replace(self, utterances=tuple(u for u in self.utterances if u.corpus in wanted))


def relative_name(path: Path, folder: Path) -> str:
    """How a path stands in an index: relative to its folder with ``/`` if below it, else absolute."""
    absolute, base = Path(os.path.abspath(path)), Path(os.path.abspath(folder))  # noqa: PTH100 - keeps links
    return absolute.relative_to(base).as_posix() if absolute.is_relative_to(base) else str(absolute)


def merge_index(index: Index, corpus: str, utterances: Iterable[Utterance]) -> Index:
    """The index with the rows of one corpus replaced, sorted by corpus, then file."""
    kept = [utterance for utterance in index.utterances if utterance.corpus != corpus]
    rows = sorted([*kept, *utterances], key=lambda u: (u.corpus, u.file))
    return replace(index, utterances=tuple(rows))


def write_index(path: Path, index: Index) -> None:
    """Writes the index as UTF-8 CSV, by rename; paths are those of `index.folder`, which should be `path`'s.

    Raises:
        OSError: if it cannot be written; what was there stays.
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
        CorpusError: if the file is missing, lacks a column, holds no utterance, or a row has a value that
            cannot be; the message names file, line and column.
    """
    try:
        # The csv module wants a stream that keeps line ends, since a quoted file name may hold one.
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
        msg = f"{path} holds no utterance: {_REMEDY}"
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
    if cells["emotion"] not in EMOTIONS:
        msg = f"{where}: unknown emotion {cells['emotion']!r}: expected one of {', '.join(EMOTIONS)}"
        raise CorpusError(msg)
    try:
        return Utterance(
            file=_parse_file(cells["file"]),
            duration=_parse_duration(cells["duration"]),
            sample_rate=int(cells["sample_rate"] or 0),
            channels=int(cells["channels"] or 0),
            **{name: cells[name] for name in COLUMNS if name not in _PARSED},
            extra={name: value for name, value in cells.items() if name not in COLUMNS} or NO_EXTRA,
        )
    except ValueError as reason:
        msg = f"{where}: {reason}"
        raise CorpusError(msg) from None


def _parse_file(text: str) -> str:
    if not text or "\0" in text:
        msg = f"file should be a path, found {text!r}"
        raise ValueError(msg)
    return text


def _parse_duration(text: str) -> float:
    duration = float(text or 0)
    if not (math.isfinite(duration) and duration >= 0):
        msg = f"duration should be seconds, found {text!r}"
        raise ValueError(msg)
    return duration
