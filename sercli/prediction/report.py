"""Reports as CSV, TSV, JSON, JSON Lines and Excel workbooks, written row by row; the file appears by rename."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sercli.errors import UsageError
from sercli.files import find_obstacle, make_csv_writer, write_by_rename
from sercli.prediction.rows import DECIMALS, Prediction, Value, list_columns

FORMULA_STARTS = "=+-@＝＋－＠\t\r\n"  # first characters of formulas, and white space before one

_SURROGATE = re.compile("[\ud800-\udfff]")


class RowWriter:
    """Base of the writers of rows, which are given as values by column.

    Args:
        stream: Stream to write to.
        columns: Columns to write, in order; needed for tables only.
    """

    def __init__(self, stream: IO[Any], columns: Sequence[str] = ()) -> None:
        self.stream, self.columns = stream, columns

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes one row."""
        raise NotImplementedError

    def finish(self) -> None:
        """Writes the footer, if the format has one."""

    def close(self) -> None:
        """Releases the resources of the writer, finished or not."""


class CsvRows(RowWriter):
    """A table with a header; text that a spreadsheet would treat as a formula is prefixed with a quote."""

    delimiter = ","
    _begun = False  # a run that fails before its first row leaves no header on stdout

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes one row."""
        self.finish()
        self._write_cells([to_cell(row[name]) for name in self.columns])

    def finish(self) -> None:
        """Writes the header unless it is written."""
        if not self._begun:
            self._write_cells = make_csv_writer(self.stream, self.delimiter)
            self._write_cells(self.columns)
            self._begun = True


class TsvRows(CsvRows):
    """A table separated by tabs."""

    delimiter = "\t"


class JsonLinesRows(RowWriter):
    """JSON Lines, one object per row."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes one row."""
        self.stream.write(_to_json(row) + "\n")


class JsonRows(RowWriter):
    """A JSON list with one object per line."""

    _before = "[\n"

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes one row."""
        self.stream.write(self._before + _to_json(row))
        self._before = ",\n"

    def finish(self) -> None:
        """Closes the list."""
        self.stream.write("[]\n" if self._before == "[\n" else "\n]\n")


def _make_excel_rows(stream: IO[bytes], columns: Sequence[str]) -> RowWriter:
    from sercli.prediction.excel import ExcelRows  # slow to import, and few want it

    return ExcelRows(stream, columns)


@dataclass(frozen=True, slots=True)
class Format:
    """A format of reports.

    Attributes:
        make_rows: Makes the writer for a stream and columns; None for the page, which takes whole recordings instead.
        binary: Whether the stream is one of bytes.
        nested: Whether rows can include their segments.
    """

    make_rows: Callable[[IO[Any], Sequence[str]], RowWriter] | None
    binary: bool = False
    nested: bool = False


PAGE = ".html"
FORMATS = {
    ".csv": Format(CsvRows),
    ".tsv": Format(TsvRows),
    ".json": Format(JsonRows, nested=True),
    ".jsonl": Format(JsonLinesRows, nested=True),
    ".xlsx": Format(_make_excel_rows, binary=True),
    PAGE: Format(None),
}
"""Formats of reports, by suffix."""


def name_summary(report: Path) -> Path:
    """Returns ``report.summary.json`` for ``report.csv``."""
    return report.with_suffix(".summary.json")


def name_confusions(report: Path) -> Path:
    """Returns ``report.confusion.png`` for ``report.csv``."""
    return report.with_suffix(".confusion.png")


def check_report_path(path: Path) -> None:
    """Checks, before any work, that a report can be written to a path.

    Raises:
        UsageError: If the suffix is not in `FORMATS`, the path is a folder, or it would be inside a file.
    """
    if path.suffix.lower() not in FORMATS:
        msg = f"unknown kind of report {path.name!r}: expected a name ending in {', '.join(FORMATS)}"
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
def open_report(path: Path, labels: Sequence[str], *, segments: bool = False) -> Iterator[Callable[[Prediction], None]]:
    """Opens a report in the format named by the path's suffix; yields a function that writes a row.

    The report appears when the block ends without an error; until then an existing file is kept.

    Args:
        path: Report; nothing is written if it is a page.
        labels: Labels of the probabilities.
        segments: Whether rows include their segments, in formats that can nest them.

    Raises:
        UsageError: If `check_report_path` raises it.
        OSError: If the file cannot be written.
    """
    check_report_path(path)
    kind = FORMATS[path.suffix.lower()]
    if kind.make_rows is None:
        yield lambda _: None
        return
    with write_by_rename(path, "wb" if kind.binary else "w") as stream:
        rows = kind.make_rows(stream, list_columns(labels))
        with _open_rows(rows, labels, segments=segments and kind.nested) as write:
            yield write


@contextlib.contextmanager
def open_stream(stream: IO[str], labels: Sequence[str]) -> Iterator[Callable[[Prediction], None]]:
    """Opens a report as CSV on a stream; yields a function that writes a row."""
    with _open_rows(CsvRows(stream, list_columns(labels)), labels) as write:
        yield write
    stream.flush()


@contextlib.contextmanager
def _open_rows(
    rows: RowWriter, labels: Sequence[str], *, segments: bool = False
) -> Iterator[Callable[[Prediction], None]]:
    def write(prediction: Prediction) -> None:
        row: dict[str, Any] = prediction.to_row(labels)
        if segments:
            row["segments"] = [segment.to_row(labels) for segment in prediction.segments]
        rows.write(row)

    with contextlib.closing(rows):
        yield write
        rows.finish()


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


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
