"""From an archive, a folder of archives or a download to the folder that is indexed."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sercli.corpora.corpus import Corpus, PinnedFile
from sercli.corpora.datasets import folders, nemo, ravdess, user_table
from sercli.corpora.prepare import prepare_corpus
from sercli.errors import ArchiveError, CorpusError, DownloadError, InputError, UsageError
from tests.corpora import server
from tests.corpora.archives import zip_folder
from tests.corpora.preparing import NAME, prepare, read, request
from tests.corpora.server import Shop, open_shop
from tests.sounds import write_tone

pytestmark = pytest.mark.usefixtures("no_proxy")


def test_zip_is_unpacked_below_data_once(tmp_path: Path, toy: Path) -> None:
    archive = zip_folder(tmp_path / "toy.zip", toy)
    seen: list[str] = []
    prepare_corpus(request(tmp_path, source=archive), lambda *step: seen.append(step[2]))
    assert set(seen) == {"unpack", "index"}
    assert read(tmp_path).utterances[0].file.startswith("ravdess/recordings/deep/down/Actor_01/")
    assert prepare(tmp_path, source=archive).unchanged
    (tmp_path / "data" / read(tmp_path).utterances[0].file).unlink()
    assert not prepare(tmp_path, source=archive).unchanged
    assert len(read(tmp_path)) == 8


def test_what_a_file_manager_leaves_behind_is_no_reason_to_unpack_again(tmp_path: Path, toy: Path) -> None:
    archive = zip_folder(tmp_path / "toy.zip", toy)
    prepare(tmp_path, source=archive)
    (tmp_path / "data/ravdess/recordings/.DS_Store").touch()
    assert prepare(tmp_path, source=archive).unchanged


def test_recordings_of_other_corpora_in_the_data_folder_are_not_indexed(tmp_path: Path, toy: Path) -> None:
    prepare(tmp_path, source=zip_folder(tmp_path / "toy.zip", toy))
    write_tone(tmp_path / "own/happy/a.wav")
    with pytest.raises(InputError, match="data/ravdess/recordings, the recordings of another corpus: give a folder"):
        prepare(tmp_path, folders.CORPUS, source=tmp_path)
    prepare(tmp_path, folders.CORPUS, source=tmp_path / "own")
    assert read(tmp_path).corpora == ("folders", "ravdess")


def test_the_data_folder_may_lie_in_the_given_folder(tmp_path: Path, toy: Path) -> None:
    zip_folder(tmp_path / "toy.zip", toy)
    toy.rename(tmp_path.parent / "elsewhere")
    for _ in range(2):
        assert len(prepare(tmp_path, source=tmp_path).utterances) == 8
    (tmp_path / "my.csv").write_text(f"file,emotion\n{write_tone(tmp_path / 'a.wav')},sad\n")
    assert len(prepare(tmp_path, user_table.CORPUS, source=tmp_path, labels=tmp_path / "my.csv").utterances) == 1


def test_another_zip_replaces_the_first(tmp_path: Path, toy: Path) -> None:
    prepare(tmp_path, source=zip_folder(tmp_path / "toy.zip", toy))
    (toy / NAME).unlink()
    prepare(tmp_path, source=zip_folder(tmp_path / "less.zip", toy))
    assert len(read(tmp_path)) == 7
    assert len(list((tmp_path / "data").rglob("*.wav"))) == 7


def test_what_a_zip_replaces_comes_back_if_it_cannot_be_indexed(tmp_path: Path, toy: Path) -> None:
    prepare(tmp_path, source=zip_folder(tmp_path / "toy.zip", toy))
    before = read(tmp_path)
    write_tone(tmp_path / "others/other.wav")
    with pytest.raises(CorpusError, match="nothing under"):
        prepare(tmp_path, source=zip_folder(tmp_path / "other.zip", tmp_path / "others"))
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


def test_folder_of_archives_is_unpacked_once(tmp_path: Path, toy: Path) -> None:
    for actor in ("Actor_01", "Actor_02"):
        zip_folder(tmp_path / f"zips/{actor}.zip", toy / actor)
    assert len(prepare(tmp_path, source=tmp_path / "zips").utterances) == 8
    assert read(tmp_path).utterances[0].file.startswith("ravdess/recordings/Actor_01.zip/deep/down/03-")
    assert prepare(tmp_path, source=tmp_path / "zips").unchanged
    (tmp_path / "zips/Actor_02.zip").unlink()
    assert len(prepare(tmp_path, source=tmp_path / "zips").utterances) == 4


def test_archive_of_archives_is_indexed(tmp_path: Path, toy: Path) -> None:
    for actor in ("Actor_01", "Actor_02"):
        zip_folder(tmp_path / f"zips/{actor}.zip", toy / actor)
    outcome = prepare(tmp_path, source=zip_folder(tmp_path / "all.zip", tmp_path / "zips"))
    assert len(outcome.utterances) == 8
    assert prepare(tmp_path, source=tmp_path / "all.zip").unchanged


def test_archive_beside_recordings_is_named(tmp_path: Path, toy: Path) -> None:
    zip_folder(tmp_path / "again.zip", toy).rename(toy / "again.zip")  # not in place, where it would hold itself
    outcome = prepare(tmp_path, source=toy)
    assert len(outcome.utterances) == 8
    assert [str(extra) for extra in outcome.extra] == ["again.zip: archive beside recordings, not unpacked"]


def test_folder_of_archives_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/all.7z").write_bytes(b"7z")
    with pytest.raises(CorpusError, match=r"no recording under .*/x, but all\.7z, .*: unpack it and give the folder"):
        prepare(tmp_path, source=tmp_path / "x")


def test_folder_of_another_owner_is_not_replaced(tmp_path: Path, toy: Path) -> None:
    mine = write_tone(tmp_path / "data/ravdess/recordings/mine.wav")
    with pytest.raises(InputError, match="was not created by sercli"):
        prepare(tmp_path, source=zip_folder(tmp_path / "toy.zip", toy))
    assert mine.is_file()


def test_zip_cut_short_changes_nothing(tmp_path: Path, toy: Path) -> None:
    archive = zip_folder(tmp_path / "toy.zip", toy)
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
    content = zip_folder(tmp_path / "toy.zip", toy).read_bytes()
    seen: list[str] = []
    with open_shop(content, server.cut_after(5_000)) as shop:
        prepare_corpus(request(tmp_path, pinned_to(shop)), lambda *step: seen.append(step[2]))
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
    with open_shop(zip_folder(home / "toy.zip", toy).read_bytes()) as shop:
        prepare(tmp_path, pinned_to(shop))
        assert shop.ranges == []
    assert len(read(tmp_path)) == 8


def test_altered_download_is_not_unpacked(tmp_path: Path, toy: Path) -> None:
    content = zip_folder(tmp_path / "toy.zip", toy).read_bytes()
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
