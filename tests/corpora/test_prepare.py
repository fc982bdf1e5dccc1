"""Preparing: from recordings to rows of the index."""

import json
import os
import shutil
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sercli.corpora.corpus import Source
from sercli.corpora.datasets import nemo, ravdess, user_table
from sercli.corpora.index import read_index
from sercli.corpora.prepare import decode_recordings, prepare_corpus
from sercli.errors import ArchiveError, CorpusError, InputError
from sercli.files import hash_file
from sercli.splits.protocols import make_folds
from tests.corpora.archives import zip_folder
from tests.corpora.preparing import NAME, prepare, read, request
from tests.sounds import make_tone, write_sound, write_tone
from tests.splits.indexes import OF_RAVDESS, side_of
from tests.toy import make_ravdess


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_folder_is_indexed_where_it_lies(tmp_path: Path, suffix: str) -> None:
    toy = make_ravdess(tmp_path / "toy", speakers=2, takes=2, seconds=0.25, suffix=suffix)
    outcome = prepare(tmp_path, source=toy)
    index = read(tmp_path)
    assert outcome.utterances == index.utterances
    assert len(index) == 2 * 4 * 2
    assert sorted(index.path_of(row) for row in index.utterances) == sorted(toy.rglob(f"*{suffix}"))
    row = index.utterances[0]
    assert row == replace(
        row,
        corpus="ravdess",
        speaker="ravdess-01",
        gender="male",
        emotion="neutral",
        intensity="normal",
        statement="kids",
        repetition="1",
        duration=0.25,
        sample_rate=16_000,
        channels=1,
        sha256=hash_file(index.path_of(row)),
        duplicate_of="",
    )
    assert len(outcome.missing) == 1440 - len(index)
    assert outcome.miscounted["neutral"] == (96, 4)
    assert outcome.problems == ()
    assert not outcome.unchanged


def test_rows_do_not_depend_on_jobs(tmp_path: Path, toy: Path) -> None:
    one = prepare(tmp_path / "one", source=toy, jobs=1)
    assert prepare(tmp_path / "two", source=toy, jobs=3).utterances == one.utterances


def test_files_below_the_index_have_relative_names(tmp_path: Path) -> None:
    make_ravdess(tmp_path / "data/mine", speakers=1, takes=1, seconds=0.1)
    prepare(tmp_path, source=tmp_path / "data/mine")
    assert read(tmp_path).utterances[0].file == "mine/Actor_01/03-01-01-01-01-01-01.wav"


