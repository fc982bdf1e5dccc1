"""Unpacking zip archives that nobody vouches for: inside one folder, bounded, whole or not at all."""

import contextlib
import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from sercli.errors import ArchiveError
from sercli.files import name_file, one_line, write_json

MAX_BYTES = 16 << 30  # that an archive may unpack to; RAVDESS takes 0.6 GB
MAX_MEMBERS = 200_000
MAX_DEPTH = 64  # folders within each other; making and removing them is recursive
BLOCK = 1 << 20  # bytes

# What zipfile and the decompressors under it raise on damage; RuntimeError is for methods they do not know.
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, RuntimeError)


def unpack_zip(
    archive: Path,
    folder: Path,
    *,
    marker: tuple[str, Mapping[str, object]] | None = None,
    max_bytes: int = MAX_BYTES,
    max_members: int = MAX_MEMBERS,
    keep_previous: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Unpacks a zip archive into a folder that appears when all of it is there.

    It is unpacked beside `folder`, in ``NAME.part``, and renamed at the end; what macOS adds of its own is
    left out.

    Args:
        archive: the zip archive.
        folder: to appear; one that is there is replaced.
        marker: name and content of a JSON file to be written into the folder; the number of files is added.
        max_bytes: that the members may unpack to together, counted as they are inflated.
        max_members: that the archive may have.
        keep_previous: leave the folder that is replaced beside it, in ``NAME.old``, for `previous_at_hand`.
        progress: is told bytes.

    Returns:
        the number of files unpacked.

    Raises:
        ArchiveError: if it is not a zip archive, damaged, encrypted, too large, or has a member that is a
            link or would land outside the folder.
        OSError: if the files cannot be written.
    """
    part = folder.with_name(f"{folder.name}.part")
    _remove(part)
    part.mkdir(parents=True)
    try:
        count = _unpack_into(archive, part, max_bytes, max_members, progress or (lambda _done, _total: None))
        if marker:
            write_json(part / marker[0], {**marker[1], "files": count})
        _replace(part, folder)
    except BaseException:
        _remove(part)
        raise
    if not keep_previous:
        _remove(_name_previous(folder))
    return count


@contextlib.contextmanager
def previous_at_hand(folder: Path) -> Iterator[None]:
    """Keeps the folder that `unpack_zip` has replaced until the end; after an exception it is in its place again."""
    old = _name_previous(folder)
    try:
        yield
    except BaseException:
        if old.exists():
            _remove(folder)
            old.rename(folder)
        raise
    _remove(old)


def _name_previous(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.old")


def _unpack_into(
    archive: Path, part: Path, max_bytes: int, max_members: int, progress: Callable[[int, int], None]
) -> int:
    with _open(archive) as stream:
        if len(stream.infolist()) > max_members:
            msg = f"{archive} has {len(stream.infolist())} members, over the limit of {max_members}"
            raise ArchiveError(msg)
        members = [info for info in stream.infolist() if not _is_clutter(info)]
        for info in members:
            _refuse(archive, info)
        total = sum(info.file_size for info in members)
        _check_size(archive, total, max_bytes)
        _check_room(archive, part, total)
        done, files = 0, [info for info in members if not info.is_dir()]
        for info in files:
            done = _unpack_member(archive, stream, info, part, done, max_bytes)
            progress(done, total)
    return len(files)


def _open(archive: Path) -> zipfile.ZipFile:
    if not archive.is_file():
        msg = f"{archive} is not a file" if archive.exists() else f"no such file: {archive}"
        raise ArchiveError(msg)
    try:
        return zipfile.ZipFile(archive)
    except PermissionError:
        raise
    except _DAMAGE as reason:
        msg = f"{archive} is not a whole zip archive ({one_line(reason)}): it may be cut short; fetch it anew"
        raise ArchiveError(msg) from None


def _is_clutter(info: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(info.filename).parts
    return "__MACOSX" in parts or parts[-1:] == (".DS_Store",)


def _refuse(archive: Path, info: zipfile.ZipInfo) -> None:
    """Raises `ArchiveError` for a member that must not be unpacked."""
    name, mode = info.filename, info.external_attr >> 16
    path = PurePosixPath(name)
    if info.flag_bits & 0x1:
        fault = "is encrypted"
    elif path.is_absolute() or ".." in path.parts or "\\" in name or (len(name) > 1 and name[1] == ":"):
        fault = "would land outside the folder it is unpacked into"
    elif stat.S_ISLNK(mode):
        fault = "is a link"
    elif stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        fault = "is no plain file"
    elif not path.parts:
        fault = "has no name"
    elif len(path.parts) > MAX_DEPTH:
        fault = f"lies more than {MAX_DEPTH} folders deep"
    else:
        return
    msg = f"{archive}: member {name!r} {fault}; nothing of the archive was kept"
    raise ArchiveError(msg)


def _check_size(archive: Path, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        msg = f"{archive} unpacks to more than the limit of {max_bytes} bytes; nothing of it was kept"
        raise ArchiveError(msg)


def _check_room(archive: Path, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        msg = f"no room to unpack {archive} in {folder.parent}: it needs {needed} bytes, {free} are free"
        raise ArchiveError(msg)


def _unpack_member(
    archive: Path, stream: zipfile.ZipFile, info: zipfile.ZipInfo, part: Path, done: int, max_bytes: int
) -> int:
    """Writes one member and returns how many bytes all of them have come to."""
    path = part / info.filename
    try:
        source = stream.open(info)
    except _DAMAGE as reason:
        raise _damaged(archive, info, reason) from None
    with source, _create(archive, info, path) as target:
        while block := _inflate(archive, info, source):
            done += len(block)
            _check_size(archive, done, max_bytes)
            with name_file(path):
                target.write(block)
    return done


def _create(archive: Path, info: zipfile.ZipInfo, path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")
    except (FileExistsError, NotADirectoryError):
        msg = f"{archive}: member {info.filename!r} takes the place of another; nothing of it was kept"
        raise ArchiveError(msg) from None


def _inflate(archive: Path, info: zipfile.ZipInfo, source: IO[bytes]) -> bytes:
    try:
        return source.read(BLOCK)
    except _DAMAGE as reason:
        raise _damaged(archive, info, reason) from None


def _damaged(archive: Path, info: zipfile.ZipInfo, reason: BaseException) -> ArchiveError:
    return ArchiveError(f"{archive}: member {info.filename!r} is damaged ({one_line(reason)}); fetch it anew")


def _replace(part: Path, folder: Path) -> None:
    # A folder cannot be renamed onto one that holds files; in between, the old one has another name.
    old = _name_previous(folder)
    _remove(old)
    if folder.exists():
        folder.rename(old)
    part.rename(folder)


def _remove(folder: Path) -> None:
    if os.path.lexists(folder):
        shutil.rmtree(folder)
