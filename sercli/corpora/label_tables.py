"""Matches the rows of a label table to recordings, and their cells to labels."""

import contextlib
import os
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from sercli.audio.sniff import SUFFIXES
from sercli.corpora.csv_tables import Row
from sercli.errors import AudioError, CorpusError
from sercli.files import one_line
from sercli.labels import LabelMerger, clean_text, format_label_map, shorten_list, suggest_map

K = TypeVar("K")
V = TypeVar("V")

SPAN = ("start", "end")
"""Columns of a segmented table, as of audformat; seconds or times such as ``0 days 00:00:04.1``."""

GENDERS = {"f": "female", "m": "male"}  # abbreviations in cells
SHOWN = 5  # offending rows that a message names
TOLERANCE = 0.1  # seconds by which a row may miss the beginning or the end of its recording

_DEPTHS = (4, 3, 2, 1)  # parts at the end of a path that are compared
_DRIVE = re.compile("[A-Za-z]:")
_TIME = re.compile(
    r"(?:(?P<days>\d+) days?,? ?)?(?:(?:(?:(?P<hours>\d+):)?(?P<minutes>\d+):)?(?P<seconds>\d+(?:\.\d*)?)s?)?"
)
_NO_TIME = {"", "nat", "nan", "none"}
_DECIMAL = re.compile(r"\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?")  # also with the comma of many spreadsheets


def match_files(names: Sequence[str], files: Sequence[Path], folder: Path) -> dict[Path, str]:
    """Finds the row of a table that each file belongs to.

    A row belongs to the file at its path, relative to the folder. Failing that, it belongs to the file that has
    the longest end of the path in common with it, from four parts down to the file name and the file name
    without its suffix, if that end is unique among the rows and among the files. Where some rows name files by their
    paths, a row with a folder in it belongs to no file of another folder. Slashes of either kind separate; case and
    Unicode normalization are ignored.

    Args:
        names: Paths in the table.
        files: Files to find the rows of.
        folder: Folder that relative paths start from.

    Returns:
        The path in the table for each file that has one.
    """
    exact = {place: name for name in names for place in _list_places(folder, name)}
    matches = {file: exact[place] for file in files if (place := os.path.realpath(file)) in exact}
    names_by_parts = [(_split(name), name) for name in names]
    files_by_parts = [(_split(str(file)), file) for file in files]
    placed = any(len(_split(name)) > 1 for name in matches.values())
    for key in (*(_make_end_key(depth) for depth in _DEPTHS), _stem_key):
        rows = _find_unique((key(parts), name) for parts, name in names_by_parts)
        candidates = _find_unique((key(parts), file) for parts, file in files_by_parts)
        taken = set(matches.values())
        for end in rows.keys() & candidates.keys():
            name, file = rows[end], candidates[end]
            parents = {parts[-2] for parts in map(_split, (name, str(file))) if len(parts) > 1}
            if name not in taken and not (placed and len(parents) > 1):
                matches.setdefault(file, name)
    return matches


def _list_places(folder: Path, name: str) -> list[str]:
    spellings = (name, name.replace("\\", "/")) if "\\" in name else (name,)
    return [os.path.realpath(folder / spelling) for spelling in spellings if "\0" not in spelling]


def _split(path: str) -> tuple[str, ...]:
    text = unicodedata.normalize("NFC", path).casefold().replace("\\", "/")
    return tuple(
        part for part in map(str.strip, text.split("/")) if part not in {"", "."} and not _DRIVE.fullmatch(part)
    )


def _make_end_key(depth: int) -> Callable[[tuple[str, ...]], Hashable]:
    return lambda parts: parts[-depth:] if len(parts) >= depth else None


def _stem_key(parts: tuple[str, ...]) -> Hashable:
    if not parts:
        return None
    stem, suffix = os.path.splitext(parts[-1])  # noqa: PTH122 - plain text, thousands of it
    return stem if suffix in SUFFIXES else parts[-1]