def test_progress_counts_recordings(tmp_path: Path, toy: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    prepare_corpus(request(tmp_path, source=toy), lambda *step: seen.append(step))
    assert seen == [(done, 8, "index") for done in range(1, 9)]


def test_same_sound_in_another_format_is_a_duplicate(tmp_path: Path, toy: Path) -> None:
    samples = np.round(make_tone(seconds=0.2) * 2**15) / 2**15
    write_sound(toy / "x/03-01-06-01-01-01-05.wav", samples)
    write_sound(toy / "y/03-01-07-01-01-01-05.flac", samples)
    write_sound(toy / "z/03-01-08-01-01-01-05.wav", samples, 8_000)
    rows = {row.emotion: row for row in prepare(tmp_path, source=toy).utterances if "-05" in row.speaker}
    assert rows["disgust"].duplicate_of == rows["fearful"].file
    assert rows["disgust"].sha256 != rows["fearful"].sha256
    assert rows["surprised"].duplicate_of == ""


def write_bad_recordings(folder: Path) -> dict[str, str]:
    """Files of good names that cannot be used, and what is said of each."""
    tone = make_tone(seconds=2)
    reasons = {}

    def path(repetition: int, suffix: str = ".wav", reason: str = "") -> Path:
        actor, repetition = 20 + repetition // 2, repetition % 2 + 1
        name = f"03-01-05-01-01-{repetition:02}-{actor:02}{suffix}"
        reasons[name] = reason
        return folder / name

    path(0, reason="is not a sound file").write_text("this is text\n" * 100)
    path(1, reason="is an empty file").touch()
    write_sound(path(2, reason="contains no samples"), tone[:0])
    write_sound(path(3, reason="not finite"), np.full((1000, 1), np.nan), subtype="FLOAT")
    for number, suffix in ((4, ".wav"), (5, ".flac"), (6, ".ogg")):
        cut = write_sound(path(number, suffix, "cut short"), tone)
        os.truncate(cut, int(cut.stat().st_size * 0.6))
    path(7, reason="no such file").symlink_to("nowhere.wav")
    os.mkfifo(path(8, reason="is not a regular file"))
    path(9, reason="").mkdir()  # a folder of that name is looked into, and nothing is in it
    return {name: reason for name, reason in reasons.items() if reason}


def test_bad_recordings_are_reported_and_the_rest_is_indexed(tmp_path: Path, toy: Path) -> None:
    reasons = write_bad_recordings(toy)
    write_tone(toy / "no name.wav")
    outcome = prepare(tmp_path, source=toy, jobs=2)
    assert len(outcome.utterances) == 8
    said = {problem.file: problem.reason for problem in outcome.problems}
    assert said.keys() == {*reasons, "no name.wav"}
    assert "seven numbers" in said["no name.wav"]
    assert [name for name, reason in reasons.items() if reason not in said[name]] == []
    assert not any("\n" in str(problem) for problem in outcome.problems)


@pytest.fixture
def prepared(tmp_path: Path, toy: Path) -> None:
    """Has loaded what a user without root's rights may not read."""
    prepare(tmp_path, source=toy)


def test_unreadable_recording_is_reported(prepared: None, without_rights: Path) -> None:
    toy = make_ravdess(without_rights / "toy", speakers=2, takes=1, seconds=0.1)
    (toy / NAME).chmod(0)
    (problem,) = prepare(without_rights, source=toy).problems
    assert str(problem) == f"{NAME}: cannot be read (Permission denied)"


def test_odd_names_survive(tmp_path: Path, toy: Path) -> None:
    folder = tmp_path / "wéird, \"quoted\"\nfolder 'x' =1+1"
    toy.rename(folder)
    prepare(tmp_path, source=folder)
    index = read(tmp_path)
    assert len(index) == 8
    assert all(index.path_of(row).is_file() for row in index.utterances)


def test_name_that_is_not_text_is_reported(tmp_path: Path, toy: Path) -> None:
    (toy / os.fsdecode(b"Actor_\xff")).mkdir()
    bad = Path(os.fsdecode(b"Actor_\xff")) / Path(NAME).name
    (toy / NAME).rename(toy / bad)
    outcome = prepare(tmp_path, source=toy)
    assert len(outcome.utterances) == 7
    assert str(outcome.problems[0]) == f"Actor_?/{bad.name}: its name is not valid UTF-8: rename it"


def test_second_corpus_adds_rows_and_the_same_replaces(tmp_path: Path, toy: Path) -> None:
    prepare(tmp_path, source=toy)
    labels = tmp_path / "my.csv"
    labels.write_text("file,emotion,speaker,room\ntoy/Actor_02/03-01-03-01-01-01-02.wav,joy,ann,9\n")
    outcome = prepare(tmp_path, user_table.CORPUS, labels=labels, label_map={"joy": "happy"})
    assert (outcome.missing, outcome.miscounted, outcome.problems) == ((), {}, ())
    index = read(tmp_path)
    assert Counter(row.corpus for row in index.utterances) == {"ravdess": 8, "csv": 1}
    assert index.utterances[0].corpus == "csv"
    assert (index.utterances[0].speaker, index.utterances[0].extra["room"]) == ("csv-ann", "9")
    (toy / NAME).unlink()
    prepare(tmp_path, source=toy)
    assert Counter(row.corpus for row in read(tmp_path).utterances) == {"ravdess": 7, "csv": 1}
    assert read(tmp_path).utterances[0].extra["room"] == "9"


def test_copy_in_another_corpus_is_a_duplicate(tmp_path: Path, toy: Path) -> None:
    prepare(tmp_path, source=toy)
    shutil.copy(toy / NAME, tmp_path / "mine.wav")
    (tmp_path / "my.csv").write_text("file,emotion\nmine.wav,happy\n")
    prepare(tmp_path, user_table.CORPUS, labels=tmp_path / "my.csv")
    (copy,) = [row for row in read(tmp_path).utterances if row.duplicate_of]
    assert (copy.file, copy.duplicate_of) == (str(toy / NAME), str(tmp_path / "mine.wav"))


def test_same_sound_in_another_format_and_corpus_is_a_duplicate(tmp_path: Path, toy: Path) -> None:
    prepare(tmp_path, source=toy)
    signal, rate = soundfile.read(toy / NAME)
    soundfile.write(tmp_path / "mine.flac", signal, rate, subtype="PCM_16")
    (tmp_path / "my.csv").write_text("file,emotion\nmine.flac,happy\n")
    for _ in range(2):
        prepare(tmp_path, user_table.CORPUS, labels=tmp_path / "my.csv", force=True)
        (copy,) = [row for row in read(tmp_path).utterances if row.duplicate_of]
        assert (copy.file, copy.duplicate_of) == (str(toy / NAME), str(tmp_path / "mine.flac"))
    write_sound(tmp_path / "mine.flac", make_tone(seconds=0.3, seed=9))
    prepare(tmp_path, user_table.CORPUS, labels=tmp_path / "my.csv")
    assert not [row for row in read(tmp_path).utterances if row.duplicate_of], "it is another sound now"


def test_duplicates_are_found_after_the_data_folder_moved_and_in_a_second_index(tmp_path: Path, toy: Path) -> None:
    prepare(tmp_path, source=toy)
    signal, rate = soundfile.read(toy / NAME)
    soundfile.write(tmp_path / "mine.flac", signal, rate, subtype="PCM_16")
    (tmp_path / "my.csv").write_text("file,emotion\nmine.flac,happy\n")
    own: dict[str, Any] = {"corpus": user_table.CORPUS, "labels": tmp_path / "my.csv"}
    prepare(tmp_path, **own)
    (tmp_path / "data").rename(tmp_path / "moved")
    (tmp_path / "data").symlink_to("moved")
    shutil.copy(tmp_path / "data/index.csv", tmp_path / "second.csv")
    for index in (tmp_path / "data/index.csv", tmp_path / "moved/index.csv", tmp_path / "second.csv"):
        for again in (own, {"source": toy}):
            prepare_corpus(replace(request(tmp_path, **again), index=index, force=True))
            (copy,) = [row for row in read_index(index).utterances if row.duplicate_of]
            assert (index.parent / copy.file).samefile(toy / NAME)


def test_second_run_does_nothing(tmp_path: Path, toy: Path) -> None:
    first = prepare(tmp_path, source=toy)
    before = (tmp_path / "data/index.csv").stat().st_mtime_ns
    second = prepare(tmp_path, source=toy)
    assert second.unchanged
    assert second.utterances == first.utterances
    assert (tmp_path / "data/index.csv").stat().st_mtime_ns == before
    assert not prepare(tmp_path, source=toy, force=True).unchanged


def test_a_duplicate_stays_marked_where_the_sound_of_the_other_is_not_known(tmp_path: Path, toy: Path) -> None:
    prepare(tmp_path, source=toy)
    signal, rate = soundfile.read(toy / NAME)
    soundfile.write(tmp_path / "mine.flac", signal, rate, subtype="PCM_16")
    (tmp_path / "my.csv").write_text("file,emotion\nmine.flac,happy\n")
    prepare(tmp_path, user_table.CORPUS, labels=tmp_path / "my.csv")
    for corpus in ("ravdess", "csv"):
        (tmp_path / "data" / corpus / "prepared.json").unlink()  # as if prepared with another data folder
    prepare(tmp_path, source=toy, force=True)
    (copy,) = [row for row in read(tmp_path).utterances if row.duplicate_of]
    assert copy.duplicate_of == str(tmp_path / "mine.flac")


def test_what_another_index_was_made_from_is_known(tmp_path: Path, toy: Path) -> None:
    signal, rate = soundfile.read(toy / NAME)
    soundfile.write(tmp_path / "mine.flac", signal, rate, subtype="PCM_16")
    write_tone(tmp_path / "other.wav", frequency=300)
    for name, index in (("mine.flac", "index.csv"), ("other.wav", "second.csv")):
        (tmp_path / "my.csv").write_text(f"file,emotion\n{name},happy\n")
        asked = request(tmp_path, user_table.CORPUS, labels=tmp_path / "my.csv")
        prepare_corpus(replace(asked, index=tmp_path / "data" / index))
    prepare(tmp_path, source=toy)
    assert len([row for row in read(tmp_path).utterances if row.duplicate_of]) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have UTF-8 names only")
def test_a_data_folder_may_have_any_name(tmp_path: Path, toy: Path) -> None:
    data = tmp_path / os.fsdecode(b"d\xff")
    asked = replace(request(tmp_path, source=toy), data_dir=data, index=data / "index.csv")
    assert not prepare_corpus(asked).unchanged
    assert prepare_corpus(asked).unchanged


def test_second_run_sees_what_changed(tmp_path: Path, toy: Path) -> None:
    old = prepare(tmp_path, source=toy)
    # An older file, with its old time of modification, put in the place of another.
    write_tone(toy / NAME, seconds=0.3)
    os.utime(toy / NAME, (0, 0))
    new = prepare(tmp_path, source=toy)
    assert not new.unchanged
    changed = [row.file for row, then in zip(new.utterances, old.utterances, strict=True) if row != then]
    assert changed == [str(toy / NAME)]


def test_second_run_sees_changed_labels(tmp_path: Path, toy: Path) -> None:
    labels = tmp_path / "my.csv"
    for text in ("a,1", "a,2", "b,2", "b,"):
        labels.write_text(f"file,emotion,speaker,room\ntoy/{NAME},sad,{text}\n")
        assert not prepare(tmp_path, user_table.CORPUS, labels=labels).unchanged
    assert prepare(tmp_path, user_table.CORPUS, labels=labels).unchanged


def test_second_run_sees_another_folder_of_the_same_name(tmp_path: Path, toy: Path) -> None:
    other = make_ravdess(tmp_path / "other", speakers=2, takes=1, seconds=0.2)
    old = prepare(tmp_path, source=toy)
    toy.rename(tmp_path / "old")
    other.rename(toy)
    new = prepare(tmp_path, source=toy)
    assert not new.unchanged
    assert [row.duration for row in new.utterances] == [2 * row.duration for row in old.utterances]


def test_second_run_with_another_index_is_not_in_place(tmp_path: Path, toy: Path) -> None:
    prepare(tmp_path, source=toy)
    other = replace(request(tmp_path, source=toy), index=tmp_path / "other.csv")
    assert not prepare_corpus(other).unchanged
    assert [row.sha256 for row in read_index(tmp_path / "other.csv").utterances] == [
        row.sha256 for row in read(tmp_path).utterances
    ]


def test_bad_recording_is_reported_every_time(tmp_path: Path, toy: Path) -> None:
    (toy / NAME).write_text("text")
    assert len(prepare(tmp_path, source=toy).problems) == 1
    second = prepare(tmp_path, source=toy)
    assert len(second.problems) == 1
    assert not second.unchanged


def copy_twice(toy: Path, folder: Path) -> Path:
    """The corpus as Kaggle has it: all of it, and again in a folder within."""
    shutil.copytree(toy, folder)
    shutil.copytree(toy, folder / "audio_speech_actors_01-24")
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_corpus_that_is_there_twice_counts_once(tmp_path: Path, toy: Path, packed: bool) -> None:
    folder = copy_twice(toy, tmp_path / "kaggle")
    outcome = prepare(tmp_path, source=zip_folder(tmp_path / "kaggle.zip", folder) if packed else folder)
    assert len(outcome.utterances) == len({Path(row.file).name for row in outcome.utterances}) == 8
    assert len(outcome.copies) == 8
    assert "copy of " in str(outcome.copies[0])
    assert (outcome.problems, outcome.extra) == ((), ())
    assert outcome.miscounted["neutral"] == (96, 2)


def test_recordings_of_one_name_that_differ_are_no_copies(tmp_path: Path, toy: Path) -> None:
    write_tone(toy / "again" / Path(NAME).name, seconds=0.3, seed=9)
    outcome = prepare(tmp_path, source=toy)
    assert outcome.copies == ()
    (problem,) = outcome.problems
    assert str(problem) == f"again/{Path(NAME).name}: has the name of {NAME} but another content"


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file or folder: .*gone"):
        prepare(tmp_path, source=tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="no recording under"):
        prepare(tmp_path, source=tmp_path / "empty")
    with pytest.raises(ArchiveError, match=r"one\.wav is a recording, expected an archive"):
        prepare(tmp_path, source=write_tone(tmp_path / "one.wav"))
    assert not (tmp_path / "data/index.csv").exists()


def test_nothing_of_use_there(tmp_path: Path) -> None:
    write_tone(tmp_path / "other/hello.wav")
    with pytest.raises(
        CorpusError, match=r"can be indexed as ravdess; first failure: hello\.wav: not a file name of ravdess"
    ):
        prepare(tmp_path, source=tmp_path / "other")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / Path(NAME).name).write_text("text")
    with pytest.raises(CorpusError, match=r"no recording under .* first failure: 03-01-03"):
        prepare(tmp_path, source=tmp_path / "text")
    assert not (tmp_path / "data/index.csv").exists()


