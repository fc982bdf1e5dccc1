"""Tables as spreadsheets, editors and scripts write them."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sercli.corpora.csv_tables import read_rows
from sercli.errors import CorpusError

TABLE = "file,emotion\ncalls/a.wav,angry\ncalls/b.wav,sad\n"
ROWS = [(2, {"file": "calls/a.wav", "emotion": "angry"}), (3, {"file": "calls/b.wav", "emotion": "sad"})]


def read(folder: Path, content: str | bytes) -> list[tuple[int, dict[str, str]]]:
    (folder / "t.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return read_rows(folder / "t.csv", ("file", "emotion"), optional=("speaker",))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_usual_separators_encodings_and_line_ends(tmp_path: Path, delimiter: str, encoding: str, end: str) -> None:
    text = TABLE.replace("a.wav", "ä–ß.wav").replace(",", delimiter).replace("\n", end)
    rows = read(tmp_path, text.encode(encoding))
    assert rows == [(2, {"file": "calls/ä–ß.wav", "emotion": "angry"}), ROWS[1]]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_either_byte_order_is_read(tmp_path: Path, encoding: str) -> None:
    assert read(tmp_path, ("\ufeff" + TABLE).encode(encoding)) == ROWS


@pytest.mark.parametrize(
    "text",
    [
        TABLE.replace("file,emotion", "File,EMOTION"),
        TABLE.replace(",", " , "),
        TABLE.replace("file,emotion", 'file, "emotion"').replace(",angry", ', "angry"'),
        TABLE.replace("\n", ",,\n"),
        TABLE.replace("angry\n", "angry,,\n"),
        TABLE.rstrip("\n"),
    ],
    ids=["capitals", "spaces", "quotes after spaces", "empty columns", "empty cells", "no end"],
)
def test_harmless_oddities(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == ROWS


@pytest.mark.parametrize(
    "before",
    ["sep=;\n", '"sep=;"\n', "# by hand\n", "# file names and emotion labels\n", "\n\n", "# a\n\n# b\nSEP=;\n"],
    ids=range(6),
)
def test_lines_before_the_header_count_and_are_skipped(tmp_path: Path, before: str) -> None:
    shift = before.count("\n")
    rows = read(tmp_path, before + TABLE.replace(",", ";"))
    assert rows == [(line + shift, cells) for line, cells in ROWS]
    with pytest.raises(CorpusError, match=f"line {shift + 1}: no column 'emotion'"):
        read(tmp_path, before + "file;label\na;b\n")


def test_header_that_begins_with_a_number_sign_is_one(tmp_path: Path) -> None:
    assert read(tmp_path, "#,file,emotion\n1,a.wav,sad\n") == [(2, {"#": "1", "file": "a.wav", "emotion": "sad"})]


def test_separator_of_the_header_counts_not_that_of_cells(tmp_path: Path) -> None:
    text = 'emotion;file;note\nsad;"a;b, c.wav";x,y,z,w|v\n'
    assert read(tmp_path, text) == [(2, {"emotion": "sad", "file": "a;b, c.wav", "note": "x,y,z,w|v"})]


def test_known_columns_are_found_in_capitals_others_keep_theirs(tmp_path: Path) -> None:
    text = "File,Emotion,SPEAKER,Room\na.wav,sad,x,y\n"
    assert read(tmp_path, text) == [(2, {"file": "a.wav", "emotion": "sad", "speaker": "x", "Room": "y"})]
    with pytest.raises(CorpusError, match="the column 'file' appears twice"):
        read(tmp_path, "File,file,emotion\na,b,c\n")


def test_tables_may_have_many_columns(tmp_path: Path) -> None:
    header = ",".join(["file", "emotion", *map(str, range(100_000))])
    ((_, row),) = read(tmp_path, f"{header}\na.wav,sad{',' * 100_000}\n")
    assert (row["file"], row["emotion"], len(row)) == ("a.wav", "sad", 100_002)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04" + bytes(60), "is an .xlsx or .ods workbook, not CSV: save it as 'CSV UTF-8'"),
        (b"\xd0\xcf\x11\xe0" + bytes(60), "is an .xls workbook, not CSV"),
        (b"version https://git-lfs.github.com/spec/v1\noid x\n", "'git lfs pull'"),
        (b"\xff\xfef\x00i", "not UTF-16 text"),
        (b"file,emotion\n\x81\n", "line 2: not UTF-8 text"),
        (b"x" * 100_000, "no column 'file'"),
        (b'"' + b"x" * 300_000, "not valid CSV"),
    ],
    ids=["xlsx", "xls", "git lfs", "half UTF-16", "no text", "one long line", "one long cell"],
)
def test_what_is_no_table_says_why(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(CorpusError, match=message) as raised:
        read(tmp_path, content)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | st.text('file,emotion;\t|\r\n"# sep=', max_size=60).map(str.encode))
@example(b"")
@example(b"file,emotion")
@example(b"sep=\n")
def test_any_bytes_are_rows_or_one_line(tmp_path: Path, content: bytes) -> None:
    try:
        rows = read(tmp_path, content)
    except CorpusError as reason:
        message, rows = str(reason), []
    else:
        message = ""
    assert bool(message) != bool(rows)
    assert "\n" not in message
    assert all({"file", "emotion"} <= cells.keys() for _, cells in rows)
