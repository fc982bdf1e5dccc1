"""From names and rows to labels, for every corpus."""

import os
import re
from collections import Counter
from pathlib import Path

import pytest

from sercli.corpora import nemo, ravdess, table
from sercli.corpora.base import Corpus, Fields, Source, find_files, find_recordings
from sercli.corpora.registry import CORPORA, get_corpus
from sercli.errors import CorpusError, UsageError
from sercli.labels import EMOTIONS


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA)
def test_every_corpus_says_what_it_is(corpus: Corpus) -> None:
    assert corpus.title
    assert corpus.citation
    assert corpus.licence
    assert corpus.label_map
    assert set(corpus.label_map.values()) <= set(EMOTIONS)
    assert set(corpus.counts) <= set(corpus.label_map.values())
    assert corpus.name == "csv" or corpus.page.startswith("https://")
    assert get_corpus(corpus.name) is corpus


def test_unknown_corpus_lists_the_known() -> None:
    with pytest.raises(UsageError, match="unknown corpus 'emo': expected one of ravdess, nemo, csv"):
        get_corpus("emo")


@pytest.mark.parametrize(
    ("stem", "fields"),
    [
        (
            "03-01-01-01-01-01-01",
            Fields(
                emotion="neutral",
                speaker="ravdess-01",
                gender="male",
                intensity="normal",
                statement="kids",
                repetition="1",
            ),
        ),
        (
            "03-01-08-02-02-02-24",
            Fields(
                emotion="surprised",
                speaker="ravdess-24",
                gender="female",
                intensity="strong",
                statement="dogs",
                repetition="2",
            ),
        ),
        ("03-02-06-01-02-01-12", None),
        ("01-01-06-01-02-01-12", None),
        ("02-02-06-01-02-01-12", None),
    ],
)
def test_ravdess_name(stem: str, fields: Fields | None) -> None:
    assert ravdess.parse_name(stem) == fields


@pytest.mark.parametrize(("code", "emotion"), list(enumerate(EMOTIONS, start=1)))
def test_ravdess_emotion_codes(code: int, emotion: str) -> None:
    fields = ravdess.parse_name(f"03-01-{code:02}-01-01-01-01")
    assert fields is not None
    assert fields.emotion == emotion


