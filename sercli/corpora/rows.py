"""Tables that came from elsewhere: every way in which one can be broken becomes a line that says where."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from sercli.errors import CorpusError

MAX_BYTES = 1 << 28  # of a table; labels of some million recordings fit in it


def read_rows(
    path: Path, required: tuple[str, ...], *, delimiter: str = ",", quoted: bool = True
) -> list[tuple[int, dict[str, str]]]:
    """Reads a table with a header, UTF-8 with or without a byte order mark.

    Args:
        path: the table.
        required: columns that it must have.
        delimiter: between cells.
        quoted: whether a double quote begins a quoted cell; if not, it is a character like others.

    Returns:
        pairs of the line on which a row begins, from 1, and its stripped cells by column. Columns with an
        empty heading are left out.

    Raises:
        CorpusError: if the table is missing, too large, not text, lacks a column or a row, or has a row that
            cannot be read; the message names the line.
    """
    header: list[str] | None = None
    rows = []
    for line, cells in _number_rows(path, _read_text(path), delimiter, quoted=quoted):
        if header is None:
            header = _check_header(path, line, [cell.strip() for cell in cells], required)
        elif len(cells) != len(header):
            msg = f"{path}, line {line}: expected {len(header)} cells as in the header, found {len(cells)}"
            raise CorpusError(msg)
        else:
            pairs = zip(header, cells, strict=True)
            rows.append((line, {name: cell.strip() for name, cell in pairs if name}))
    if not rows:
        msg = f"{path} holds no row under a header: expected the columns {','.join(required)}"
        raise CorpusError(msg)
    return rows


def _read_text(path: Path) -> str:
    if not path.is_file():
        msg = f"no such file: {path}" if not path.exists() else f"{path} is not a file"
        raise CorpusError(msg)
    if path.stat().st_size > MAX_BYTES:
        msg = f"{path} is larger than {MAX_BYTES >> 20} MiB: not a table of labels"
        raise CorpusError(msg)
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        line = content.count(b"\n", 0, reason.start) + 1
        msg = f"{path}, line {line}: not UTF-8 text ({reason.reason}): save the table as UTF-8"
        raise CorpusError(msg) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        msg = f"{path}, line {line}: holds a NUL character, so it is damaged or not text"
        raise CorpusError(msg)
    return text


def _number_rows(path: Path, text: str, delimiter: str, *, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            # The reader counts the lines at the end of a row, which a quoted cell may spread over several.
            line = reader.line_num + 1
    except csv.Error as reason:
        msg = f"{path}, line {line}: not valid CSV ({reason})"
        raise CorpusError(msg) from None


def _check_header(path: Path, line: int, header: list[str], required: tuple[str, ...]) -> list[str]:
    missing = [name for name in required if name not in header]
    if missing:
        shown = ",".join(header)[:200]
        msg = f"{path}, line {line}: no column {missing[0]!r}, expected {','.join(required)}, found {shown!r}"
        raise CorpusError(msg)
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        msg = f"{path}, line {line}: the column {twice[0]!r} is there twice"
        raise CorpusError(msg)
    return header