def _find_unique(pairs: Iterable[tuple[K, V]]) -> dict[K, V]:
    listed = list(pairs)
    counts = Counter(key for key, _ in listed)
    return {key: value for key, value in listed if key is not None and counts[key] == 1}


def refuse_segments(table: Path, rows: Iterable[tuple[Row, Path]]) -> None:
    """Refuses a segmented table unless each recording has one row, which spans all of it.

    Args:
        table: Table, for the message.
        rows: Rows of the table and the recordings they belong to. Rows without the columns `SPAN`, or with
            anything but times in them, label whole recordings.

    Raises:
        CorpusError: If a row labels a part of a recording, or a recording has several rows.
    """
    lines: dict[Path, int] = {}
    for (line, row), recording in rows:
        try:
            start, end = (_parse_time(row[name]) for name in SPAN)
        except (KeyError, ValueError):
            continue
        where = f"{table}, line {line}"
        whole = "expected one row per recording; sercli does not score segments by themselves"
        if recording in lines:
            msg = f"{where}: labels a second segment of {one_line(row['file'])}, after line {lines[recording]}: {whole}"
            raise CorpusError(msg)
        lines[recording] = line
        duration = measure_recording(recording, end) if end is not None else 0.0
        if (start or 0.0) > TOLERANCE or (end or 0.0) < duration - TOLERANCE:
            span = f"{start or 0:g} to {end:g} s of {duration:.1f} s" if end is not None else f"{start:g} s on"
            msg = f"{where}: labels only a segment of {one_line(row['file'])}, {span}: {whole}"
            raise CorpusError(msg)


def _parse_time(text: str) -> float | None:
    """Seconds in a cell, or None if it is empty."""
    if text.casefold() in _NO_TIME:
        return None
    if _DECIMAL.fullmatch(text):
        return float(text.replace(",", "."))
    match = _TIME.fullmatch(text)
    if not match:
        msg = f"not a time: {text!r}"
        raise ValueError(msg)
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 86_400 * days + 3_600 * hours + 60 * minutes + seconds


def measure_recording(recording: Path, end: float) -> float:
    """Measures a recording for a label that ends at `end` seconds.

    Decodes it only if its header claims that more follows, since headers can be wrong.

    Returns:
        Length in seconds; 0 if it cannot be decoded, which is reported later.
    """
    import soundfile  # slow to import, and help texts read this module

    from sercli.audio.decode import encode_name, read_facts

    if not recording.is_file():  # a pipe would block
        return 0.0
    try:
        with contextlib.suppress(soundfile.LibsndfileError, TypeError):  # of a format that FFmpeg reads, or none
            claimed = float(soundfile.info(encode_name(recording)).duration)
            if claimed <= end + TOLERANCE:
                return claimed
        return read_facts(recording).duration
    except (AudioError, OSError):
        return 0.0


def match_label(label: str, merge: LabelMerger, labels: Sequence[str]) -> str | None:
    """Returns the label that a cell means, after merging and ignoring case; None if unknown."""
    folded = {known.casefold(): known for known in labels}
    return folded.get(merge(clean_text(label)).casefold())


def describe_unknown_labels(table: Path, unknown: Sequence[tuple[int, str]], labels: Sequence[str]) -> str:
    """Describes unknown labels, and suggests a value of ``--map``.

    Args:
        table: Table, for the message.
        unknown: Lines and cells.
        labels: The labels.
    """
    shown = "; ".join(f"line {line}: {text[:40]!r}" for line, text in unknown[:SHOWN])
    more = f"; and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    suggestion = suggest_map(text for _, text in unknown) or format_label_map([(unknown[0][1][:40], "LABEL")])
    return (
        f"{table} has labels that the model does not know ({shown}{more}): expected {shorten_list(labels)}; "
        f"map others with --map, as in --map {shlex.quote(suggestion)}"
    )
