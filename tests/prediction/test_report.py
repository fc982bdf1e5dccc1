import csv
import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import audformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sercli.errors import UsageError
from sercli.labels import EMOTIONS
from sercli.prediction.report import FORMATS, Format, RowWriter, check_report_path, escape_formula, open_report
from sercli.prediction.rows import Prediction, SegmentPrediction, Status, Value, list_columns

COLUMNS = list_columns(EMOTIONS)
SUFFIXES = (".csv", ".tsv", ".json", ".jsonl")
NUMBERS = {"start", "end", "confidence", "duration", "speech", "typicality", *(f"p_{emotion}" for emotion in EMOTIONS)}
OK = Prediction(
    file="a.wav",
    status="ok",
    emotion="sad",
    confidence=0.3,
    probabilities=(0.1,) * 3 + (0.3,) + (0.1,) * 4,
    start=0.0,
    end=3.25,
    duration=3.25,
    speech=1.5,
    typicality=0.75,
    warnings=("clipped", "noisy"),
)
FAILED = Prediction(file="b/a.wav", status="failed", error="contains no samples")

# NUL and lone surrogates, which no UTF-8 file holds, are tested apart.
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
formulas = st.sampled_from(["=1+1", "+1", "-1", "@x", "\tx", "\rx", "'=x", "''@", "'x", "a\r\nb", 'a"b', "a,b", "\n"])
numbers = st.none() | st.floats(0, 1e6)
predictions = st.builds(
    Prediction,
    file=text | formulas,
    status=st.sampled_from(get_args(Status)),
    emotion=st.sampled_from(["", *EMOTIONS]),
    confidence=st.none() | st.floats(0, 1),
    probabilities=st.just(()) | st.tuples(*[st.floats(0, 1)] * len(EMOTIONS)),
    start=numbers,
    end=numbers,
    duration=numbers,
    speech=numbers,
    typicality=st.none() | st.floats(0, 1),
    error=text | formulas,
    warnings=st.just(()) | st.tuples(text | formulas),
)


def write(path: Path, rows: Iterable[Prediction]) -> Path:
    with open_report(path, EMOTIONS) as write_row:
        for row in rows:
            write_row(row)
    return path


def read(path: Path) -> list[dict[str, Value]]:
    """Reads a report with the standard library, as somebody else's program would."""
    with path.open(encoding="utf-8", newline="") as stream:
        if path.suffix == ".json":
            rows: list[dict[str, Value]] = json.load(stream)
            return rows
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in stream.read().split("\n")[:-1]]
        reader = csv.DictReader(stream, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
        assert tuple(reader.fieldnames or ()) == COLUMNS
        return [{name: parse_cell(name, cell) for name, cell in row.items()} for row in reader]


def parse_cell(name: str, cell: str) -> Value:
    if name in NUMBERS:
        return float(cell) if cell else None
    plain = cell[1:] if cell.startswith("'") and cell.lstrip("'")[:1] in tuple("=+-@＝＋－＠\t\r\n") else cell
    return plain or (None if name in {"emotion", "warning", "error"} else "")


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(predictions, max_size=4))
def test_rows_come_back_from_every_format(suffix: str, rows: list[Prediction], tmp_path: Path) -> None:
    found = read(write(tmp_path / f"report{suffix}", rows))
    assert found == [row.to_row(EMOTIONS) for row in rows]


def test_every_format_of_the_contract_has_a_writer() -> None:
    assert tuple(FORMATS) == (*SUFFIXES, ".xlsx", ".html")


def test_a_format_is_a_class_and_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class MarkdownRows(RowWriter):
        def write(self, row: Mapping[str, Any]) -> None:
            self.stream.write(f"| {row['file']} | {row['emotion']} | {len(row['segments'])} |\n")

    with pytest.raises(UsageError, match="unknown kind of report"):
        check_report_path(tmp_path / "r.md")
    monkeypatch.setitem(FORMATS, ".md", Format(MarkdownRows, nested=True))
    with open_report(tmp_path / "r.md", EMOTIONS, segments=True) as write_row:
        write_row(OK)
    assert (tmp_path / "r.md").read_text() == "| a.wav | sad | 0 |\n"


