"""Members of archives that are well made, and of those that are not or mean harm."""

import io
import shutil
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from sercli.corpora.archive_members import MAX_DIRECTORY
from sercli.errors import ArchiveError
from tests.corpora.archives import (
    FILES,
    TAR_MODES,
    assert_nothing_kept,
    make_tar,
    make_zip,
    make_zip_of,
    read_all,
    unpack_archive,
)
from tests.sounds import write_tone


def test_folders_without_end_are_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {f"{'a/' * 1_500}x.wav": b"x"})
    with pytest.raises(ArchiveError, match="more than 64 folders deep"):
        unpack_archive(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


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
    with pytest.raises(ArchiveError, match="is not a valid zip archive"):
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
    with pytest.raises(ArchiveError, match="is not a valid zip archive"):
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


@pytest.mark.parametrize("nested", [False, True])
def test_directory_without_end_is_not_read(tmp_path: Path, *, nested: bool) -> None:
    size = MAX_DIRECTORY + 1
    endless = bytes(size) + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, size, 0, 0)
    archive = tmp_path / "a.zip"
    if nested:
        make_zip(archive, {"b.zip": endless})
    else:
        archive.write_bytes(endless)
    with pytest.raises(ArchiveError, match=f"its directory claims {size} bytes, over the limit"):
        unpack_archive(archive, tmp_path / "out")
    assert_nothing_kept(tmp_path)


def test_clutter_counts_against_the_limit(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", {"._junk": bytes(1 << 20), "a.wav": b"a"}, "w:bz2")
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        unpack_archive(archive, tmp_path / "out", max_bytes=1_000, max_members=10)


@pytest.mark.parametrize("mode", TAR_MODES)
def test_tar_unpacks_by_content_not_name(tmp_path: Path, mode: str) -> None:
    clutter = {"__MACOSX/._a.wav": b"", "Actor_01/._a.wav": b"x", "Actor_01/.DS_Store": b""}
    archive = make_tar(tmp_path / "download", {f"./{name}": content for name, content in FILES.items()} | clutter, mode)
    seen: list[tuple[int, int]] = []
    count = unpack_archive(archive, tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    assert count == len(FILES)
    assert read_all(tmp_path / "out") == FILES
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {archive.stat().st_size}


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        *((name, "would land outside") for name in ("../evil.wav", "/evil.wav", "a/../../evil.wav", "C:\\evil.wav")),
        ("a/" * 70 + "x", "64 folders deep"),
    ],
)
def test_tar_member_outside_the_folder_is_refused(tmp_path: Path, name: str, message: str, mode: str) -> None:
    (tmp_path / "in").mkdir()
    archive = make_tar(tmp_path / "in/a.zip", {"good.wav": b"good", name: b"evil"}, mode)
    with pytest.raises(ArchiveError, match=message):
        unpack_archive(archive, tmp_path / "in/out")
    assert_nothing_kept(tmp_path / "in")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (tarfile.SYMTYPE, "is a link: unpack it and give the folder"),
        (tarfile.LNKTYPE, "is a link: unpack it and give the folder"),
        (tarfile.FIFOTYPE, "is not a plain file"),
        (tarfile.CHRTYPE, "is not a plain file"),
        (tarfile.BLKTYPE, "is not a plain file"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes, message: str) -> None:
    info = tarfile.TarInfo("link.wav")
    info.type, info.linkname = kind, "good.wav"
    with pytest.raises(ArchiveError, match=message):
        unpack_archive(make_tar(tmp_path / "a.zip", {"good.wav": b"good"}, info=info), tmp_path / "out")
    assert_nothing_kept(tmp_path)


