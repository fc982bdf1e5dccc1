"""Finding the recordings of a folder."""

import re
from pathlib import Path

import pytest

from sercli.audio.sniff import SUFFIXES
from sercli.corpora.corpus import Problem, find_files, list_sound_files
from sercli.errors import CorpusError
from tests.corpora.files import touch


def test_finding_is_sorted_deep_and_ends_in_loops(tmp_path: Path) -> None:
    names = ["a.ogg", "b/c/d.FLAC", "b/x.wav", "z/ä b.Ogg"]
    touch(tmp_path, *reversed(names), "no.txt", "b/__MACOSX/x.wav", ".hidden/a.wav", "b/._x.wav")
    (tmp_path / "b/c/loop").symlink_to(tmp_path)
    assert list_sound_files(tmp_path) == [tmp_path / name for name in names]


def test_linked_folder_is_entered(tmp_path: Path) -> None:
    touch(tmp_path / "else", "a.wav")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/link").symlink_to(tmp_path / "else")
    assert list_sound_files(tmp_path / "here") == [tmp_path / "here/link/a.wav"]


def test_folder_without_recordings(tmp_path: Path) -> None:
    touch(tmp_path, "a.txt")
    with pytest.raises(CorpusError, match=re.escape(f"no recording under {tmp_path}")):
        list_sound_files(tmp_path)


def test_folder_that_cannot_be_read_is_reported(without_rights: Path) -> None:
    touch(without_rights, "a.wav", "b/b.wav")
    (without_rights / "b").chmod(0)
    problems: list[Problem] = []
    assert list(find_files(without_rights, problems)) == [without_rights / "a.wav"]
    assert [str(problem) for problem in problems] == ["b: folder cannot be read (Permission denied)"]
    (without_rights / "b").chmod(0o700)


def test_every_suffix_of_sound_files_counts(tmp_path: Path) -> None:
    touch(tmp_path, *(f"x{suffix.upper()}" for suffix in SUFFIXES))
    assert len(list_sound_files(tmp_path)) == len(SUFFIXES) > 10
    assert {".mp3", ".m4a", ".opus"} < set(SUFFIXES)