def test_columns_are_those_of_the_contract() -> None:
    probabilities = "p_neutral,p_calm,p_happy,p_sad,p_angry,p_fearful,p_disgust,p_surprised"
    assert ",".join(COLUMNS) == (
        f"file,start,end,channel,status,emotion,confidence,{probabilities},duration,speech,typicality,warning,error"
    )


def test_a_csv_report_to_the_letter(tmp_path: Path) -> None:
    assert write(tmp_path / "r.csv", [OK, FAILED]).read_bytes().decode() == (
        f"{','.join(COLUMNS)}\n"
        "a.wav,0.000000,3.250000,mix,ok,sad,0.300000,0.100000,0.100000,0.100000,0.300000,0.100000,0.100000,"
        "0.100000,0.100000,3.250000,1.500000,0.750000,clipped; noisy,\n"
        "b/a.wav,,,mix,failed,,,,,,,,,,,,,,,contains no samples\n"
    )


def test_json_is_typed(tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        pytest.fail(f"JSON has no {constant}")

    content = write(tmp_path / "r.json", [OK, FAILED]).read_text(encoding="utf-8")
    ok, failed = json.loads(content, parse_constant=refuse)
    assert ok == {
        "file": "a.wav",
        "start": 0.0,
        "end": 3.25,
        "channel": "mix",
        "status": "ok",
        "emotion": "sad",
        "confidence": 0.3,
        "duration": 3.25,
        "speech": 1.5,
        "typicality": 0.75,
        "warning": "clipped; noisy",
        "error": None,
        **{f"p_{emotion}": 0.3 if emotion == "sad" else 0.1 for emotion in EMOTIONS},
    }
    assert all(isinstance(ok[name], float) for name in NUMBERS)
    assert [name for name, value in failed.items() if value is not None] == ["file", "channel", "status", "error"]


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_json_never_holds_nan(tmp_path: Path, suffix: str) -> None:
    row = Prediction(file="a.wav", status="ok", confidence=float("nan"))
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(tmp_path / f"r{suffix}", [row])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_report_without_rows_can_be_read(tmp_path: Path, suffix: str) -> None:
    assert read(write(tmp_path / f"r{suffix}", [])) == []


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("=1+1.wav", "'=1+1.wav"),
        ("\n=1+1.wav", "'\n=1+1.wav"),
        ("＝1+1.wav", "'＝1+1.wav"),  # full width
        ("+4930.wav", "'+4930.wav"),
        ("-x.wav", "'-x.wav"),
        ("@x.wav", "'@x.wav"),
        ("\tx.wav", "'\tx.wav"),
        ("\rx.wav", "'\rx.wav"),
        ("'=x.wav", "''=x.wav"),
        ("'quoted'.wav", "'quoted'.wav"),
        ("a=b.wav", "a=b.wav"),
        ("", ""),
    ],
)
def test_what_a_spreadsheet_takes_for_a_formula_is_escaped(tmp_path: Path, written: str, shown: str) -> None:
    assert escape_formula(written) == shown
    row = Prediction(file=written, status="failed", error=written)
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        with write(tmp_path / f"r{suffix}", [row]).open(newline="", encoding="utf-8") as stream:
            (cells,) = csv.DictReader(stream, delimiter=delimiter)
        assert (cells["file"], cells["error"]) == (shown, shown)
    for suffix in (".json", ".jsonl"):
        (values,) = read(write(tmp_path / f"r{suffix}", [row]))
        assert values["file"] == written


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_that_are_no_text_are_shown_escaped(tmp_path: Path, suffix: str) -> None:
    names = [os.fsdecode(b"caf\xe9.wav"), "caf\ud83d.wav", "café 😀.wav"]
    rows = [Prediction(file=name, status="failed") for name in names]
    found = read(write(tmp_path / f"r{suffix}", rows))
    assert [row["file"] for row in found] == ["caf\\xe9.wav", "caf\\ud83d.wav", "café 😀.wav"]


