"""The user's own recordings in folders and in audformat databases."""

import subprocess
from pathlib import Path

import audformat
import pytest

from sercli.corpora.corpus import LabeledRecordings, Source
from sercli.corpora.datasets import audformat_database, folders
from sercli.errors import CorpusError, UsageError
from sercli.labels import LabelMerger
from tests.corpora.files import touch
from tests.sounds import write_tone

NAMED = "name: x\nsource: y\nusage: research\n"


def test_folder_names_are_labels(tmp_path: Path) -> None:
    names = ("calls/Angry/1.wav", "calls/fed up/2.wav", "calls/ΧΑΡΑ/x/Joy/3.wav", "calls/__MACOSX/Angry/4.wav")
    touch(tmp_path, *names, f"{'y' * 100}/5.wav", "6.wav", "calls/Angry/._1.wav", "calls/Angry/notes.txt")
    labeled = folders.label(Source(folder=tmp_path, merge=LabelMerger({"joy": "happy"})))
    assert {path.relative_to(tmp_path).as_posix(): each.emotion for path, each in labeled.recordings} == {
        "calls/Angry/1.wav": "angry",
        "calls/fed up/2.wav": "fed up",
        "calls/ΧΑΡΑ/x/Joy/3.wav": "happy",
    }
    assert {problem.file: problem.reason.split(":")[0][-12:] for problem in labeled.problems} == {
        "6.wav": "bel's folder",
        f"{'y' * 100}/5.wav": "t be a label",
    }


def test_folders_whose_names_differ_only_by_case_are_refused(tmp_path: Path) -> None:
    source = Source(folder=touch(tmp_path, "fed up/1.wav", "Fed_up/2.wav", "Sad/3.wav", "sad/4.wav"))
    with pytest.raises(
        UsageError,
        match="differ only by case, spaces, hyphens or underscores: 'Fed_up' and 'fed up'; merge them with --map",
    ):
        folders.label(source)
    labeled = folders.label(Source(folder=tmp_path, merge=LabelMerger({"Fed_up": "fed up"})))
    assert [annotation.emotion for _, annotation in labeled.recordings] == ["fed up", "sad", "fed up", "sad"]


def make_database(folder: Path, *, storage: str = "csv", segments: bool = False) -> Path:
    """Writes a database of three recordings: one to train on, one to test on, and one that is missing."""
    for name in ("a", "b"):
        write_tone(folder / f"wav/{name}.wav", seconds=0.2, frequency=ord(name) * 3)
    database = audformat.Database("calls")
    database.schemes["emotion"] = audformat.Scheme(labels=["anger", "boredom"])
    database.schemes["speaker"] = audformat.Scheme(labels={1: {"gender": "F"}, 2: {"gender": "male"}})
    for split, files, labels in (("train", ["a", "c"], ["anger", "anger"]), ("test", ["b"], ["boredom"])):
        database.splits[split] = audformat.Split(split)
        index = audformat.filewise_index([f"wav/{name}.wav" for name in files])
        if segments:
            index = audformat.segmented_index(index, [0.0] * len(files), [0.05] * len(files))
        database[f"emotion.{split}"] = audformat.Table(index, split_id=split)
        database[f"emotion.{split}"]["label"] = audformat.Column(scheme_id="emotion")
        database[f"emotion.{split}"]["label"].set(labels)
    database["files"] = audformat.Table(audformat.filewise_index([f"wav/{name}.wav" for name in "abc"]))
    database["files"]["speaker"] = audformat.Column(scheme_id="speaker")
    database["files"]["speaker"].set([1, 2, 2])
    database.save(str(folder), storage_format=storage)
    return folder


def label_database(folder: Path) -> LabeledRecordings:
    return audformat_database.label(Source(folder=folder, merge=LabelMerger({"anger": "angry"})))