@pytest.mark.parametrize(
    ("stem", "message"),
    [
        ("", "seven numbers"),
        ("hello", "seven numbers"),
        ("03-01-06-01-02-01", "seven numbers"),
        ("03-01-06-01-02-01-12-01", "seven numbers"),
        ("03-01-06-01-02-01-12 (1)", "seven numbers"),
        ("03-01-06-01-02-01-1２", "seven numbers"),
        ("3-1-6-1-2-1-12", "seven numbers"),
        ("03-01-09-01-02-01-12", "emotion 09, expected 01 to 08"),
        ("03-01-00-01-02-01-12", "emotion 00"),
        ("03-01-06-03-02-01-12", "intensity 03, expected 01 to 02"),
        ("03-01-06-01-03-01-12", "statement 03"),
        ("03-01-06-01-02-03-12", "repetition 03"),
        ("03-01-06-01-02-01-25", "actor 25, expected 01 to 24"),
        ("03-01-06-01-02-01-00", "actor 00"),
        ("03-01-01-02-01-01-01", "neutral has no strong intensity"),
    ],
)
def test_name_that_is_none_of_ravdess(stem: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        ravdess.parse_name(stem)


def test_ravdess_names_are_1440_and_all_parse() -> None:
    names = ravdess.list_names()
    fields = [ravdess.parse_name(name) for name in names]
    assert len(set(names)) == 1440
    assert Counter(field.emotion for field in fields if field) == ravdess.CORPUS.counts
    assert Counter(field.gender for field in fields if field) == {"male": 720, "female": 720}
    assert len({field.speaker for field in fields if field}) == 24


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_ravdess_sorts_names_by_what_they_are(tmp_path: Path) -> None:
    good, song = "03-01-06-01-02-01-12", "03-02-06-01-02-01-12"
    touch(tmp_path, f"a/{good}.WAV", f"b/{good}.wav", f"{song}.wav", "notes.flac", "readme.txt", ".x.wav")
    labelling = ravdess.label(Source(folder=tmp_path))
    assert [path for path, _ in labelling.labelled] == [tmp_path / f"a/{good}.WAV"]
    assert [str(extra) for extra in labelling.extra] == [
        f"{song}.wav: belongs to another part of the corpus",
        f"b/{good}.wav: same name as a/{good}.WAV",
    ]
    assert [problem.file for problem in labelling.problems] == ["notes.flac"]
    assert len(labelling.missing) == 1439
    assert good not in labelling.missing


def test_finding_is_sorted_deep_and_ends_in_loops(tmp_path: Path) -> None:
    names = ["a.ogg", "b/c/d.FLAC", "b/x.wav", "z/ä b.Ogg"]
    touch(tmp_path, *reversed(names), "no.mp3", ".hidden/a.wav", "b/._x.wav")
    (tmp_path / "b/c/loop").symlink_to(tmp_path)
    assert find_recordings(tmp_path) == [tmp_path / name for name in names]


def test_linked_folder_is_entered(tmp_path: Path) -> None:
    touch(tmp_path / "else", "a.wav")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/link").symlink_to(tmp_path / "else")
    assert find_recordings(tmp_path / "here") == [tmp_path / "here/link/a.wav"]


def test_folder_without_recordings(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3")
    with pytest.raises(CorpusError, match=re.escape(f"no recording under {tmp_path}")):
        find_recordings(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b/b.wav")
    (tmp_path / "b").chmod(0)
    problems: list[object] = []
    assert list(find_files(tmp_path, problems)) == [tmp_path / "a.wav"]  # type: ignore[arg-type]
    assert "folder cannot be read" in str(problems[0])
    (tmp_path / "b").chmod(0o700)


NEMO_HEADER = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"


def nemo_row(name: str, emotion: str = "anger", text: str = "Tekst", speaker: str = "        WR0") -> str:
    return f"{name}\t{emotion}\t{text}\ttekst\t{speaker}\tmale\t23\n"


def make_nemo(folder: Path, *rows: str, header: str = NEMO_HEADER) -> Source:
    folder.mkdir(exist_ok=True)
    (folder / "data.tsv").write_text(header + "".join(rows), encoding="utf-8")
    return Source(folder=folder)


def test_nemo_rows(tmp_path: Path) -> None:
    # A stray quote begins the sentence of the first row, and must not swallow the second.
    rows = (nemo_row("WR0_anger_1.wav", text='"Tekst'), nemo_row("WR0_fear_2.wav", "fear", text='a "b"'))
    touch(tmp_path, "samples/WR0_anger_1.ogg", "samples/WR0_fear_2.flac", "samples/WR0_fear_3.ogg")
    labelling = nemo.label(make_nemo(tmp_path, *rows, nemo_row("WR0_anger_4.wav")))
    assert labelling.labelled == (
        (
            tmp_path / "samples/WR0_anger_1.ogg",
            Fields(emotion="angry", speaker="nemo-WR0", gender="male", statement="1"),
        ),
        (
            tmp_path / "samples/WR0_fear_2.flac",
            Fields(emotion="fearful", speaker="nemo-WR0", gender="male", statement="2"),
        ),
    )
    assert labelling.missing == ("WR0_anger_4",)
    assert [str(extra) for extra in labelling.extra] == ["samples/WR0_fear_3.ogg: not in data.tsv"]
    assert labelling.problems == ()


def test_nemo_rows_that_cannot_be(tmp_path: Path) -> None:
    touch(tmp_path, "a.ogg", "b.ogg", "c.ogg")
    rows = [nemo_row("a.wav", "joy"), nemo_row("b.wav", speaker=""), nemo_row("c.wav"), nemo_row("c.wav")]
    labelling = nemo.label(make_nemo(tmp_path, *rows))
    assert [path.name for path, _ in labelling.labelled] == ["c.ogg"]
    assert [str(problem).removeprefix(f"{tmp_path}/") for problem in labelling.problems] == [
        f"data.tsv, line 2: unknown emotion 'joy', expected one of {', '.join(nemo.LABEL_MAP)}",
        "data.tsv, line 3: no speaker_id",
        "data.tsv, line 5: c is there twice",
    ]
    assert labelling.extra == ()


def test_nemo_without_its_table(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no data\.tsv under"):
        nemo.label(Source(folder=touch(tmp_path, "a.ogg")))


def label_table(folder: Path, text: str | bytes, label_map: dict[str, str] | None = None) -> list[Fields]:
    """Labels of a table whose recordings a.wav, b.wav and c.wav exist."""
    touch(folder, "a.wav", "b.wav", "c.wav")
    path = folder / "my.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    source = Source(folder=folder, labels=path, label_map=label_map or {})
    return [fields for _, fields in table.label(source).labelled]


def test_table_of_ones_own(tmp_path: Path) -> None:
    text = (
        "\ufefffile,emotion,speaker,gender,statement,age,sha256\r\n"
        'a.wav,Happy,anna,F,"one, ""two""\nthree",33,no\r\n'
        "\r\n"
        " b.wav , joy ,,diverse,,,\r\n"
    )
    assert label_table(tmp_path, text, {"joy": "happy"}) == [
        Fields(
            emotion="happy",
            speaker="csv-anna",
            gender="female",
            statement='one, "two"\nthree',
            extra={"age": "33"},
        ),
        Fields(emotion="happy", gender="diverse", extra={"age": ""}),
    ]


def test_table_names_files_that_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "my.csv"
    path.write_text(f"file,emotion\na.wav,sad\nx.wav,sad\n{'y' * 300}.wav,sad\n")
    labelling = table.label(Source(folder=touch(tmp_path, "a.wav"), labels=path))
    assert len(labelling.labelled) == 1
    assert str(labelling.problems[0]) == f"{path}, line 3: no such file: {tmp_path}/x.wav"
    assert "line 4: no such file" in str(labelling.problems[1])


def test_absolute_paths_and_another_folder(tmp_path: Path) -> None:
    touch(tmp_path / "sound", "a.wav", "b.wav")
    path = tmp_path / "my.csv"
    path.write_text(f"file,emotion\na.wav,sad\n{tmp_path}/sound/b.wav,sad\n")
    labelling = table.label(Source(folder=tmp_path / "sound", labels=path))
    assert [found for found, _ in labelling.labelled] == [
        tmp_path / "sound/a.wav",
        tmp_path / "sound/b.wav",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no row under a header"),
        ("file,emotion\n", "holds no row under a header"),
        ("file,label\na.wav,sad\n", "line 1: no column 'emotion', expected file,emotion, found 'file,label'"),
        ("file;emotion\na.wav;sad\n", "line 1: no column 'file'"),
        ("\n\nname,emotion\na.wav,sad\n", "line 3: no column 'file'"),
        ("file,emotion,emotion\na.wav,sad,sad\n", "line 1: the column 'emotion' is there twice"),
        ("file,emotion\na.wav\n", "line 2: expected 2 cells as in the header, found 1"),
        ("file,emotion\na.wav,sad,x\n", "line 2: expected 2 cells as in the header, found 3"),
        ("file,emotion\na.wav,sad\n,sad\n", "line 3: the cell 'file' is empty"),
        ("file,emotion\na.wav,sad\nb.wav,sad\n./a.wav,sad\n", r"line 4: \./a\.wav is already on line 2"),
        ("file,emotion\na.wav,sad\nb.wav,j\0y\n", "line 3: holds a NUL character"),
        (b"file,emotion\na.wav,sad\nb\xe9.wav,sad\n", "line 3: not UTF-8 text .*save the table as UTF-8"),
        ("file,emotion\n".encode("utf-16"), "line 1: not UTF-8 text"),
        (f"file,emotion\na.wav,{'x' * 200_000}\n", "line 2: not valid CSV .field larger"),
        ('file,emotion\na.wav,"sad\n', "line 2: not valid CSV"),
        ('file,emotion\na.wav,sad\nb.wav,"sad"x\n', "line 3: not valid CSV"),
    ],
    ids=range(16),
)
def test_table_that_cannot_be(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(CorpusError, match=message) as raised:
        label_table(tmp_path, text)
    assert str(tmp_path / "my.csv") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_labels_that_are_no_emotion(tmp_path: Path) -> None:
    rows = "".join(f"{number}.wav,joy{number}\n" for number in range(7))
    with pytest.raises(CorpusError) as raised:
        label_table(tmp_path, "file,emotion\na.wav,sad\n" + rows)
    assert str(raised.value) == (
        f"{tmp_path}/my.csv holds labels that are no emotion "
        "(line 3: 'joy0'; line 4: 'joy1'; line 5: 'joy2'; line 6: 'joy3'; line 7: 'joy4'; and 2 more): "
        "expected neutral, calm, happy, sad, angry, fearful, disgust, surprised; "
        "map others with --map, as in --map surprise=surprised"
    )


@pytest.mark.parametrize("name", ["missing.csv", "folder"])
def test_table_that_is_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CorpusError, match="no such file" if name == "missing.csv" else "is not a file"):
        table.label(Source(folder=tmp_path, labels=tmp_path / name))


def test_table_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--labels"):
        table.label(Source(folder=tmp_path))