@pytest.mark.parametrize("name", ["report", "report.xls", "report.csv.gz", ".csv"])
def test_an_unknown_suffix_lists_the_valid_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"expected a name ending in \.csv, \.tsv, \.json, \.jsonl, \.xlsx"):
        check_report_path(tmp_path / name)


def test_capitals_in_a_suffix_do_not_matter(tmp_path: Path) -> None:
    lines = write(tmp_path / "REPORT.JSONL", [OK, FAILED]).read_text().splitlines()
    assert [json.loads(line)["file"] for line in lines] == ["a.wav", "b/a.wav"]


def test_a_folder_is_no_report(tmp_path: Path) -> None:
    (tmp_path / "r.csv").mkdir()
    with pytest.raises(UsageError, match="it is a folder"):
        check_report_path(tmp_path / "r.csv")


def test_the_folder_of_a_report_is_made(tmp_path: Path) -> None:
    assert len(read(write(tmp_path / "new/folder/r.json", [OK]))) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_report_that_fails_leaves_the_old_one(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"r{suffix}", [OK])
    before = path.read_bytes()

    def rows() -> Iterator[Prediction]:
        yield FAILED
        raise OSError(errno.ENOSPC, "disk full")

    with pytest.raises(OSError, match=r"No space left on device: .*r\."):
        write(path, rows())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_numbers_are_rounded_alike_everywhere(tmp_path: Path) -> None:
    row = Prediction(file="a", status="ok", confidence=1 / 3, duration=2 / 3)
    expected: Mapping[str, Any] = {"confidence": 0.333333, "duration": 0.666667}
    for suffix in SUFFIXES:
        (found,) = read(write(tmp_path / f"r{suffix}", [row]))
        assert {name: found[name] for name in expected} == expected


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_audformat_loads_a_report_as_a_segmented_table(tmp_path: Path) -> None:
    table = audformat.utils.read_csv(str(write(tmp_path / "r.csv", [OK, FAILED])))
    files, starts, ends = (table.index.get_level_values(name) for name in ("file", "start", "end"))
    assert files.tolist() == ["a.wav", "b/a.wav"]
    assert starts[0].total_seconds() == 0.0
    assert ends[0].total_seconds() == 3.25
    assert table["emotion"].iloc[0] == "sad"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_labels_of_any_text_are_columns(tmp_path: Path, suffix: str) -> None:
    labels = ("=1+1", 'a,"b', "<b>x</b>", "θυμός")
    row = Prediction(file="a.wav", status="ok", emotion="=1+1", confidence=0.25, probabilities=(0.25,) * 4)
    path = tmp_path / f"r{suffix}"
    with open_report(path, labels) as write_row:
        write_row(row)
    text = path.read_text(encoding="utf-8")
    if suffix in {".csv", ".tsv"}:
        header, cells = csv.reader(text.splitlines(), delimiter="," if suffix == ".csv" else "\t")
        assert (tuple(header), cells[5]) == (list_columns(labels), "'=1+1")  # no spreadsheet runs it
    else:
        found = json.loads(text)
        assert (found[0] if suffix == ".json" else found) == row.to_row(labels)


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_json_has_segments_where_they_are_asked_for(tmp_path: Path, suffix: str) -> None:
    segment = SegmentPrediction(
        start=0.5, end=2.0, speech=1.5, emotion="sad", confidence=0.3, probabilities=(0.125,) * 8
    )
    for asked, expected in ((True, [{"start": 0.5, "end": 2.0, "emotion": "sad"}]), (False, None)):
        path = tmp_path / f"{asked}{suffix}"
        with open_report(path, EMOTIONS, segments=asked) as write_row:
            write_row(replace(OK, segments=(segment,)))
        (row,) = read(path)
        found: Any = row.get("segments")
        assert (found and [{name: each[name] for name in ("start", "end", "emotion")} for each in found]) == expected
