"""The user's own table: from its rows to annotations."""

from pathlib import Path

import pytest

from sercli.corpora.corpus import Annotation, Source
from sercli.corpora.datasets import user_table
from sercli.errors import CorpusError, UsageError
from sercli.labels import LabelMerger
from tests.corpora.files import touch


def label_table(folder: Path, text: str | bytes, label_map: dict[str, str] | None = None) -> list[Annotation]:
    """Labels of a table whose recordings a.wav, b.wav and c.wav exist."""
    touch(folder, "a.wav", "b.wav", "c.wav")
    path = folder / "my.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    source = Source(folder=folder, labels=path, merge=LabelMerger(label_map))
    return [fields for _, fields in user_table.label(source).recordings]


def test_table_of_ones_own(tmp_path: Path) -> None:
    text = (
        "\ufefffile,emotion,speaker,gender,statement,age,sha256\r\n"
        'a.wav,Happy,anna,F,"one, ""two""\nthree",33,no\r\n'
        "\r\n"
        " b.wav , joy ,,diverse,,,\r\n"
    )
    assert label_table(tmp_path, text, {"joy": "happy"}) == [
        Annotation(
            emotion="happy",
            speaker="csv-anna",
            gender="female",
            statement='one, "two"\nthree',
            extra={"age": "33"},
        ),
        Annotation(emotion="happy", gender="diverse", extra={"age": ""}),
    ]


def test_a_speaker_is_one_however_the_name_is_encoded(tmp_path: Path) -> None:
    names = ["Zo\u00eb  Li", "Zoe\u0308 Li", "Zo\u00eb\u200b Li"]
    rows = [f"{name},sad,{speaker}" for name, speaker in zip(("a.wav", "b.wav", "c.wav"), names, strict=True)]
    labeled = label_table(tmp_path, "\n".join(["file,emotion,SPEAKER,Split", *(f"{row},Test" for row in rows)]))
    assert {annotation.speaker for annotation in labeled} == {"csv-Zo\u00eb Li"}
    assert {annotation.extra["split"] for annotation in labeled} == {"Test"}


def test_table_names_files_that_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "my.csv"
    path.write_text(f"file,emotion\na.wav,sad\nx.wav,sad\n{'y' * 300}.wav,sad\n")
    labeling = user_table.label(Source(folder=touch(tmp_path, "a.wav"), labels=path))
    assert len(labeling.recordings) == 1
    assert str(labeling.problems[0]) == f"{path}, line 3: no such file: {tmp_path}/x.wav"
    assert "line 4: no such file" in str(labeling.problems[1])


def test_absolute_paths_and_another_folder(tmp_path: Path) -> None:
    touch(tmp_path / "sound", "a.wav", "b.wav")
    path = tmp_path / "my.csv"
    path.write_text(f"file,emotion\na.wav,sad\n{tmp_path}/sound/b.wav,sad\n")
    labeling = user_table.label(Source(folder=tmp_path / "sound", labels=path))
    assert [found for found, _ in labeling.recordings] == [
        tmp_path / "sound/a.wav",
        tmp_path / "sound/b.wav",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows below a header"),
        ("file,emotion\n", "has no rows below a header"),
        ("file,label\na.wav,sad\n", "line 1: no column 'emotion', expected file,emotion, found 'file,label'"),
        ("file;label\na.wav;sad\n", "line 1: no column 'emotion', expected file,emotion, found 'file,label'"),
        ("\n\nname,emotion\na.wav,sad\n", "line 3: no column 'file'"),
        ("file,emotion,emotion\na.wav,sad,sad\n", "line 1: the column 'emotion' appears twice"),
        ("file,emotion\na.wav\n", "line 2: expected 2 cells as in the header, found 1"),
        ("file,emotion\na.wav,sad,x\n", "line 2: expected 2 cells as in the header, found 3"),
        ("file,emotion\na.wav,sad\n,sad\n", "line 3: the cell 'file' is empty"),
        ("file,emotion\na.wav,sad\nb.wav,sad\n./a.wav,sad\n", r"line 4: \./a\.wav is already on line 2"),
        ("file,emotion\na.wav,sad\nb.wav,j\0y\n", "line 3: contains a NUL character"),
        (b"file,emotion\na.wav,sad\nb\x81.wav,sad\n", "line 3: not UTF-8 text .*save the table as UTF-8"),
        ("file,emotion\n".encode("utf-16"), "has no rows below a header"),
        (f"file,emotion\na.wav,{'x' * 200_000}\n", "line 2: not valid CSV .field larger"),
        ('file,emotion\na.wav,"sad\n', "line 2: not valid CSV"),
        ('file,emotion\na.wav,sad\nb.wav,"sad"x\n', "line 3: not valid CSV"),
    ],
    ids=range(16),
)
def test_an_invalid_table_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(CorpusError, match=message) as raised:
        label_table(tmp_path, text)
    assert str(tmp_path / "my.csv") in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "a.wav,Fed up\nb.wav,fed_up\n",
            "labels that differ only by case, spaces, hyphens or underscores: 'Fed up' and 'fed_up'; merge",
        ),
        ("a.wav,sad\nb.wav,uncertain\n", "line 3: 'uncertain' cannot be a label: 'uncertain' is reserved"),
        (f"a.wav,{'x' * 81}\n", "line 2: 'x+' cannot be a label: it has 81 characters, expected at most 80"),
        ("a.wav,so\x07sad\n", "line 2: .* cannot be a label: expected printable characters"),
    ],
)
def test_invalid_labels_are_refused(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(CorpusError, match=f"my.csv(, |: ){message}"):
        label_table(tmp_path, "file,emotion\n" + rows)


def test_labels_are_data(tmp_path: Path) -> None:
    cells = ["HAPPY ", "θυμός", "<b>=1+1", '"so, so"', "sa\u200bd\u200e", "خشم\u200cگین", "cafe\u0301"]
    touch(tmp_path, *(f"{number}.wav" for number in range(len(cells))))
    labels = label_table(tmp_path, "file,emotion\n" + "".join(f"{n}.wav,{cell}\n" for n, cell in enumerate(cells)))
    assert [annotation.emotion for annotation in labels] == [
        *("happy", "θυμός", "<b>=1+1", "so, so", "sad", "خشم\u200cگین", "caf\u00e9"),
    ]


@pytest.mark.parametrize("name", ["missing.csv", "folder"])
def test_table_that_is_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CorpusError, match="no such file" if name == "missing.csv" else "is a folder"):
        user_table.label(Source(folder=tmp_path, labels=tmp_path / name))


