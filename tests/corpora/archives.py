"""Zip and tar archives with given members, and unpacking them."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sercli.corpora.archive import unpack_archives

FILES = {"Actor_01/a.wav": b"first" * 1000, "Actor_02/b c.wav": b"second", "ż/ó.wav": b"third"}
TAR_MODES = ("w", "w:gz", "w:bz2", "w:xz")


def unpack_archive(archive: Path, folder: Path, **options: Any) -> int:
    return unpack_archives({"": archive}, folder, **options)


def make_zip(path: Path, files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as stream:
        for name, content in files.items():
            stream.writestr(name, content)
    return path


def make_zip_of(path: Path, info: zipfile.ZipInfo, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w") as stream:
        stream.writestr("good.wav", b"good")
        stream.writestr(info, content)
    return path


def assert_nothing_kept(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["a.zip"]


def make_tar(path: Path, files: Mapping[str, bytes], mode: str = "w", info: tarfile.TarInfo | None = None) -> Path:
    with tarfile.open(path, mode) as stream:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            stream.addfile(member, io.BytesIO(content))
        if info:
            stream.addfile(info)
    return path


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def zip_folder(path: Path, folder: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as stream:
        for file in sorted(folder.rglob("*.*")):
            stream.write(file, f"deep/down/{file.relative_to(folder)}")
    return path
