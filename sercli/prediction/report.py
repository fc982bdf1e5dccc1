"""Reports as CSV, TSV, JSON, JSON Lines and Excel workbooks, written row by row; the file appears by rename."""

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Protocol

from sercli.errors import UsageError
from sercli.files import find_obstacle, make_csv_writer, write_by_rename
from sercli.prediction.rows import DECIMALS, Prediction, Value, list_columns

FORMULA_STARTS = "=+-@\t\r"  # what a spreadsheet takes for a formula, or for space before one

_SURROGATE = re.compile("[\ud800-\udfff]")


class Writer(Protocol):
    """Writes rows to a text stream."""

    def write(self, prediction: Prediction) -> None:
        """Writes one row."""

    def finish(self) -> None:
        """Writes what stands after the last row."""


class CsvWriter:
    """A table with a header; text that a spreadsheet would take for a formula gets a quote before it.

    Args:
        stream: to write to.
        labels: of the probabilities.
        delimiter: between cells.
    """

    def __init__(self, stream: IO[str], labels: Sequence[str], delimiter: str = ",") -> None:
        self._write, self._labels = make_csv_writer(stream, delimiter), labels
        self._begun = False  # a run that fails before its first row leaves no header on stdout

    def write(self, prediction: Prediction) -> None:
        """Writes one row."""
        self._begin()
        self._write([to_cell(value) for value in prediction.to_row(self._labels).values()])

    def finish(self) -> None:
        """Nothing stands after the last row; without any there is the header alone."""
        self._begin()

    def _begin(self) -> None:
        if not self._begun:
            self._write(list_columns(self._labels))
            self._begun = True


class JsonLinesWriter:
    """One JSON object a row.

    Args:
        stream: to write to.
        labels: of the probabilities.
        segments: whether each row has its segments with it.
    """

    def __init__(self, stream: IO[str], labels: Sequence[str], *, segments: bool = False) -> None:
        self._stream, self._labels, self._segments = stream, labels, segments

    def write(self, prediction: Prediction) -> None:
        """Writes one row."""
        self._stream.write(_to_json(prediction, self._labels, segments=self._segments) + "\n")

    def finish(self) -> None:
        """Nothing stands after the last row."""


class JsonWriter:
    """A JSON list of objects, one a line.

    Args:
        stream: to write to.
        labels: of the probabilities.
        segments: whether each row has its segments with it.
    """

    def __init__(self, stream: IO[str], labels: Sequence[str], *, segments: bool = False) -> None:
        self._stream, self._labels, self._segments = stream, labels, segments
        self._before = "[\n"

    def write(self, prediction: Prediction) -> None:
        """Writes one row."""
        self._stream.write(self._before + _to_json(prediction, self._labels, segments=self._segments))
        self._before = ",\n"

    def finish(self) -> None:
        """Closes the list."""
        self._stream.write("[]\n" if self._before == "[\n" else "\n]\n")


class MakeWriter(Protocol):
    """Makes a writer on a stream."""

    def __call__(self, stream: IO[str], labels: Sequence[str], *, segments: bool = False) -> Writer:
        """Makes it; with `segments`, formats that can hold them do."""


def _csv(stream: IO[str], labels: Sequence[str], *, segments: bool = False) -> CsvWriter:  # noqa: ARG001 - no place
    return CsvWriter(stream, labels)


def _tsv(stream: IO[str], labels: Sequence[str], *, segments: bool = False) -> CsvWriter:  # noqa: ARG001 - likewise
    return CsvWriter(stream, labels, delimiter="\t")


WRITERS: dict[str, MakeWriter] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".json": JsonWriter,
    ".jsonl": JsonLinesWriter,
}
"""Makes the writer for each suffix of a report that is text."""

EXCEL = ".xlsx"
PAGE = ".html"
SUFFIXES: tuple[str, ...] = (*WRITERS, EXCEL, PAGE)
"""Suffixes that a report may have."""


def name_summary(report: Path) -> Path:
    """``report.summary.json`` beside ``report.csv``."""
    return report.with_suffix(".summary.json")


def name_confusions(report: Path) -> Path:
    """``report.confusion.png`` beside ``report.csv``."""
    return report.with_suffix(".confusion.png")


def check_report_path(path: Path) -> None:
    """Refuses, before any work, a path that no report can be written to.

    Raises:
        UsageError: if its suffix is none of `SUFFIXES`, it is a folder, or it would lie in a file.
    """
    if path.suffix.lower() not in SUFFIXES:
        msg = f"unknown kind of report {path.name!r}: expected a name ending in {', '.join(SUFFIXES)}"
        raise UsageError(msg)
    if path.is_dir():
        msg = f"cannot write the report to {path}: it is a folder"
        raise UsageError(msg)
    for beside in (name_summary(path), name_confusions(path)):
        if beside.is_dir():
            msg = f"cannot write {beside}, which goes with the report: it is a folder"
            raise UsageError(msg)
    obstacle = find_obstacle(path.parent)
    if obstacle:
        msg = f"cannot write the report to {path}: {obstacle} is not a folder"
        raise UsageError(msg)


@contextlib.contextmanager
def open_report(path: Path, labels: Sequence[str], *, segments: bool = False) -> Iterator[Writer]:
    """A writer for the format that the path's suffix names; `labels` are those of the probabilities.

    The report appears when the block ends without error; until then, and if it fails, what was there stays.

    Raises:
        UsageError: as `check_report_path`.
        OSError: if it cannot be written.
    """
    check_report_path(path)
    suffix = path.suffix.lower()
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(write_by_rename(path, "wb" if suffix == EXCEL else "w"))
        if suffix == EXCEL:
            from sercli.prediction.excel import open_workbook  # slow to import, and few want it

            writer: Writer = stack.enter_context(open_workbook(stream, labels))
        else:
            writer = WRITERS[suffix](stream, labels, segments=segments)
        yield writer
        writer.finish()


def neutralise(text: str) -> str:
    """Puts a quote before text that a spreadsheet would take for a formula.

    Text that begins with quotes before such a sign gets one more, so that differing texts stay different.
    """
    return f"'{text}" if text.lstrip("'")[:1] in tuple(FORMULA_STARTS) else text


def to_cell(value: Value) -> str:
    """A value as a table holds it: numbers rounded, nothing for None, text neutralised."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{DECIMALS}f}"
    return neutralise(encodable(value))


def _to_json(prediction: Prediction, labels: Sequence[str], *, segments: bool) -> str:
    values = prediction.to_row(labels)
    row: dict[str, object] = {
        name: encodable(value) if isinstance(value, str) else value for name, value in values.items()
    }
    if segments:
        row["segments"] = [segment.to_row(labels) for segment in prediction.segments]
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def encodable(text: str) -> str:
    r"""Text that UTF-8 can hold: bytes of a file name that are no text are shown as ``\xe9``."""
    return _SURROGATE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
