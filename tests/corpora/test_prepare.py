"""Preparing: from a folder, an archive or a download to rows of the index."""

import hashlib
import json
import os
import shutil
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sercli.corpora.corpus import Corpus, PinnedFile, Source
from sercli.corpora.datasets import folders, nemo, ravdess, user_table
from sercli.corpora.download import RetryPolicy
from sercli.corpora.index import Index, read_index, write_index
from sercli.corpora.prepare import Outcome, Request, decode_recordings, prepare_corpus
from sercli.errors import ArchiveError, CorpusError, DownloadError, InputError, UsageError
from sercli.files import hash_file
from tests.corpora import server
from tests.corpora.server import Shop, open_shop
from tests.sounds import make_tone, write_sound, write_tone
from tests.toy import make_ravdess

HASTY = RetryPolicy(attempts=2, first_wait=0.01, longest_wait=0.01, timeout=5)
NAME = "Actor_01/03-01-03-01-01-01-01.wav"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return make_ravdess(tmp_path / "toy", speakers=2, takes=1, seconds=0.1)


def request(tmp_path: Path, corpus: Corpus = ravdess.CORPUS, **fields: Any) -> Request:
    data = tmp_path / "data"
    return Request(corpus=corpus, index=data / "index.csv", data_dir=data, policy=HASTY, **fields)


def prepare(tmp_path: Path, corpus: Corpus = ravdess.CORPUS, **fields: Any) -> Outcome:
    return prepare_corpus(request(tmp_path, corpus, **fields))


def read(tmp_path: Path) -> Index:
    return read_index(tmp_path / "data/index.csv")


