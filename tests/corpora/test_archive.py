"""Archives that are well made, and those that are not or mean harm."""

import io
import json
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from sercli.corpora.archive import unpack_archive
from sercli.errors import ArchiveError

FILES = {"Actor_01/a.wav": b"first" * 1000, "Actor_02/b c.wav": b"second", "ż/ó.wav": b"third"}


def make_zip(path: Path, files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as stream:
        for name, content in files.items():
            stream.writestr(name, content)
    return path


def test_folders_without_end_are_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {f"{'a/' * 1_500}x.wav": b"x"})
    with pytest.raises(ArchiveError, match="more than 64 folders deep"):
        unpack_archive(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def make_zip_of(path: Path, info: zipfile.ZipInfo, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w") as stream:
        stream.writestr("good.wav", b"good")
        stream.writestr(info, content)
    return path


def assert_nothing_kept(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["a.zip"]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unpacks_all(tmp_path: Path, compression: int) -> None:
    archive = make_zip(tmp_path / "a.zip", FILES, compression)
    seen: list[tuple[int, int]] = []
    count = unpack_archive(archive, tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    total = sum(map(len, FILES.values()))
    assert count == len(FILES)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == FILES
    assert seen[-1] == (total, total)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "out"]


def test_replaces_an_older_folder_whole(tmp_path: Path) -> None:
    unpack_archive(make_zip(tmp_path / "a.zip", {"old.wav": b"old"}), tmp_path / "out")
    unpack_archive(make_zip(tmp_path / "a.zip", {"new.wav": b"new"}), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new.wav"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "out"]


def test_failure_leaves_the_older_folder(tmp_path: Path) -> None:
    unpack_archive(make_zip(tmp_path / "a.zip", {"old.wav": b"old"}), tmp_path / "out")
    with pytest.raises(ArchiveError):
        unpack_archive(make_zip(tmp_path / "a.zip", {"../new.wav": b"new"}), tmp_path / "out")
    assert (tmp_path / "out/old.wav").read_bytes() == b"old"


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part/half.wav").write_bytes(b"half")
    (tmp_path / "out.old").mkdir()
    unpack_archive(make_zip(tmp_path / "a.zip", {"new.wav": b"new"}), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new.wav"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "out"]


def test_marker_says_how_many_files(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", FILES)
    unpack_archive(archive, tmp_path / "out", marker=(".marker", {"md5": "0"}))
    assert json.loads((tmp_path / "out/.marker").read_text()) == {"md5": "0", "files": 3}


def test_clutter_of_macos_is_left_out(tmp_path: Path) -> None:
    clutter = {"__MACOSX/._a.wav": b"", "x/.DS_Store": b"", "x/a.wav": b"a"}
    assert unpack_archive(make_zip(tmp_path / "a.zip", clutter), tmp_path / "out") == 1
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["a.wav"]


@pytest.mark.parametrize(
    "name",
    [
        "../evil.wav",
        "a/../../evil.wav",
        "a/..",
        "/tmp/evil.wav",  # noqa: S108
        "//host/evil.wav",
        "C:/evil.wav",
        "C:evil.wav",
        "..\\evil.wav",
        "C:\\evil.wav",
        "a\\..\\..\\evil.wav",
        "\\\\host\\evil.wav",
    ],
)
def test_member_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    archive = make_zip(tmp_path / "in/a.zip", {"good.wav": b"good", name: b"evil"})
    with pytest.raises(ArchiveError, match="would land outside"):
        unpack_archive(archive, tmp_path / "in/out")
    assert_nothing_kept(tmp_path / "in")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (stat.S_IFLNK, "is a link"),
        (stat.S_IFIFO, "is not a plain file"),
        (stat.S_IFCHR, "is not a plain file"),
        (stat.S_IFSOCK, "is not a plain file"),
    ],
)
@pytest.mark.parametrize("system", [0, 3])
def test_links_and_special_files_are_refused(tmp_path: Path, kind: int, message: str, system: int) -> None:
    info = zipfile.ZipInfo("link.wav")
    info.create_system = system
    info.external_attr = (kind | 0o777) << 16
    with pytest.raises(ArchiveError, match=message):
        unpack_archive(make_zip_of(tmp_path / "a.zip", info, b"/etc/passwd"), tmp_path / "out")
    assert_nothing_kept(tmp_path)


@pytest.mark.parametrize("files", [{"a": b"x", "a/b": b"y"}, {"a/b": b"y", "a": b"x"}], ids=["above", "below"])
def test_file_in_the_place_of_a_folder_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(ArchiveError, match="takes the place of another"):
        unpack_archive(make_zip(tmp_path / "a.zip", files), tmp_path / "out")
    assert_nothing_kept(tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_same_name_twice_is_refused(tmp_path: Path) -> None:
    archive = make_zip_of(tmp_path / "a.zip", zipfile.ZipInfo("good.wav"))
    with pytest.raises(ArchiveError, match="takes the place of another"):
        unpack_archive(archive, tmp_path / "out")
    assert_nothing_kept(tmp_path)


def test_more_bytes_than_the_limit_are_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"bomb.wav": bytes(10_000_000)})
    assert archive.stat().st_size < 20_000
    with pytest.raises(ArchiveError, match="more than the limit of 9999999 bytes"):
        unpack_archive(archive, tmp_path / "out", max_bytes=9_999_999)
    assert_nothing_kept(tmp_path)
    assert unpack_archive(archive, tmp_path / "out", max_bytes=10_000_000) == 1


def test_size_that_headers_deny_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"bomb.wav": bytes(10_000_000)})
    honest, lie = struct.pack("<L", 10_000_000), struct.pack("<L", 10)
    archive.write_bytes(archive.read_bytes().replace(honest, lie))
    with pytest.raises(ArchiveError, match="is damaged"):
        unpack_archive(archive, tmp_path / "out", max_bytes=1_000)
    assert_nothing_kept(tmp_path)


def test_more_members_than_the_limit_are_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {f"{number}.wav": b"" for number in range(11)})
    with pytest.raises(ArchiveError, match="11 members, over the limit of 10"):
        unpack_archive(archive, tmp_path / "out", max_members=10)
    assert_nothing_kept(tmp_path)


