"""Reads CSV tables written by spreadsheets and scripts, whatever their delimiter, encoding and line ends.

Errors name the file and the line.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from sercli.corpora.placeholders import describe_placeholder
from sercli.errors import CorpusError
from sercli.files import one_line

MAX_BYTES = 1 << 28  # maximum size of a table; enough for millions of recordings
LONGEST_HEADER = 10_000  # characters that are looked at to find the delimiter
DELIMITERS = ",;\t|"

Row = tuple[int, dict[str, str]]
"""The line on which a row begins, counted from 1, and its stripped cells by column."""

# What spreadsheets save when they are not asked for CSV.
_SPREADSHEETS = {b"PK\x03\x04": "an .xlsx or .ods workbook", b"\xd0\xcf\x11\xe0": "an .xls workbook"}
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_SEPARATOR_LINE = re.compile(r"""["']?sep=(.)["']?\s*""", re.IGNORECASE)  # Excel's own first line
_LINE_END = re.compile("\r\n|\r|\n")


def read_rows(
    path: Path,
    required: Sequence[str],
    *,
    optional: Sequence[str] = (),
    delimiter: str | None = None,
    quoted: bool = True,
) -> list[Row]:
    """Reads a table with a header.

    Text is UTF-8 with or without a byte order mark, UTF-16 with one, or else Windows-1252. Lines before the
    header that are blank, begin with ``#``, or name the separator (``sep=;``) are skipped, and so are blank rows.

    Args:
        path: Table.
        required: Columns that it must have.
        optional: Columns that are known too. The header may spell known columns in capitals.
        delimiter: Character between cells; None takes whichever of comma, semicolon, tab and ``|`` divides the
            header into the required columns.
        quoted: Whether a double quote begins a quoted cell; if not, it is a character like others.

    Returns:
        The rows; columns without a heading are left out.

    Raises:
        CorpusError: If the table is missing, too large or not text, lacks a column or has no rows, or has a row
            that cannot be read; the message names the line.
    """
    text, first_line, given = _skip_preamble(_read_text(path), required)
    delimiter = delimiter or given or _find_delimiter(text, required)
    header: list[str] | None = None
    rows: list[Row] = []
    for line, cells in _number_rows(path, text, first_line, delimiter, quoted=quoted):
        if header is None:
            header = _check_header(path, line, _spell(cells, (*required, *optional)), required)
            continue
        if any(cell.strip() for cell in cells[len(header) :]) or len(cells) < len(header):
            msg = f"{path}, line {line}: expected {len(header)} cells as in the header, found {len(cells)}"
            raise CorpusError(msg)
        rows.append((line, {name: cell.strip() for name, cell in zip(header, cells, strict=False) if name}))
    if not rows:
        msg = f"{path} has no rows below a header: expected the columns {','.join(required)}"
        raise CorpusError(msg)
    return rows


def _read_text(path: Path) -> str:
    if not path.is_file():
        msg = f"no table at {path}: {'is a folder' if path.is_dir() else 'no such file'}"
        raise CorpusError(msg)
    if path.stat().st_size > MAX_BYTES:
        msg = f"{path} is larger than {MAX_BYTES >> 20} MiB: not a table of labels"
        raise CorpusError(msg)
    if placeholder := describe_placeholder(path):
        msg = f"{path} {placeholder}"
        raise CorpusError(msg)
    content = path.read_bytes()
    if content[:4] in _SPREADSHEETS:
        msg = f"{path} is {_SPREADSHEETS[content[:4]]}, not CSV: save it as 'CSV UTF-8' in the spreadsheet program"
        raise CorpusError(msg)
    text = _decode(path, content)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        msg = f"{path}, line {line}: contains a NUL character, so it is damaged or not text"
        raise CorpusError(msg)
    return text


def _decode(path: Path, content: bytes) -> str:
    if content.startswith(_UTF16_MARKS):
        try:
            return content.decode("utf-16")
        except UnicodeDecodeError as reason:
            msg = f"{path}: not UTF-16 text, though it begins like it ({reason.reason}): save the table as UTF-8"
            raise CorpusError(msg) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        try:
            # What Excel writes as plain "CSV" in Western Europe and the Americas.
            return content.decode("cp1252")
        except UnicodeDecodeError:
            line = content.count(b"\n", 0, reason.start) + 1
            msg = f"{path}, line {line}: not UTF-8 text ({reason.reason}): save the table as UTF-8"
            raise CorpusError(msg) from None


def _skip_preamble(text: str, required: Sequence[str]) -> tuple[str, int, str | None]:
    """Returns the text from the header on, the line of its beginning, and the delimiter that the preamble names."""
    start, line, delimiter = 0, 1, None
    while end := _LINE_END.search(text, start):
        content = text[start : end.start()].strip()
        named = _SEPARATOR_LINE.fullmatch(text[start : end.start()])
        if named:
            delimiter = named[1]
        elif content and (not content.startswith("#") or _names_columns(content, required)):
            break
        start, line = end.end(), line + 1
    return text[start:], line, delimiter


def _names_columns(comment: str, required: Sequence[str]) -> bool:
    """Whether a line that begins with ``#`` is a header."""
    cells = {cell.strip(' "#').casefold() for cell in re.split("[,;\t|]", comment)}
    return cells >= set(required)


def _find_delimiter(text: str, required: Sequence[str]) -> str:
    """Returns the delimiter that finds most of the required columns, and most cells, in the header."""
    header = _LINE_END.split(text, maxsplit=1)[0][:LONGEST_HEADER]

    def count(delimiter: str) -> tuple[int, int]:
        cells = next(csv.reader([header], delimiter=delimiter, skipinitialspace=True), [])
        return len(set(required) & set(_spell(cells, required))), len(cells)

    return max(DELIMITERS, key=count)


def _number_rows(
    path: Path, text: str, first_line: int, delimiter: str, *, quoted: bool
) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        skipinitialspace=True,
        strict=True,
    )
    line = first_line
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            # The reader counts the lines at the end of a row, which a quoted cell may spread over several.
            line = first_line + reader.line_num
    except csv.Error as reason:
        msg = f"{path}, line {line}: not valid CSV ({reason})"
        raise CorpusError(msg) from None


def _spell(header: Sequence[str], known: Sequence[str]) -> list[str]:
    """Returns stripped headings, known ones in lower case."""
    headings = [cell.strip() for cell in header]
    return [heading.casefold() if heading.casefold() in known else heading for heading in headings]


def _check_header(path: Path, line: int, header: list[str], required: Sequence[str]) -> list[str]:
    missing = [name for name in required if name not in header]
    if missing:
        shown = one_line(",".join(header)[:200])
        msg = (
            f"{path}, line {line}: no column {missing[0]!r}, expected {','.join(required)}, found {shown!r}: "
            "rename the columns"
        )
        raise CorpusError(msg)
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    if twice:
        msg = f"{path}, line {line}: the column {twice[0]!r} appears twice"
        raise CorpusError(msg)
    return header