def make_zip(path: Path, folder: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as stream:
        for file in sorted(folder.rglob("*.*")):
            stream.write(file, f"deep/down/{file.relative_to(folder)}")
    return path


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
    seen: list[tuple[str, int, int]] = []
    prepare_corpus(request(tmp_path, source=toy), lambda *step: seen.append(step))
    assert seen == [("index", done, 8) for done in range(1, 9)]


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


def test_bad_recordings_are_told_and_the_rest_is_indexed(tmp_path: Path, toy: Path) -> None:
    reasons = write_bad_recordings(toy)
    write_tone(toy / "no name.wav")
    outcome = prepare(tmp_path, source=toy, jobs=2)
    assert len(outcome.utterances) == 8
    said = {problem.file: problem.reason for problem in outcome.problems}
    assert said.keys() == {*reasons, "no name.wav"}
    assert "seven numbers" in said["no name.wav"]
    assert [name for name, reason in reasons.items() if reason not in said[name]] == []
    assert not any("\n" in str(problem) for problem in outcome.problems)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable_recording_is_told(tmp_path: Path, toy: Path) -> None:
    (toy / NAME).chmod(0)
    (problem,) = prepare(tmp_path, source=toy).problems
    assert "cannot be read (Permission denied)" in str(problem)


def test_odd_names_survive(tmp_path: Path, toy: Path) -> None:
    folder = tmp_path / "wéird, \"quoted\"\nfolder 'x' =1+1"
    toy.rename(folder)
    prepare(tmp_path, source=folder)
    index = read(tmp_path)
    assert len(index) == 8
    assert all(index.path_of(row).is_file() for row in index.utterances)


def test_name_that_is_not_text_is_told(tmp_path: Path, toy: Path) -> None:
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


def test_second_run_does_nothing(tmp_path: Path, toy: Path) -> None:
    first = prepare(tmp_path, source=toy)
    before = (tmp_path / "data/index.csv").stat().st_mtime_ns
    second = prepare(tmp_path, source=toy)
    assert second.unchanged
    assert second.utterances == first.utterances
    assert (tmp_path / "data/index.csv").stat().st_mtime_ns == before
    assert not prepare(tmp_path, source=toy, force=True).unchanged


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


def test_bad_recording_is_told_every_time(tmp_path: Path, toy: Path) -> None:
    (toy / NAME).write_text("text")
    assert len(prepare(tmp_path, source=toy).problems) == 1
    second = prepare(tmp_path, source=toy)
    assert len(second.problems) == 1
    assert not second.unchanged


def test_zip_is_unpacked_below_data_once(tmp_path: Path, toy: Path) -> None:
    archive = make_zip(tmp_path / "toy.zip", toy)
    seen: list[str] = []
    prepare_corpus(request(tmp_path, source=archive), lambda stage, *_: seen.append(stage))
    assert set(seen) == {"unpack", "index"}
    assert read(tmp_path).utterances[0].file.startswith("ravdess/recordings/deep/down/Actor_01/")
    assert prepare(tmp_path, source=archive).unchanged
    (tmp_path / "data" / read(tmp_path).utterances[0].file).unlink()
    assert not prepare(tmp_path, source=archive).unchanged
    assert len(read(tmp_path)) == 8


def test_another_zip_replaces_the_first(tmp_path: Path, toy: Path) -> None:
    prepare(tmp_path, source=make_zip(tmp_path / "toy.zip", toy))
    (toy / NAME).unlink()
    prepare(tmp_path, source=make_zip(tmp_path / "less.zip", toy))
    assert len(read(tmp_path)) == 7
    assert len(list((tmp_path / "data").rglob("*.wav"))) == 7


def test_what_a_zip_replaces_comes_back_if_it_cannot_be_indexed(tmp_path: Path, toy: Path) -> None:
    prepare(tmp_path, source=make_zip(tmp_path / "toy.zip", toy))
    before = read(tmp_path)
    write_tone(tmp_path / "others/other.wav")
    with pytest.raises(CorpusError, match="nothing under"):
        prepare(tmp_path, source=make_zip(tmp_path / "other.zip", tmp_path / "others"))
    assert read(tmp_path) == before
    assert sorted(path.name for path in (tmp_path / "data/ravdess").iterdir()) == ["prepared.json", "recordings"]
    assert all((tmp_path / "data" / row.file).is_file() for row in before.utterances)
    assert prepare(tmp_path, source=tmp_path / "toy.zip").unchanged


def test_nothing_is_removed_where_nothing_is_unpacked(tmp_path: Path, toy: Path) -> None:
    mine = write_tone(tmp_path / "data/ravdess/recordings.old/mine.wav")
    prepare(tmp_path, source=toy)
    with pytest.raises(CorpusError, match="nothing under"):
        prepare(tmp_path, source=mine.parent)
    assert mine.is_file()


def copy_twice(toy: Path, folder: Path) -> Path:
    """The corpus as Kaggle has it: all of it, and again in a folder within."""
    shutil.copytree(toy, folder)
    shutil.copytree(toy, folder / "audio_speech_actors_01-24")
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_corpus_that_is_there_twice_counts_once(tmp_path: Path, toy: Path, packed: bool) -> None:
    folder = copy_twice(toy, tmp_path / "kaggle")
    outcome = prepare(tmp_path, source=make_zip(tmp_path / "kaggle.zip", folder) if packed else folder)
    assert len(outcome.utterances) == len({Path(row.file).name for row in outcome.utterances}) == 8
    assert len(outcome.copies) == 8
    assert "copy of " in str(outcome.copies[0])
    assert (outcome.problems, outcome.extra) == ((), ())
    assert outcome.miscounted["neutral"] == (96, 2)


def test_folder_of_archives_is_unpacked_once(tmp_path: Path, toy: Path) -> None:
    for actor in ("Actor_01", "Actor_02"):
        make_zip(tmp_path / f"zips/{actor}.zip", toy / actor)
    assert len(prepare(tmp_path, source=tmp_path / "zips").utterances) == 8
    assert read(tmp_path).utterances[0].file.startswith("ravdess/recordings/Actor_01.zip/deep/down/03-")
    assert prepare(tmp_path, source=tmp_path / "zips").unchanged
    (tmp_path / "zips/Actor_02.zip").unlink()
    assert len(prepare(tmp_path, source=tmp_path / "zips").utterances) == 4


def test_archive_of_archives_is_indexed(tmp_path: Path, toy: Path) -> None:
    for actor in ("Actor_01", "Actor_02"):
        make_zip(tmp_path / f"zips/{actor}.zip", toy / actor)
    outcome = prepare(tmp_path, source=make_zip(tmp_path / "all.zip", tmp_path / "zips"))
    assert len(outcome.utterances) == 8
    assert prepare(tmp_path, source=tmp_path / "all.zip").unchanged


def test_archive_beside_recordings_is_named(tmp_path: Path, toy: Path) -> None:
    make_zip(tmp_path / "again.zip", toy).rename(toy / "again.zip")  # not in place, where it would hold itself
    outcome = prepare(tmp_path, source=toy)
    assert len(outcome.utterances) == 8
    assert [str(extra) for extra in outcome.extra] == ["again.zip: archive beside recordings, not unpacked"]


def test_folder_of_archives_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/all.7z").write_bytes(b"7z")
    with pytest.raises(CorpusError, match=r"no recording under .*/x, but all\.7z, .*: unpack it and give the folder"):
        prepare(tmp_path, source=tmp_path / "x")


def test_git_lfs_pointers_are_named(tmp_path: Path, toy: Path) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 72862\n"
    (toy / NAME).write_text(pointer)
    (problem,) = prepare(tmp_path, source=toy).problems
    assert str(problem) == f"{NAME}: is a Git LFS pointer, not the file itself: run 'git lfs pull' in its repository"
    for path in toy.rglob("*.wav"):
        path.write_text(pointer)
    with pytest.raises(CorpusError, match=r"none of the 8 recordings .* the first: .*: run 'git lfs pull'"):
        prepare(tmp_path, source=toy)


def test_git_annex_pointers_are_named(tmp_path: Path, toy: Path) -> None:
    names = sorted(path.relative_to(toy).as_posix() for path in toy.rglob("*.wav"))
    (toy / names[0]).unlink()
    (toy / names[0]).symlink_to(".git/annex/objects/Xx/Yy/MD5E-s9--00.wav/MD5E-s9--00.wav")
    (toy / names[1]).write_text("/annex/objects/MD5E-s9--00.wav\n")
    problems = prepare(tmp_path, source=toy).problems
    assert [problem.file for problem in problems] == names[:2]
    assert all("git-annex pointer" in problem.reason for problem in problems)


def test_folder_of_another_owner_is_not_replaced(tmp_path: Path, toy: Path) -> None:
    mine = write_tone(tmp_path / "data/ravdess/recordings/mine.wav")
    with pytest.raises(InputError, match="was not created by sercli"):
        prepare(tmp_path, source=make_zip(tmp_path / "toy.zip", toy))
    assert mine.is_file()


def test_zip_cut_short_changes_nothing(tmp_path: Path, toy: Path) -> None:
    archive = make_zip(tmp_path / "toy.zip", toy)
    prepare(tmp_path, source=archive)
    before = read(tmp_path)
    os.truncate(archive, archive.stat().st_size // 2)
    with pytest.raises(ArchiveError, match="not a valid zip archive"):
        prepare(tmp_path, source=archive)
    assert read(tmp_path) == before
    assert len(list((tmp_path / "data").rglob("*.wav"))) == 8


def pinned_to(shop: Shop) -> Corpus:
    md5 = hashlib.md5(shop.content, usedforsecurity=False).hexdigest()
    archive = PinnedFile(url=shop.url, name="toy.zip", size=len(shop.content), md5=md5)
    return replace(ravdess.CORPUS, archive=archive)


def test_download_is_fetched_unpacked_and_indexed(tmp_path: Path, toy: Path) -> None:
    content = make_zip(tmp_path / "toy.zip", toy).read_bytes()
    seen: list[str] = []
    with open_shop(content, server.cut_after(5_000)) as shop:
        prepare_corpus(request(tmp_path, pinned_to(shop)), lambda stage, *_: seen.append(stage))
        assert shop.ranges == ["", "bytes=5000-"]
        assert sorted(set(seen), key=seen.index) == ["download", "unpack", "index"]
        assert len(read(tmp_path)) == 8
        # All is in place, then all but the index, the recordings, and the archive.
        assert prepare(tmp_path, pinned_to(shop)).unchanged
        (tmp_path / "data/index.csv").unlink()
        assert not prepare(tmp_path, pinned_to(shop)).unchanged
        shutil.rmtree(tmp_path / "data/ravdess/recordings")
        assert len(prepare(tmp_path, pinned_to(shop)).utterances) == 8
        (tmp_path / "data/ravdess/toy.zip").unlink()
        assert prepare(tmp_path, pinned_to(shop)).unchanged
        assert len(shop.ranges) == 2


def test_verified_zip_is_gone_on_from(tmp_path: Path, toy: Path) -> None:
    home = tmp_path / "data/ravdess"
    home.mkdir(parents=True)
    with open_shop(make_zip(home / "toy.zip", toy).read_bytes()) as shop:
        prepare(tmp_path, pinned_to(shop))
        assert shop.ranges == []
    assert len(read(tmp_path)) == 8


def test_altered_download_is_not_unpacked(tmp_path: Path, toy: Path) -> None:
    content = make_zip(tmp_path / "toy.zip", toy).read_bytes()
    with open_shop(content) as shop:
        corpus = pinned_to(shop)
        shop.content = content[:-1] + b"x"
        with pytest.raises(DownloadError, match="altered or damaged"):
            prepare(tmp_path, corpus)
    assert list((tmp_path / "data").rglob("*.*")) == []


@pytest.mark.parametrize(
    ("corpus", "fields", "message"),
    [
        (nemo.CORPUS, {}, "cannot download nemo: .*amu-cai/nEMO.*--from PATH"),
        (user_table.CORPUS, {}, "give it with --labels FILE"),
        (ravdess.CORPUS, {"labels": Path("x.csv")}, "--labels is for the corpus csv"),
        (ravdess.CORPUS, {"label_map": {"joy": "happy"}}, "--map is for your own recordings .audformat, csv, fol"),
        (folders.CORPUS, {}, "folders needs your recordings: give their folder or archive with --from PATH"),
        (ravdess.CORPUS, {"url": "http://x", "source": Path()}, "--url is for a download"),
        (nemo.CORPUS, {"url": "http://x"}, "--url is for a download"),
    ],
)
def test_wrong_requests(tmp_path: Path, corpus: Corpus, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        prepare(tmp_path, corpus, **fields)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file or folder: .*gone"):
        prepare(tmp_path, source=tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="no recording under"):
        prepare(tmp_path, source=tmp_path / "empty")
    with pytest.raises(ArchiveError, match="not a valid zip archive"):
        prepare(tmp_path, source=write_tone(tmp_path / "one.wav"))
    assert not (tmp_path / "data/index.csv").exists()


def test_nothing_of_use_there(tmp_path: Path) -> None:
    write_tone(tmp_path / "other/hello.wav")
    with pytest.raises(CorpusError, match=r"can be indexed as ravdess; the first: hello\.wav: not a name"):
        prepare(tmp_path, source=tmp_path / "other")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / Path(NAME).name).write_text("text")
    with pytest.raises(CorpusError, match=r"none of the 1 recordings .* the first: 03-01-03"):
        prepare(tmp_path, source=tmp_path / "text")
    assert not (tmp_path / "data/index.csv").exists()


def test_damaged_index_is_said_at_once_and_kept(tmp_path: Path, toy: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/index.csv").write_text("file,corpus\n")
    with pytest.raises(CorpusError, match=r"lacks the column 'speaker'.*move it away"):
        prepare(tmp_path, source=toy, force=True)
    assert (tmp_path / "data/index.csv").read_text() == "file,corpus\n"


def test_damaged_markers_mean_doing_it_again(tmp_path: Path, toy: Path) -> None:
    archive = make_zip(tmp_path / "toy.zip", toy)
    prepare(tmp_path, source=archive)
    for marker in ("prepared.json", "recordings/.sercli.json"):
        for text in ("", "[]", json.dumps({"started_ns": "x", "md5": 1})):
            (tmp_path / "data/ravdess" / marker).write_text(text)
            assert not prepare(tmp_path, source=archive).unchanged
            assert prepare(tmp_path, source=archive).unchanged


def test_inspection_keeps_the_order(tmp_path: Path) -> None:
    paths = [write_tone(tmp_path / f"{number}.wav", seconds=0.1 + number / 10) for number in range(5)]
    paths.insert(2, tmp_path / "gone.wav")
    results = list(decode_recordings(paths, 3))
    assert results[2] == "no such file"
    durations = [result[0].duration for result in results if not isinstance(result, str)]
    assert durations == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.corpus
def test_real_ravdess(tmp_path: Path, corpora: Path) -> None:
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


def test_index_is_sorted_by_corpus_then_file(tmp_path: Path, toy: Path) -> None:
    prepare(tmp_path, source=toy)
    keys = [(row.corpus, row.file) for row in read(tmp_path).utterances]
    assert keys == sorted(keys)
    write_index(tmp_path / "data/index.csv", read(tmp_path))
    assert prepare(tmp_path, source=toy).unchanged
