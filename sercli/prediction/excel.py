"""Reports as Excel workbooks."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from xlsxwriter import Workbook
from xlsxwriter.exceptions import FileCreateError
from xlsxwriter.worksheet import Worksheet

from sercli.prediction.report import RowWriter, encodable

MAX_ROWS = 1_048_576  # rows of a worksheet, Excel's limit
MAX_TEXT = 32_767  # characters of a cell, Excel's limit
WIDTHS = {"file": 50, "error": 50, "warning": 50}  # characters; other columns keep Excel's width

_OPTIONS = {"constant_memory": True, "use_zip64": True, "nan_inf_to_errors": True}


class ExcelRows(RowWriter):
    """A table in a workbook, continued on further worksheets where Excel allows no more rows.

    Finished rows are kept in temporary files. Text is written as text whatever it begins with, so that no name is taken
    for a formula, a link or a number.

    Args:
        stream: Gets the workbook at the end.
        columns: Columns to write, in order.
        max_rows: Number of rows after which another worksheet begins.
    """

    def __init__(self, stream: IO[bytes], columns: Sequence[str], max_rows: int = MAX_ROWS) -> None:
        super().__init__(stream, columns)
        self._max_rows = max_rows
        self._folder = tempfile.TemporaryDirectory(prefix="sercli-")
        # Not written to the stream at once: on a full disk, the zip file would be closed twice.
        self._file = Path(self._folder.name, "workbook.xlsx")
        self._workbook = Workbook(self._file, {**_OPTIONS, "tmpdir": self._folder.name})
        self._bold = self._workbook.add_format({"bold": True})
        self._sheet = self._add_sheet()
        self._row = 1

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes one row."""
        if self._row == self._max_rows:
            self._sheet, self._row = self._add_sheet(), 1
        for column, name in enumerate(self.columns):
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
        with self._file.open("rb") as workbook:
            shutil.copyfileobj(workbook, self.stream)

    def close(self) -> None:
        """Removes the temporary files."""
        for sheet in self._workbook.worksheets():
            sheet._opt_close()  # where the workbook was not closed
        self._folder.cleanup()

    def _add_sheet(self) -> Worksheet:
        sheet = self._workbook.add_worksheet()
        for column, name in enumerate(self.columns):
            if name in WIDTHS:
                sheet.set_column(column, column, WIDTHS[name])
            sheet.write_string(0, column, name, self._bold)
        sheet.freeze_panes(1, 0)
        return sheet
