import contextlib
import io
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sercli.errors import InputError
from sercli.prediction.discovery import find_recordings, parse_list
from tests.sounds import write_sound


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*paths: str | Path, stdin: bytes | None = None) -> list[str]:
    found = find_recordings(paths, None if stdin is None else io.BytesIO(stdin))
    return [recording.name for recording in found]


def test_a_folder_is_listed_depth_first_in_sorted_order_without_hidden_and_other_files(here: Path) -> None:
    touch(here, "calls/c.flac", "calls/a.WAV", "calls/b/z.mp3", "calls/b/a/x.ogg", "calls/d.opus")
    touch(here, "calls/notes.txt", "calls/make.py", "calls/.hidden.wav", "calls/.git/x.wav", "calls/b/.wav")
    expected = ["calls/a.WAV", "calls/b/a/x.ogg", "calls/b/z.mp3", "calls/c.flac", "calls/d.opus"]
    assert names("calls") == expected
    assert names("calls/") == expected
    assert names(".") == expected


def test_absolute_paths_stay_absolute_and_arguments_keep_their_order(here: Path) -> None:
    touch(here, "b.wav", "a.wav", "c/x.wav")
    assert names("c", "b.wav", here / "a.wav") == ["c/x.wav", "b.wav", (here / "a.wav").as_posix()]


def test_same_names_in_different_folders_are_different_recordings(here: Path) -> None:
    touch(here, "a/x.wav", "b/x.wav", "b/x.mp3")
    assert names("a", "b") == ["a/x.wav", "b/x.mp3", "b/x.wav"]


def test_a_file_given_twice_by_whatever_name_is_one_recording(here: Path) -> None:
    touch(here, "calls/a.wav", "calls/b.wav")
    (here / "calls/c.wav").symlink_to(here / "calls/a.wav")
    (here / "again").symlink_to(here / "calls")
    assert names("calls/b.wav", "calls", "./calls/a.wav", here / "calls/a.wav", "again") == [
        "calls/b.wav",
        "calls/a.wav",
    ]


def test_links_are_followed_and_their_loops_end(here: Path) -> None:
    touch(here, "calls/a.wav", "elsewhere/b.wav")
    (here / "calls/up").symlink_to(here)
    (here / "calls/self").symlink_to("self")
    (here / "calls/self.wav").symlink_to("self.wav")
    assert names("calls") == ["calls/a.wav", "calls/self.wav", "calls/up/elsewhere/b.wav"]


def test_a_file_named_is_taken_whatever_its_suffix(here: Path) -> None:
    touch(here, "recording", ".hidden/a.wav")
    assert names("recording", ".hidden") == ["recording", ".hidden/a.wav"]


def test_a_list_holds_files_and_folders_and_may_hold_stale_names(here: Path) -> None:
    touch(here, "a b.wav", "calls/x.wav", "z.wav")
    assert names("z.wav", "-", stdin=b"calls\r\na b.wav\n\ngone.wav\n") == [
        "z.wav",
        "calls/x.wav",
        "a b.wav",
        "gone.wav",
    ]


def test_a_list_may_name_what_exists_by_any_name(here: Path) -> None:
    odd = "bell\a and\nline.wav"
    (here / odd).touch()
    assert names("-", stdin=f"{odd}\0gone.wav\0".encode()) == [odd, "gone.wav"]
    with pytest.raises(InputError, match="stdin is neither a sound file nor a list of paths"):
        names("-", stdin=b"bell\a.wav\0gone.wav\0")


def test_folders_too_deep_become_a_row(here: Path) -> None:
    deep = here / "deep"
    deep.mkdir()
    (deep / "b.wav").touch()
    with contextlib.chdir(deep):
        for _ in range(1_100):
            Path("a").mkdir()
            os.chdir("a")
        Path("c.wav").touch()
    found = find_recordings([deep])
    assert [recording.name for recording in found if not recording.problem] == [(deep / "b.wav").as_posix()]
    assert [each.problem for each in found if each.problem] == ["folder cannot be read (nested too deeply)"]
    deepest = deep.joinpath(*["a"] * 1_100, "c.wav")
    matches = find_recordings([f"{here}/deep/**/*.wav"])
    assert [recording.path for recording in matches] == [deepest, deep / "b.wav"]
    with contextlib.chdir(deep):  # for what removes the folder recursively
        subprocess.run(["rm", "-r", "a"], check=True)


def test_stdin_named_twice_is_read_once(here: Path) -> None:
    touch(here, "a.wav")
    assert names("-", "-", stdin=b"a.wav\n") == ["a.wav"]


