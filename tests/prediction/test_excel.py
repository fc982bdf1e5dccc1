"""Reports as workbooks, read back by another library."""

import contextlib
import errno
import io
import os
import tracemalloc
import zipfile
from pathlib import Path

import openpyxl
import pytest

from sercli.labels import EMOTIONS
from sercli.prediction.excel import MAX_TEXT, ExcelRows
from sercli.prediction.report import open_report
from sercli.prediction.rows import Prediction, list_columns

NAMES = [
    "+49 30 1234.wav",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://x","y")',
    "{=1+1}",
    "@handle.wav",
    "-rf.wav",
    "'quoted.wav",
    "http://example.org/a.wav",
    "internal:Sheet1!A1",
    "1234",
    "1e5",
    "007.wav",
    "true",
    " leading and trailing ",
    "two\nlines\tand a tab.wav",
    "中文录音 😀.wav",
    "<a>&amp;</a>",
]

COLUMNS = list_columns(EMOTIONS)


def predict(name: str) -> Prediction:
    return Prediction(
        file=name, status="ok", emotion="sad", confidence=0.25, probabilities=(0.125,) * 8, start=0.0, end=3.5
    )


def read(source: Path | io.BytesIO) -> list[list[list[object]]]:
    """The cells of every worksheet; asserts that no cell is a formula or a link."""
    workbook = openpyxl.load_workbook(source)
    cells = [cell for sheet in workbook for row in sheet.iter_rows() for cell in row if cell.value is not None]
    assert {cell.data_type for cell in cells} <= {"s", "inlineStr", "n"}
    assert not any(cell.hyperlink for cell in cells)
    return [[[cell.value for cell in row] for row in sheet.iter_rows()] for sheet in workbook]


def test_names_are_whole_and_never_formulas(tmp_path: Path) -> None:
    with open_report(tmp_path / "r.xlsx", EMOTIONS) as write:
        for name in NAMES:
            write(predict(name))
    ((header, *rows),) = read(tmp_path / "r.xlsx")
    assert header == list(COLUMNS)
    assert [row[0] for row in rows] == NAMES
    assert [path.name for path in tmp_path.iterdir()] == ["r.xlsx"]
    with zipfile.ZipFile(tmp_path / "r.xlsx") as archive:
        assert "<f>" not in archive.read("xl/worksheets/sheet1.xml").decode()


def test_numbers_are_numbers_and_nothing_is_an_empty_cell(tmp_path: Path) -> None:
    with open_report(tmp_path / "r.XLSX", EMOTIONS) as write:
        write(predict("a.wav"))
        write(Prediction(file="b.wav", status="failed", error="=contains no samples"))
    ((header, first, second),) = read(tmp_path / "r.XLSX")
    row = dict(zip(header, first, strict=True))
    assert (row["start"], row["end"], row["confidence"], row["p_calm"]) == (0, 3.5, 0.25, 0.125)
    failed = dict(zip(header, second, strict=True))
    assert (failed["status"], failed["error"], failed["confidence"]) == ("failed", "=contains no samples", None)


def test_names_that_are_not_text_are_escaped(tmp_path: Path) -> None:
    with open_report(tmp_path / "r.xlsx", EMOTIONS) as write:
        write(predict(os.fsdecode(b"latin1-\xe4.wav")))
        write(predict("x" * (MAX_TEXT + 9)))
    ((_, first, second),) = read(tmp_path / "r.xlsx")
    assert first[0] == r"latin1-\xe4.wav"
    assert second[0] == "x" * MAX_TEXT


def test_report_without_rows_has_a_header(tmp_path: Path) -> None:
    with open_report(tmp_path / "r.xlsx", EMOTIONS):
        pass
    assert read(tmp_path / "r.xlsx") == [[list(COLUMNS)]]


def test_rows_go_on_in_another_worksheet() -> None:
    stream = io.BytesIO()
    with contextlib.closing(ExcelRows(stream, COLUMNS, max_rows=3)) as rows:
        for number in range(5):
            rows.write(predict(f"{number}.wav").to_row(EMOTIONS))
        rows.finish()
    sheets = read(stream)
    assert [[row[0] for row in sheet] for sheet in sheets] == [
        ["file", "0.wav", "1.wav"],
        ["file", "2.wav", "3.wav"],
        ["file", "4.wav"],
    ]


def interrupt_report(path: Path, temporary: Path) -> None:
    with open_report(path, EMOTIONS) as write:
        write(predict("a.wav"))
        assert list(temporary.iterdir()) != []
        raise KeyboardInterrupt


def test_failure_leaves_the_older_report_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "r.xlsx").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        interrupt_report(tmp_path / "r.xlsx", tmp_path / "temporary")
    assert (tmp_path / "r.xlsx").read_text() == "old"
    assert list((tmp_path / "temporary").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.xlsx", "temporary"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_an_error_of_the_system() -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as stream,
        contextlib.closing(ExcelRows(stream, COLUMNS)) as rows,
    ):
        rows.write(predict("a.wav").to_row(EMOTIONS))
        with pytest.raises(OSError, match="No space left") as raised:
            rows.finish()
    assert raised.value.errno == errno.ENOSPC


def test_rows_do_not_stay_in_memory(tmp_path: Path) -> None:
    def measure(rows: int) -> int:
        with open_report(tmp_path / "r.xlsx", EMOTIONS) as write:
            write(predict("first.wav"))
            tracemalloc.start()
            for number in range(rows):
                write(predict(f"{number}.wav"))
            size, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return size

    measure(2_000)  # fills the lists of freed tuples that Python keeps
    assert measure(2_000) < measure(200) + 50_000
