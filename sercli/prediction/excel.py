"""Reports as Excel workbooks."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, TypeVar

from xlsxwriter import Workbook
from xlsxwriter.exceptions import FileCreateError
from xlsxwriter.worksheet import Worksheet

from sercli.prediction.report import Writer, encodable
from sercli.prediction.rows import list_columns

T = TypeVar("T")

MAX_ROWS = 1_048_576  # of a worksheet, by Excel's own limit
MAX_TEXT = 32_767  # characters of a cell, likewise
WIDTHS = {"file": 50, "error": 50, "warning": 50}  # characters; other columns keep Excel's width

_OPTIONS = {"constant_memory": True, "use_zip64": True, "nan_inf_to_errors": True}


@contextlib.contextmanager
def open_workbook(stream: IO[bytes], labels: Sequence[str], max_rows: int = MAX_ROWS) -> Iterator[Writer]:
    """Opens a writer of a workbook, which keeps finished rows in temporary files.

    Args:
        stream: Gets the workbook when the writer is finished.
        labels: Labels of the probabilities.
        max_rows: Number of rows after which another worksheet begins.
    """
    with tempfile.TemporaryDirectory(prefix="sercli-") as folder:
        workbook = Workbook(_Target(stream), {**_OPTIONS, "tmpdir": folder})
        try:
            yield Writer(ExcelRows(workbook, list_columns(labels), max_rows), labels)
        finally:
            for sheet in workbook.worksheets():
                sheet._opt_close()  # where the workbook was not closed


class _Target:
    """A stream that raises the first write error and ignores writes during cleanup."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._failed = False

    def write(self, data: bytes) -> int:
        return self._try(lambda: self._stream.write(data), len(data))

    def flush(self) -> None:
        self._try(self._stream.flush, None)

    def tell(self) -> int:
        return self._try(self._stream.tell, 0)

    def seek(self, position: int, whence: int = 0) -> int:
        return self._try(lambda: self._stream.seek(position, whence), position)

    def _try(self, action: Callable[[], T], otherwise: T) -> T:
        if self._failed:
            return otherwise
        try:
            return action()
        except OSError:
            self._failed = True
            raise


class ExcelRows:
    """A table in a workbook, continued on further worksheets where Excel allows no more rows.

    Text is written as text whatever it begins with, so that no name is taken for a formula, a link or a number.

    Args:
        workbook: Workbook to add worksheets to; closed by `finish`.
        columns: Columns to write, in order.
        max_rows: Number of rows after which another worksheet begins.
    """

    def __init__(self, workbook: Workbook, columns: Sequence[str], max_rows: int) -> None:
        self._workbook, self._columns, self._max_rows = workbook, columns, max_rows
        self._bold = workbook.add_format({"bold": True})
        self._sheet = self._add_sheet()
        self._row = 1

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes one row."""
        if self._row == self._max_rows:
            self._sheet, self._row = self._add_sheet(), 1
        for column, name in enumerate(self._columns):
            value = row[name]
            if isinstance(value, str):
                self._sheet.write_string(self._row, column, encodable(value)[:MAX_TEXT])
            elif value is not None:
                self._sheet.write_number(self._row, column, value)
        self._row += 1

    def finish(self) -> None:
        """Writes the workbook to its stream.

        Raises:
            OSError: If it cannot be written.
        """
        try:
            self._workbook.close()
        except FileCreateError as error:
            raise error.args[0] from None  # the OSError that it wraps

    def _add_sheet(self) -> Worksheet:
        sheet = self._workbook.add_worksheet()
        for column, name in enumerate(self._columns):
            if name in WIDTHS:
                sheet.set_column(column, column, WIDTHS[name])
            sheet.write_string(0, column, name, self._bold)
        sheet.freeze_panes(1, 0)
        return sheet