def test_a_dash_is_a_file_name_where_nothing_is_to_be_read(here: Path) -> None:
    touch(here, "-")
    assert names("-") == ["-"]


def test_a_list_with_nul_may_hold_any_name() -> None:
    assert parse_list(b"a\nb.wav\0 c.wav\r\0") == ["a\nb.wav", " c.wav\r"]


@given(st.lists(st.binary(min_size=1).filter(lambda name: b"\0" not in name), min_size=1))
def test_whatever_find_print0_writes_comes_back(paths: list[bytes]) -> None:
    content = b"".join(path + b"\0" for path in paths)
    assert [os.fsencode(path) for path in parse_list(content)] == paths


def test_a_list_that_is_too_long_is_refused_rather_than_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sercli.prediction.discovery.MAX_LIST", 1 << 20)
    lines = (b"x" * 100 + b".wav\n") * ((1 << 20) // 50)
    with pytest.raises(InputError, match="the list of recordings on stdin is longer than 1 MiB: give folders"):
        find_recordings(["-"], io.BytesIO(lines))


def test_a_file_named_stdin_is_not_taken_for_the_recording_on_stdin(here: Path) -> None:
    content = write_sound(here / "other.wav", np.zeros(1600)).read_bytes()
    (here / "stdin").write_bytes(content)
    with pytest.raises(InputError, match="would both be 'stdin' in the report: rename the file"):
        find_recordings(["stdin", "-"], io.BytesIO(content), spool=here / "spool")


@pytest.mark.parametrize("content", [b"", b"\n\r\n\n", b"\0\0"])
def test_an_empty_list_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match="list of recordings on stdin is empty"):
        parse_list(content)


@pytest.mark.parametrize("missing", ["gone", "gone.wav", "a.wav/b.wav", "x" * 5_000, ""])
def test_a_missing_path_is_refused(here: Path, missing: str) -> None:
    touch(here, "a.wav")
    with pytest.raises(InputError, match="no such file or folder"):
        find_recordings(["a.wav", missing])


def test_a_folder_without_recordings_is_refused_in_one_line(here: Path) -> None:
    touch(here, "empty/notes.txt", "new\nline/notes.txt")
    with pytest.raises(InputError, match=r"^no recording in empty, new line: expected sound files"):
        find_recordings(["empty", "new\nline"])
    with pytest.raises(InputError, match=r"^no recording in stdin: expected sound files"):
        names("-", stdin=b"empty\n")


def test_a_closed_folder_below_is_a_recording_with_a_problem(without_rights: Path) -> None:
    touch(without_rights, "a.wav", "closed/b.wav", "z.wav")
    (without_rights / "closed").chmod(0)
    found = find_recordings([without_rights])
    assert [(r.path.name, r.problem) for r in found] == [
        ("a.wav", ""),
        ("closed", "folder cannot be read (Permission denied)"),
        ("z.wav", ""),
    ]
    with pytest.raises(InputError, match=r"closed cannot be read \(Permission denied\)"):
        find_recordings([without_rights / "closed"])


def test_patterns_stand_for_files_at_any_depth_and_loops_of_links_end(here: Path) -> None:
    touch(here, "calls/y.wav", "calls/a/x.wav", "calls/a/b/x.mp3", "calls/.git/z.wav", "calls/a/notes.txt")
    (here / "calls/a/up").symlink_to("..")
    (here / "calls/self").symlink_to(".")
    (here / "calls/b").symlink_to("a")
    assert names("calls/**/*.wav") == ["calls/a/x.wav", "calls/y.wav"]
    assert names("calls/*.wav") == ["calls/y.wav"]
    assert names("calls/**/x.*") == ["calls/a/b/x.mp3", "calls/a/x.wav"]
    assert names("**/b/x.*") == ["calls/a/b/x.mp3"]
    assert names("calls/**/a/*.wav", "calls/**/[xy].wav") == ["calls/a/x.wav", "calls/y.wav"]
    with pytest.raises(InputError, match=r"nothing matches the pattern: calls/\*\*/\*\.flac"):
        names("calls/**/*.flac")


@pytest.mark.parametrize("pattern", ["calls/**/2024?05.wav", "calls/**/[!q]024[!z]05.wav", "**/[.2]02405.wav"])
def test_no_wildcard_matches_a_slash(here: Path, pattern: str) -> None:
    touch(here, "calls/2024/05.wav", "calls/2024-05.wav", "calls/a/2024_05.wav", "calls/.02405.wav")
    if pattern.startswith("calls"):
        assert names(pattern) == ["calls/2024-05.wav", "calls/a/2024_05.wav"]
    else:
        with pytest.raises(InputError, match="nothing matches the pattern"):
            names(pattern)