@pytest.mark.parametrize("storage", ["csv", "parquet"])
def test_tables_and_splits_of_a_database(tmp_path: Path, storage: str) -> None:
    make_database(tmp_path / "calls/1.0.0", storage=storage)
    labeled = label_database(tmp_path)
    assert [
        (path.name, each.emotion, each.speaker, each.gender, dict(each.extra)) for path, each in labeled.recordings
    ] == [
        ("a.wav", "angry", "audformat-1", "female", {"split": "train"}),
        ("b.wav", "boredom", "audformat-2", "male", {"split": "test"}),
    ]
    assert [str(problem) for problem in labeled.problems] == ["wav/c.wav: no such file"]


def test_labels_of_segments_are_problems(tmp_path: Path) -> None:
    labeled = label_database(make_database(tmp_path, segments=True))
    assert labeled.recordings == ()
    assert sum("has labels of segments" in problem.reason for problem in labeled.problems) == 2


def test_pickled_tables_and_tags_are_not_run(tmp_path: Path) -> None:
    make_database(tmp_path)
    trap = tmp_path / "ran"
    code = f"""cposix\nsystem\n(S'touch {trap}'\ntR."""
    for table in ("emotion.train", "emotion.test", "files"):
        (tmp_path / f"db.{table}.pkl").write_bytes(code.encode())
    assert len(label_database(tmp_path).recordings) == 2
    assert not trap.exists()
    header = tmp_path / "db.yaml"
    header.write_text(header.read_text() + f"\nmeta: !!python/object/apply:os.system ['touch {trap}']\n")
    with pytest.raises(CorpusError, match="cannot be read as an audformat database"):
        label_database(tmp_path)
    assert not trap.exists()
    subprocess.run(["python3", "-c", f"import pickle; pickle.loads({code.encode()!r})"], check=True)
    assert trap.exists(), "the trap itself does not work"


def test_a_table_name_that_leads_to_a_pickle_elsewhere_is_refused(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    (tmp_path / "payload.pkl").write_bytes(f"""cposix\nsystem\n(S'touch {trap}'\ntR.""".encode())
    name = f"x/{'../' * 20}{tmp_path.relative_to('/')}/payload"
    tables = (
        f"schemes: {{emotion: {{}}}}\ntables: {{{name}: {{type: filewise, columns: {{e: {{scheme_id: emotion}}}}}}}}\n"
    )
    (tmp_path / "db.yaml").write_text(NAMED + tables)
    with pytest.raises(CorpusError, match=r"cannot be read as an audformat database .*is not a file name"):
        label_database(tmp_path)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read as an audformat database"),
        ("{", "cannot be read as an audformat database"),
        (NAMED, "no labels of a scheme 'emotion'|cannot be read"),
        (
            NAMED + "schemes: {emotion: {}}\ntables: {../../t: {columns: {emotion: {scheme_id: emotion}}}}\n",
            "cannot be read as an audformat database",
        ),
    ],
    ids=range(4),
)
def test_database_that_cannot_be_read(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "db.yaml").write_text(content)
    with pytest.raises(CorpusError, match=message) as told:
        label_database(tmp_path)
    assert "\n" not in str(told.value)


def test_aliases_that_would_grow_without_bound_are_refused_and_plain_ones_are_not(tmp_path: Path) -> None:
    make_database(tmp_path)
    header = tmp_path / "db.yaml"
    text = header.read_text()
    header.write_text(f"{text}\nmeta: {{one: &x [1, 2], two: &y {{k: *x}}, three: *y}}\n")
    assert len(label_database(tmp_path).recordings) == 2
    bomb = "".join(f"  a{n}: &a{n} {{{', '.join(f'k{m}: *a{n - 1}' for m in range(9))}}}\n" for n in range(1, 30))
    header.write_text(f"{text}\nmeta:\n  a0: &a0 {{x: 1}}\n{bomb}")
    with pytest.raises(CorpusError, match="YAML aliases are nested too deeply"):
        label_database(tmp_path)


def test_one_of_several_databases_is_not_chosen(tmp_path: Path) -> None:
    touch(tmp_path, "one/db.yaml", "two/db.yaml")
    with pytest.raises(CorpusError, match=r"2 databases under .*: expected the folder of one audformat database"):
        label_database(tmp_path)


def test_folder_without_a_database(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no db\.yaml under"):
        label_database(touch(tmp_path, "a.wav"))
