"""Unpacking: inside one folder, all or nothing, archives within archives."""

import json
import zipfile
from pathlib import Path

import pytest

from sercli.corpora.archive import unpack_archives
from sercli.errors import ArchiveError
from tests.corpora.archives import FILES, assert_nothing_kept, make_tar, make_zip, make_zip_of, read_all, unpack_archive


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


def test_a_folder_behind_a_link_is_replaced_where_it_is(tmp_path: Path) -> None:
    unpack_archive(make_zip(tmp_path / "a.zip", {"old.wav": b"old"}), tmp_path / "disk/recordings")
    (tmp_path / "out").symlink_to(tmp_path / "disk/recordings")
    unpack_archive(make_zip(tmp_path / "a.zip", {"new.wav": b"new"}), tmp_path / "out")
    assert (tmp_path / "out").is_symlink()
    assert [path.relative_to(tmp_path / "disk").as_posix() for path in (tmp_path / "disk").rglob("*")] == [
        "recordings",
        "recordings/new.wav",
    ]


def test_failure_leaves_the_older_folder(tmp_path: Path) -> None:
    unpack_archive(make_zip(tmp_path / "a.zip", {"old.wav": b"old"}), tmp_path / "out")
    with pytest.raises(ArchiveError, match="would land outside"):
        unpack_archive(make_zip(tmp_path / "a.zip", {"../new.wav": b"new"}), tmp_path / "out")
    assert (tmp_path / "out/old.wav").read_bytes() == b"old"


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part/half.wav").write_bytes(b"half")
    (tmp_path / ".out.old").mkdir()
    unpack_archive(make_zip(tmp_path / "a.zip", {"new.wav": b"new"}), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new.wav"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "out"]


def test_marker_says_how_many_files(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", FILES)
    unpack_archive(archive, tmp_path / "out", marker=(".marker", {"md5": "0"}))
    assert json.loads((tmp_path / "out/.marker").read_text()) == {"md5": "0", "files": 3}


@pytest.mark.parametrize("files", [{"a": b"x", "a/b": b"y"}, {"a/b": b"y", "a": b"x"}], ids=["above", "below"])
def test_file_in_the_place_of_a_folder_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(ArchiveError, match="two members are named"):
        unpack_archive(make_zip(tmp_path / "a.zip", files), tmp_path / "out")
    assert_nothing_kept(tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_same_name_twice_is_refused(tmp_path: Path) -> None:
    archive = make_zip_of(tmp_path / "a.zip", zipfile.ZipInfo("good.wav"))
    with pytest.raises(ArchiveError, match="two members are named"):
        unpack_archive(archive, tmp_path / "out")
    assert_nothing_kept(tmp_path)


def nest(folder: Path, depth: int, content: bytes = b"deep") -> bytes:
    files = {"x.wav": content} if depth == 1 else {"inner.zip": nest(folder, depth - 1, content)}
    return make_zip(folder / "nest", files).read_bytes()


def test_archives_in_an_archive_become_folders(tmp_path: Path) -> None:
    inner = {name: nest(tmp_path, 1, name.encode()) for name in ("Actor_01.zip", "sub/Actor_02.ZIP")}
    tar = make_tar(tmp_path / "inner.tar", {"x.wav": b"tar"}, "w:gz").read_bytes()
    archive = make_zip(tmp_path / "a.zip", inner | {"y.tgz": tar, "Actor_01/x.wav": b"beside"})
    count = unpack_archive(archive, tmp_path / "out", marker=(".marker", {}))
    (tmp_path / "out/.marker").unlink()
    assert read_all(tmp_path / "out") == {
        "Actor_01.zip/x.wav": b"Actor_01.zip",
        "Actor_01/x.wav": b"beside",
        "sub/Actor_02.ZIP/x.wav": b"sub/Actor_02.ZIP",
        "y.tgz/x.wav": b"tar",
    }
    assert count == 4


def test_limits_hold_for_archives_in_archives_together(tmp_path: Path) -> None:
    inner = nest(tmp_path, 1, bytes(1_000_000))
    archive = make_zip(tmp_path / "a.zip", {f"{number}.zip": inner for number in range(5)})
    (tmp_path / "nest").unlink()
    with pytest.raises(ArchiveError, match=r"a\.zip/4\.zip unpacks to more than the limit of 5000000 bytes"):
        unpack_archive(archive, tmp_path / "out", max_bytes=5_000_000)
    with pytest.raises(ArchiveError, match="10 members, over the limit of 9"):
        unpack_archive(archive, tmp_path / "out", max_members=9)
    assert_nothing_kept(tmp_path)


def test_nesting_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(nest(tmp_path, 3))
    (tmp_path / "nest").unlink()
    with pytest.raises(ArchiveError, match="nested more than 2 deep; unpack it and give the folder"):
        unpack_archive(tmp_path / "a.zip", tmp_path / "out")
    assert_nothing_kept(tmp_path)


def test_bad_archive_in_an_archive_is_named(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"b/inner.zip": b"text", "x.wav": b"x"})
    with pytest.raises(ArchiveError, match=rf"{archive}/b/inner\.zip is not a valid zip archive"):
        unpack_archive(archive, tmp_path / "out")
    assert_nothing_kept(tmp_path)


def test_several_archives_share_a_folder(tmp_path: Path) -> None:
    one, two = make_zip(tmp_path / "1.zip", {"a.wav": b"1"}), make_tar(tmp_path / "2.tar", {"a.wav": b"2"})
    assert unpack_archives({"1.zip": one, "x/2.tar": two}, tmp_path / "out") == 2
    assert read_all(tmp_path / "out") == {"1.zip/a.wav": b"1", "x/2.tar/a.wav": b"2"}