def test_damaged_index_is_reported_at_once_and_kept(tmp_path: Path, toy: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/index.csv").write_text("file,corpus\n")
    with pytest.raises(CorpusError, match=r"lacks the column 'speaker'.*move it away"):
        prepare(tmp_path, source=toy, force=True)
    assert (tmp_path / "data/index.csv").read_text() == "file,corpus\n"


def test_damaged_markers_mean_doing_it_again(tmp_path: Path, toy: Path) -> None:
    archive = zip_folder(tmp_path / "toy.zip", toy)
    prepare(tmp_path, source=archive)
    for marker in ("prepared.json", "recordings/.sercli.json"):
        for text in ("", "[]", json.dumps({"started_ns": "x", "md5": 1})):
            (tmp_path / "data/ravdess" / marker).write_text(text)
            assert not prepare(tmp_path, source=archive).unchanged
            assert prepare(tmp_path, source=archive).unchanged


def test_recordings_are_decoded_in_order(tmp_path: Path) -> None:
    paths = [write_tone(tmp_path / f"{number}.wav", seconds=0.1 + number / 10) for number in range(5)]
    paths.insert(2, tmp_path / "gone.wav")
    results = list(decode_recordings(paths, 3))
    assert results[2] == "no such file"
    durations = [result[0].duration for result in results if not isinstance(result, str)]
    assert durations == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.corpus
def test_real_ravdess_is_whole_and_its_duplicates_stay_together(tmp_path: Path, corpora: Path) -> None:
    outcome = prepare(tmp_path, source=corpora / "ravdess", jobs=2)
    rows = outcome.utterances
    assert (outcome.problems, outcome.missing, outcome.extra, outcome.miscounted) == ((), (), (), {})
    assert len(rows) == 1440
    assert Counter(row.speaker for row in rows) == {f"ravdess-{actor:02}": 60 for actor in range(1, 25)}
    assert Counter(row.gender for row in rows) == {"male": 720, "female": 720}
    assert Counter(row.emotion for row in rows) == ravdess.CORPUS.counts
    assert {row.sample_rate for row in rows} == {48_000}
    assert sum(row.channels == 2 for row in rows) == 5
    (copy,) = [row for row in rows if row.duplicate_of]
    assert Path(copy.file).parent == Path(copy.duplicate_of).parent == corpora / "ravdess/Actor_07"
    index = read_index(tmp_path / "data/index.csv")
    twins = [n for n, row in enumerate(index.utterances) if row.file in {copy.file, copy.duplicate_of}]
    assert len(twins) == 2
    for protocol in set(OF_RAVDESS) - {"split"}:
        for fold in make_folds(index, protocol, 0):
            assert len({side_of(fold, position) for position in twins}) == 1
    assert prepare(tmp_path, source=corpora / "ravdess").unchanged


@pytest.mark.corpus
def test_real_nemo(corpora: Path) -> None:
    labeled = nemo.CORPUS.label(Source(folder=corpora / "nemo"))
    annotations = [annotation for _, annotation in labeled.recordings]
    assert (labeled.problems, labeled.missing, labeled.extra) == ((), (), ())
    assert len(annotations) == 4481
    assert len({annotation.speaker for annotation in annotations}) == 9
    assert all(annotation.speaker.startswith("nemo-") for annotation in annotations)
    assert Counter(annotation.emotion for annotation in annotations) == nemo.CORPUS.counts
    assert Counter(annotation.gender for annotation in annotations) == {"male": 2412, "female": 2069}
    # Decoding all of it would take a minute.
    for result in decode_recordings([path for path, _ in labeled.recordings[::40]], 2):
        assert not isinstance(result, str)
        assert (result[0].sample_rate, result[0].channels) == (16_000, 1)