def test_table_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--labels"):
        user_table.label(Source(folder=tmp_path))


@pytest.mark.parametrize(
    ("file", "recording"),
    [
        ("calls\\a.wav", "calls/a.wav"),
        ("C:\\Users\\me\\calls\\a.wav", "calls/a.wav"),
        ("calls/A.WAV", "calls/a.wav"),
        ("a.wav", "calls/a.wav"),
        ("a", "calls/a.wav"),
    ],
)
def test_paths_of_other_machines_are_found(tmp_path: Path, file: str, recording: str) -> None:
    touch(tmp_path, "calls/a.wav", "calls/b.wav")
    (tmp_path / "t.csv").write_text(f"file,emotion\n{file},sad\ngone.wav,happy\n")
    labeled = user_table.label(Source(folder=tmp_path, labels=tmp_path / "t.csv"))
    assert [(path, annotation.emotion) for path, annotation in labeled.recordings] == [(tmp_path / recording, "sad")]
    assert [str(problem) for problem in labeled.problems] == [
        f"{tmp_path}/t.csv, line 3: no such file: {tmp_path}/gone.wav"
    ]


def test_two_rows_for_a_recording_in_other_words_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "calls/a.wav")
    (tmp_path / "t.csv").write_text("file,emotion\ncalls/a.wav,sad\ncalls\\a.wav,happy\n")
    with pytest.raises(CorpusError, match=r"line 3: .* is already on line 2"):
        user_table.label(Source(folder=tmp_path, labels=tmp_path / "t.csv"))


def test_row_without_a_label_is_a_problem(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    (tmp_path / "t.csv").write_text("file,emotion\na.wav,sad\nb.wav,\n")
    labeled = user_table.label(Source(folder=tmp_path, labels=tmp_path / "t.csv"))
    assert len(labeled.recordings) == 1
    assert [str(problem) for problem in labeled.problems] == [f"{tmp_path}/t.csv, line 3: b.wav has no label"]


def test_segmented_table_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    (tmp_path / "t.csv").write_text("file,start,end,emotion\na.wav,0 days 00:00:01,0 days 00:00:02,sad\n")
    with pytest.raises(CorpusError, match="line 2: labels only a segment of a"):
        user_table.label(Source(folder=tmp_path, labels=tmp_path / "t.csv"))


def test_map_is_read_in_any_case(tmp_path: Path) -> None:
    labels = label_table(tmp_path, "file,emotion\na.wav,Anger\nb.wav,PS\n", {"anger": "angry", "Ps": "surprised"})
    assert [annotation.emotion for annotation in labels] == ["angry", "surprised"]
