"""The index: what is written is read again, and what is damaged says where."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sercli.corpora.index import (
    COLUMNS,
    Index,
    Utterance,
    mark_duplicates,
    merge_index,
    read_index,
    relative_name,
    write_index,
)
from sercli.errors import CorpusError, UsageError
from sercli.labels import EMOTIONS

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
NAMES = TEXT.filter(bool)
UTTERANCES = st.builds(
    Utterance,
    file=NAMES,
    corpus=TEXT,
    speaker=TEXT,
    gender=TEXT,
    emotion=st.sampled_from(EMOTIONS),
    intensity=TEXT,
    statement=TEXT,
    repetition=TEXT,
    duration=st.integers(0, 10**9).map(lambda microseconds: microseconds / 1e6),
    sample_rate=st.integers(0, 10**6),
    channels=st.integers(0, 64),
    sha256=st.sampled_from(["", "0a" * 32]),
    duplicate_of=TEXT,
    extra=st.fixed_dictionaries({"age": TEXT, 'odd, "name"\r': TEXT}),
)


def utterance(
    file: str, corpus: str = "toy", *, speaker: str = "", sha256: str = "", duplicate_of: str = ""
) -> Utterance:
    return Utterance(
        file=file,
        corpus=corpus,
        emotion="sad",
        speaker=speaker,
        duration=1.5,
        sample_rate=8000,
        channels=1,
        sha256=sha256,
        duplicate_of=duplicate_of,
    )


def index_of(folder: Path, *rows: Utterance) -> Index:
    return Index(folder=folder, utterances=rows)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(UTTERANCES, min_size=1, max_size=5))
def test_round_trip(tmp_path: Path, rows: list[Utterance]) -> None:
    index = index_of(tmp_path, *rows)
    write_index(tmp_path / "index.csv", index)
    assert read_index(tmp_path / "index.csv") == index


def test_layout_is_that_of_the_contract(tmp_path: Path) -> None:
    row = replace(utterance("ü, ö.wav", speaker="toy-1"), extra={"age": "7"})
    write_index(tmp_path / "index.csv", index_of(tmp_path, row))
    assert (tmp_path / "index.csv").read_bytes().decode() == (
        "file,corpus,speaker,gender,emotion,intensity,statement,repetition,duration,sample_rate,channels,"
        "sha256,duplicate_of,age\n"
        '"ü, ö.wav",toy,toy-1,,sad,,,,1.500000,8000,1,,,7\n'
    )


def test_failed_write_leaves_the_old_index(tmp_path: Path) -> None:
    path = tmp_path / "index.csv"
    write_index(path, index_of(tmp_path, utterance("a.wav")))
    with pytest.raises(UnicodeEncodeError):
        write_index(path, index_of(tmp_path, utterance("b\udcff.wav")))
    assert [row.file for row in read_index(path).utterances] == ["a.wav"]
    assert list(tmp_path.iterdir()) == [path]


def test_merging_replaces_one_corpus_and_sorts(tmp_path: Path) -> None:
    old = index_of(tmp_path, utterance("z.wav", "alpha"), utterance("old.wav", "beta"))
    merged = merge_index(old, "beta", [utterance("c.wav", "beta"), utterance("b.wav", "beta")])
    assert [(row.corpus, row.file) for row in merged.utterances] == [
        ("alpha", "z.wav"),
        ("beta", "b.wav"),
        ("beta", "c.wav"),
    ]
    assert merged.corpora == ("alpha", "beta")
    assert len(merged.select(["beta"])) == 2
    with pytest.raises(CorpusError, match="'gamma' is not in the index: it has alpha, beta"):
        merged.select(["gamma"])
    with pytest.raises(CorpusError, match="no corpus is named: the index has alpha, beta"):
        merged.select([])
    with pytest.raises(UsageError, match=re.escape("corpora should be a list, such as ['alpha', 'beta'], found the")):
        merged.select("alpha,beta")


def test_names_are_relative_below_the_folder_only(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert relative_name(folder / "a/../b c.wav", folder) == "b c.wav"
    assert relative_name(tmp_path / "c.wav", folder) == str(tmp_path / "c.wav")
    assert relative_name(tmp_path / "database/c.wav", folder) == str(tmp_path / "database/c.wav")
    index = index_of(folder, utterance("x/a.wav"), utterance(str(tmp_path / "c.wav")))
    assert [index.path_of(row) for row in index.utterances] == [folder / "x/a.wav", tmp_path / "c.wav"]


def write_rows(path: Path, *rows: dict[str, str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        for row in rows:
            writer.writerow({"file": "a.wav", "corpus": "toy", "emotion": "sad"} | row)
    return path


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"emotion": ""}, "line 3: the emotion '' cannot be a label: it is empty"),
        ({"emotion": "x" * 81}, "line 3: the emotion 'x+' cannot be a label: it has 81 characters"),
        ({"emotion": "so\nsad"}, "line 4: .*expected printable characters"),
        ({"emotion": "uncertain"}, "line 3: .*'uncertain' is reserved"),
        ({"duration": "long"}, "line 3: duration should be seconds, found 'long'; .*sercli prepare"),
        ({"duration": "nan"}, "line 3: duration should be seconds"),
        ({"duration": "-1"}, "line 3: duration should be seconds"),
        ({"sample_rate": "1.5"}, r"line 3: sample_rate should be a whole number of at least 0, found '1\.5'"),
        ({"channels": "two"}, "line 3: channels should be a whole number of at least 0, found 'two'"),
        ({"channels": "-1"}, "line 3: channels should be a whole number of at least 0, found '-1'"),
        ({"file": ""}, "line 3: file should be a path"),
        ({"file": "a\0b"}, "line 3: file should be a path"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_invalid_cell_is_refused(tmp_path: Path, cell: dict[str, str], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        read_index(write_rows(tmp_path / "index.csv", {}, cell))


HEADER = ",".join(COLUMNS).encode() + b"\n"
ROW = b"a.wav,toy,,,sad,,,,1,8000,1,,\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "lacks the column 'file'"),
        (HEADER, "has no utterances"),
        (HEADER.replace(b",sha256", b""), "lacks the column 'sha256'"),
        (HEADER + ROW[:12], "line 2: the row has fewer or more cells"),
        (HEADER + ROW.replace(b"\n", b",more\n"), "line 2: the row has fewer or more cells"),
        (HEADER + b'"a.wav,toy', "not valid CSV"),
        (HEADER + b"x" * 200_000, "not valid CSV"),
        (HEADER + b"\xff\n", "is not UTF-8 text"),
    ],
    ids=["empty", "no row", "no column", "short row", "long row", "open quote", "huge cell", "not UTF-8"],
)
def test_damaged_index(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "index.csv"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=message) as raised:
        read_index(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_index_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="make it with 'sercli prepare'"):
        read_index(tmp_path / "index.csv")


def test_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    path = tmp_path / "index.csv"
    path.write_bytes(b"\xef\xbb\xbf" + HEADER + ROW)
    assert read_index(path).utterances[0].file == "a.wav"


def duplicates(index: Index) -> dict[str, str]:
    return {row.file: row.duplicate_of for row in index.utterances}


def test_duplicates_point_to_the_first(tmp_path: Path) -> None:
    rows = [utterance(name, sha256=name) for name in "abcd"]
    marked = mark_duplicates(index_of(tmp_path, *rows), {"a": "1", "b": "2", "c": "1", "d": "1"})
    assert duplicates(marked) == {"a": "", "b": "", "c": "a", "d": "a"}


def test_duplicates_are_found_across_corpora_by_bytes(tmp_path: Path) -> None:
    rows = [utterance("a", "alpha", sha256="1"), utterance("b", "beta", sha256="1")]
    assert duplicates(mark_duplicates(index_of(tmp_path, *rows), {})) == {"a": "", "b": "a"}


def test_older_duplicates_stay_unless_their_first_is_gone(tmp_path: Path) -> None:
    rows = [
        utterance("a", sha256="1"),
        utterance("b", sha256="2", duplicate_of="a"),
        utterance("c", sha256="3", duplicate_of="gone"),
    ]
    assert duplicates(mark_duplicates(index_of(tmp_path, *rows), {})) == {"a": "", "b": "a", "c": ""}


def test_copies_of_what_is_gone_stay_copies_of_each_other(tmp_path: Path) -> None:
    rows = [utterance(name, sha256=name, duplicate_of="gone") for name in "ab"]
    assert duplicates(mark_duplicates(index_of(tmp_path, *rows), {})) == {"a": "", "b": "a"}


def test_what_bytes_decoding_and_earlier_runs_tell_is_joined(tmp_path: Path) -> None:
    rows = [
        utterance("f", "csv", sha256="2"),
        utterance("c0", "nemo", sha256="1"),
        utterance("c1", "nemo", sha256="2"),
    ]
    expected = {"f": "", "c0": "f", "c1": "f"}
    assert duplicates(mark_duplicates(index_of(tmp_path, *rows), {"1": "same", "2": "same"})) == expected
    rows[2] = replace(rows[2], duplicate_of="c0")
    assert duplicates(mark_duplicates(index_of(tmp_path, *rows), {"2": "other"})) == expected
    known = {"1": "first", "2": "other"}
    assert duplicates(mark_duplicates(index_of(tmp_path, *rows), known)) == {"f": "", "c0": "", "c1": "f"}
