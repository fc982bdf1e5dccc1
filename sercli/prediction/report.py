"""Reports as CSV, TSV, JSON, JSON Lines and Excel workbooks, written row by row; the file appears by rename."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

from sercli.errors import UsageError
from sercli.files import find_obstacle, make_csv_writer, write_by_rename
from sercli.prediction.rows import DECIMALS, Prediction, Value, list_columns

FORMULA_STARTS = "=+-@\t\r"  # first characters of formulas in spreadsheets, and white space before one

_SURROGATE = re.compile("[\ud800-\udfff]")


class RowWriter(Protocol):
    """Writes rows, given as values by column, to a stream."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes one row."""

    def finish(self) -> None:
        """Writes what follows the last row."""


class CsvRows:
    """A table with a header; text that a spreadsheet would treat as a formula is prefixed with a quote.

    Args:
        stream: Stream to write to.
        columns: Columns to write, in order.
        delimiter: Delimiter between cells.
    """

    def __init__(self, stream: IO[str], columns: Sequence[str], delimiter: str = ",") -> None:
        self._write, self._columns = make_csv_writer(stream, delimiter), columns
        self._begun = False  # a run that fails before its first row leaves no header on stdout

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes one row."""
        self._begin()
        self._write([to_cell(row[name]) for name in self._columns])

    def finish(self) -> None:
        """Writes the header if there were no rows."""
        self._begin()

    def _begin(self) -> None:
        if not self._begun:
            self._write(self._columns)
            self._begun = True


class JsonLinesRows:
    """JSON Lines, one object per row."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes one row."""
        self._stream.write(_to_json(row) + "\n")

    def finish(self) -> None:
        """Does nothing: no text follows the last row."""


class JsonRows:
    """A JSON list with one object per line."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._before = stream, "[\n"

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes one row."""
        self._stream.write(self._before + _to_json(row))
        self._before = ",\n"

    def finish(self) -> None:
        """Closes the list."""
        self._stream.write("[]\n" if self._before == "[\n" else "\n]\n")


WRITERS: dict[str, Callable[[IO[str], Sequence[str]], RowWriter]] = {
    ".csv": CsvRows,
    ".tsv": partial(CsvRows, delimiter="\t"),
    ".json": lambda stream, _: JsonRows(stream),
    ".jsonl": lambda stream, _: JsonLinesRows(stream),
}
"""Makes the writer of each text format for a stream and columns, by suffix."""


class Writer:
    """Writes predictions as the rows of a report.

    Args:
        rows: Writer of the format.
        labels: Labels of the probabilities.
        segments: Whether rows include their segments.
    """

    def __init__(self, rows: RowWriter, labels: Sequence[str], *, segments: bool = False) -> None:
        self._rows, self._labels, self._segments = rows, labels, segments

    def write(self, prediction: Prediction) -> None:
        """Writes one row."""
        row: dict[str, Any] = prediction.to_row(self._labels)
        if self._segments:
            row["segments"] = [segment.to_row(self._labels) for segment in prediction.segments]
        self._rows.write(row)

    def finish(self) -> None:
        """Writes what follows the last row."""
        self._rows.finish()


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

            writer = stack.enter_context(open_workbook(stream, labels))
        else:
            nested = segments and suffix in {".json", ".jsonl"}  # tables have no place for segments
            writer = Writer(WRITERS[suffix](stream, list_columns(labels)), labels, segments=nested)
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


def _to_json(row: Mapping[str, Any]) -> str:
    values = {name: encodable(value) if isinstance(value, str) else value for name, value in row.items()}
    return json.dumps(values, ensure_ascii=False, allow_nan=False)


def encodable(text: str) -> str:
    r"""Replaces what UTF-8 cannot encode: undecodable bytes of a file name become ``\xe9``."""
    return _SURROGATE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