def test_limits_hold_for_tar(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.zip", {f"{number}.wav": bytes(1_000_000) for number in range(10)}, "w:gz")
    assert archive.stat().st_size < 20_000
    with pytest.raises(ArchiveError, match="more than the limit of 9999999 bytes"):
        unpack_archive(archive, tmp_path / "out", max_bytes=9_999_999)
    with pytest.raises(ArchiveError, match="10 members, over the limit of 9"):
        unpack_archive(archive, tmp_path / "out", max_members=9)
    assert_nothing_kept(tmp_path)
    with pytest.raises(ArchiveError, match=f"no room to unpack {archive}"):
        unpack_archive(_claim_size(tmp_path / "a.zip", 1 << 60), tmp_path / "out", max_bytes=1 << 61)


def _claim_size(path: Path, size: int) -> Path:
    info = tarfile.TarInfo("huge.wav")
    info.size = size
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    return path


def test_zeros_after_the_end_of_a_tar_are_counted(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as inner:
        inner.addfile(tarfile.TarInfo("a.wav"))
    shutil.copyfileobj(io.BytesIO(bytes(5_000_000)), stream)
    import gzip

    (tmp_path / "a.zip").write_bytes(gzip.compress(stream.getvalue()))
    with pytest.raises(ArchiveError, match="more than the limit of 1000000 bytes"):
        unpack_archive(tmp_path / "a.zip", tmp_path / "out", max_bytes=1_000_000)
    assert_nothing_kept(tmp_path)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("mode", TAR_MODES)
def test_tar_cut_short_is_refused(tmp_path: Path, kept: float, mode: str) -> None:
    content = bytes(range(256)) * 100
    archive = make_tar(tmp_path / "a.zip", {f"{number}.wav": content + bytes([number]) for number in range(4)}, mode)
    whole = archive.read_bytes().rstrip(b"\0") if mode == "w" else archive.read_bytes()
    archive.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ArchiveError, match=r"is not a valid tar archive|is damaged"):
        unpack_archive(archive, tmp_path / "out")
    assert_nothing_kept(tmp_path)


def test_tar_that_ends_between_members_is_refused(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.zip", {"a.wav": bytes(512), "b.wav": bytes(512)})
    archive.write_bytes(archive.read_bytes()[:1_024])
    with pytest.raises(ArchiveError, match="end-of-archive marker is missing"):
        unpack_archive(archive, tmp_path / "out")
    assert_nothing_kept(tmp_path)


def test_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.zip", {"a.wav": bytes(512), "b.wav": bytes(512)})
    content = bytearray(archive.read_bytes())
    content[1_030] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(ArchiveError, match="is not a valid tar archive"):
        unpack_archive(archive, tmp_path / "out")
    assert_nothing_kept(tmp_path)


def test_endless_header_is_not_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    (tmp_path / "a.zip").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2_000))
    with pytest.raises(ArchiveError, match="a header claims 1099511627776 bytes"):
        unpack_archive(tmp_path / "a.zip", tmp_path / "out")
    assert_nothing_kept(tmp_path)


def test_backslashes_divide_folders(tmp_path: Path) -> None:
    files = {"Audio\\Actor_01\\a.wav": b"a", "Audio\\empty\\": b"", "Audio\\__MACOSX\\x": b"x"}
    assert unpack_archive(make_zip(tmp_path / "a.zip", files), tmp_path / "out") == 1
    assert read_all(tmp_path / "out") == {"Audio/Actor_01/a.wav": b"a"}


def test_a_recording_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"a.wav is a recording, expected an archive or a folder of recordings"):
        unpack_archive(write_tone(tmp_path / "a.wav"), tmp_path / "out")


def test_an_entry_for_the_folder_itself_is_skipped(tmp_path: Path) -> None:
    assert unpack_archive(make_zip(tmp_path / "a.zip", {"./": b"", "./a.wav": b"a"}), tmp_path / "out") == 1
    assert read_all(tmp_path / "out") == {"a.wav": b"a"}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_same_file_twice_counts_once(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as stream:
        for _ in range(2):
            stream.writestr("a.wav", b"a")
    assert unpack_archive(tmp_path / "a.zip", tmp_path / "out") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"7z\xbc\xaf\x27\x1c" + bytes(50),
            "is a 7z archive, .*: unpack it and give the folder",
        ),
        (b"Rar!\x1a\x07\x01\x00" + bytes(50), "is a RAR archive, .*: unpack it and give the folder"),
        (b"\x28\xb5\x2f\xfd" + bytes(50), "is a Zstandard archive, .*: unpack it and give the folder"),
        (b"\n<!DOCTYPE html><html>", "is a web page, not an archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS pointer.*'git lfs pull'"),
        (b"\x1f\x8b\x08" + bytes(50), "is not a valid tar archive .*unpack it and give the folder"),
        (b"PK\x03\x04" + bytes(50), "is not a valid zip archive .*unpack it and give the folder"),
    ],
    ids=["7z", "rar", "zstd", "web page", "git lfs", "gzip", "zip"],
)
def test_what_cannot_be_read_says_what_to_do(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match=message) as raised:
        unpack_archive(tmp_path / "a.zip", tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert_nothing_kept(tmp_path)


@pytest.mark.parametrize(("method", "name"), [(9, "Deflate64"), (93, "Zstandard"), (98, "PPMd")])
def test_compression_that_cannot_be_read_is_named(tmp_path: Path, method: int, name: str) -> None:
    archive = make_zip(tmp_path / "a.zip", {"odd.wav": b"odd"})
    content = bytearray(archive.read_bytes())
    content[8] = content[content.index(b"PK\1\2") + 10] = method
    archive.write_bytes(content)
    with pytest.raises(ArchiveError, match=f"is compressed with {name}.*: unpack it and give the folder"):
        unpack_archive(archive, tmp_path / "out")
