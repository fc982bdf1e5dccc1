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

FORMULA_STARTS = "=+-@\t\r"  # first characters of formulas in spreadsheets, and white space before one

_SURROGATE = re.compile("[\ud800-\udfff]")


class Writer(Protocol):
    """Writes rows to a text stream."""

    def write(self, prediction: Prediction) -> None:
        """Writes one row."""

    def finish(self) -> None:
        """Writes what follows the last row."""


class CsvWriter:
    """A table with a header; text that a spreadsheet would treat as a formula is prefixed with a quote.

    Args:
        stream: Stream to write to.
        labels: Labels of the probabilities.
        delimiter: Delimiter between cells.
    """

    def __init__(self, stream: IO[str], labels: Sequence[str], delimiter: str = ",") -> None:
        self._write, self._labels = make_csv_writer(stream, delimiter), labels
        self._begun = False  # a run that fails before its first row leaves no header on stdout

    def write(self, prediction: Prediction) -> None:
        """Writes one row."""
        self._begin()
        self._write([to_cell(value) for value in prediction.to_row(self._labels).values()])

    def finish(self) -> None:
        """Writes the header if there were no rows."""
        self._begin()

    def _begin(self) -> None:
        if not self._begun:
            self._write(list_columns(self._labels))
            self._begun = True


class JsonLinesWriter:
    """JSON Lines, one object per row.

    Args:
        stream: Stream to write to.
        labels: Labels of the probabilities.
        segments: Whether rows include their segments.
    """

    def __init__(self, stream: IO[str], labels: Sequence[str], *, segments: bool = False) -> None:
        self._stream, self._labels, self._segments = stream, labels, segments

    def write(self, prediction: Prediction) -> None:
        """Writes one row."""
        self._stream.write(_to_json(prediction, self._labels, segments=self._segments) + "\n")

    def finish(self) -> None:
        """Does nothing: no text follows the last row."""


class JsonWriter:
    """A JSON list with one object per line.

    Args:
        stream: Stream to write to.
        labels: Labels of the probabilities.
        segments: Whether rows include their segments.
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
    """Makes a writer for a stream."""

    def __call__(self, stream: IO[str], labels: Sequence[str], *, segments: bool = False) -> Writer:
        """Makes the writer; `segments` includes segments where the format supports them."""


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
"""Writer of each text format, by suffix."""

EXCEL = ".xlsx"
PAGE = ".html"
SUFFIXES: tuple[str, ...] = (*WRITERS, EXCEL, PAGE)
"""Suffixes of all report formats."""


def name_summary(report: Path) -> Path:
    """Returns ``report.summary.json`` for ``report.csv``."""
    return report.with_suffix(".summary.json")


def name_confusions(report: Path) -> Path:
    """Returns ``report.confusion.png`` for ``report.csv``."""
    return report.with_suffix(".confusion.png")


def check_report_path(path: Path) -> None:
    """Checks, before any work, that a report can be written to a path.

    Raises:
        UsageError: If the suffix is not one of `SUFFIXES`, the path is a folder, or it would be inside a file.
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
    """Opens a writer for the format named by the path's suffix, with these labels of the probabilities.

    The report appears when the block ends without an error; until then an existing file is kept.

    Raises:
        UsageError: If `check_report_path` raises it.
        OSError: If the file cannot be written.
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


def escape_formula(text: str) -> str:
    """Prefixes a quote to text that a spreadsheet would treat as a formula.

    Text with quotes before such a character gets one more, so that different texts stay different.
    """
    return f"'{text}" if text.lstrip("'")[:1] in tuple(FORMULA_STARTS) else text


def to_cell(value: Value) -> str:
    """Formats a value for a table: rounds numbers, maps None to empty, escapes formulas."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{DECIMALS}f}"
    return escape_formula(encodable(value))


def _to_json(prediction: Prediction, labels: Sequence[str], *, segments: bool) -> str:
    values = prediction.to_row(labels)
    row: dict[str, object] = {
        name: encodable(value) if isinstance(value, str) else value for name, value in values.items()
    }
    if segments:
        row["segments"] = [segment.to_row(labels) for segment in prediction.segments]
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def encodable(text: str) -> str:
    r"""Replaces what UTF-8 cannot encode: undecodable bytes of a file name become ``\xe9``."""
    return _SURROGATE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