def test_encrypted_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"secret.wav": b"secret"})
    content = bytearray(archive.read_bytes())
    content[6] |= 1  # flags of the local header
    content[content.index(b"PK\1\2") + 8] |= 1  # and those of the directory
    archive.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"'secret\.wav' is encrypted"):
        unpack_archive(archive, tmp_path / "out")
    assert_nothing_kept(tmp_path)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_archive_cut_short_is_refused(tmp_path: Path, kept: float) -> None:
    archive = make_zip(tmp_path / "a.zip", FILES)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ArchiveError, match="is not a whole zip archive"):
        unpack_archive(archive, tmp_path / "out")
    assert_nothing_kept(tmp_path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_altered_bytes_are_refused(tmp_path: Path, compression: int) -> None:
    content = bytes(range(256)) * 40
    archive = make_zip(tmp_path / "a.zip", {"good.wav": b"good", "bad.wav": content}, compression)
    damaged = bytearray(archive.read_bytes())
    middle = damaged.index(b"bad.wav") + 7 + 60
    damaged[middle : middle + 40] = b"\xff" * 40
    archive.write_bytes(damaged)
    with pytest.raises(ArchiveError, match=r"'bad\.wav' is damaged"):
        unpack_archive(archive, tmp_path / "out")
    assert_nothing_kept(tmp_path)


def test_unknown_compression_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"odd.wav": b"odd"})
    content = bytearray(archive.read_bytes())
    content[8] = content[content.index(b"PK\1\2") + 10] = 99
    archive.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"'odd\.wav' is compressed with method 99.*: unpack it and give the folder"):
        unpack_archive(archive, tmp_path / "out")
    assert_nothing_kept(tmp_path)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("text\n" * 1000)
    with pytest.raises(ArchiveError, match="is not a whole zip archive"):
        unpack_archive(tmp_path / "a.zip", tmp_path / "out")
    assert_nothing_kept(tmp_path)
    with pytest.raises(ArchiveError, match="no such file"):
        unpack_archive(tmp_path / "b.zip", tmp_path / "out")
    with pytest.raises(ArchiveError, match="is not a file"):
        unpack_archive(tmp_path, tmp_path / "out")


def test_zip_with_bytes_before_it_still_unpacks(tmp_path: Path) -> None:
    # As self-extracting archives have them; the directory at the end says where everything is.
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as inner:
        inner.writestr("a.wav", b"a")
    (tmp_path / "a.zip").write_bytes(b"stub" + stream.getvalue())
    assert unpack_archive(tmp_path / "a.zip", tmp_path / "out") == 1
