"""Reads the members of untrusted zip and tar archives; refuses unsafe ones."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, NoReturn

from sercli.audio.sniff import looks_like_sound
from sercli.corpora.placeholders import describe_placeholder
from sercli.errors import ArchiveError
from sercli.files import one_line

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
"""Ends of the names of archives that can be read, in lower case."""

OTHER_SUFFIXES = (".7z", ".rar", ".tar.zst", ".tzst", ".zipx", ".cab", ".ace", ".arj")
"""Ends of the names of archives that cannot be read."""

REMEDY = "unpack it and give the folder"

HEADERS = 4096  # bytes of headers and padding allowed per tar member
MAX_DEPTH = 64  # folders within each other; making and removing them is recursive
MAX_DIRECTORY = 32 << 20  # bytes of a zip archive's directory, which zipfile reads whole; a member takes about 100
BLOCK = 1 << 18  # bytes read at once, and the longest header: tarfile reads one whole, however long it claims to be

# What the readers and the decompressors under them raise on damage; RuntimeError is for methods they do not know.
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
)

_READ_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_OTHER_METHODS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 97: "WavPack", 98: "PPMd"}
_OTHER_KINDS = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"MSCF": "a cabinet archive",
}
_COMPRESSED: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_TAR_MAGIC = slice(257, 262), b"ustar"
_WEB_PAGE = (b"<!doctype html", b"<html")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file in an archive.

    Attributes:
        archive: The archive's name, for messages.
        name: Path in the archive with forward slashes, safe to use below a folder.
        open: Opens its content.
        progress: Returns how much of the archive has been read and how much there is, in bytes.
    """

    archive: str
    name: str
    open: Callable[[], IO[bytes]]
    progress: Callable[[], tuple[int, int]]


@dataclass(slots=True, kw_only=True)
class Limits:
    """Limits on unpacking an archive, shared with nested archives.

    Attributes:
        folder: Where it is unpacked.
        max_bytes: Bytes in all members.
        max_members: Number of members.
        bytes: Bytes unpacked so far.
        members: Members met so far.
    """

    folder: Path
    max_bytes: int
    max_members: int
    bytes: int = 0
    members: int = 0

    def add_bytes(self, archive: str, count: int) -> None:
        """Counts unpacked bytes; raises `ArchiveError` over the limit."""
        self.bytes += count
        if self.bytes > self.max_bytes:
            msg = f"{archive} unpacks to more than the limit of {self.max_bytes} bytes, nothing was unpacked: {REMEDY}"
            raise ArchiveError(msg)

    def check_space(self, archive: str, count: int) -> None:
        """Raises `ArchiveError` if so many more bytes go over the limit or do not fit on the disk."""
        self.add_bytes(archive, count)
        self.bytes -= count
        free = shutil.disk_usage(self.folder).free
        if free < count:
            msg = f"no room to unpack {archive} in {self.folder.parent}: it needs {count} bytes, {free} are free"
            raise ArchiveError(msg)

    def add_members(self, archive: str, count: int) -> None:
        """Counts members; raises `ArchiveError` over the limit."""
        self.members += count
        if self.members > self.max_members:
            msg = (
                f"{archive} has {self.members} members, over the limit of {self.max_members}, nothing was unpacked: "
                f"{REMEDY}"
            )
            raise ArchiveError(msg)


def read_members(archive: Path, shown: str, limits: Limits) -> Iterator[Member]:
    """Yields the files in a zip or tar archive, except what macOS adds to archives.

    Each must be read before the next is asked for.

    Args:
        archive: Archive, recognized by its content.
        shown: Its name in messages.
        limits: Limits; gets the number of members.

    Raises:
        ArchiveError: If it is missing, damaged, encrypted, of a kind or compression that cannot be read, or too
            large, or holds a link, a special file or a path that leads out of the folder.
    """
    if not archive.is_file():
        msg = f"{shown} is not a file" if archive.exists() else f"no such file: {shown}"
        raise ArchiveError(msg)
    with archive.open("rb") as stream:
        start = stream.read(512)
    _refuse_kind(archive, shown, start)
    decompress = next((open_ for magic, open_ in _COMPRESSED.items() if start.startswith(magic)), None)
    if decompress or start[_TAR_MAGIC[0]] == _TAR_MAGIC[1]:
        yield from _read_tar(archive, shown, limits, decompress)
    else:
        yield from _read_zip(archive, shown, limits)


def raise_damaged(archive: str, name: str, reason: BaseException) -> NoReturn:
    """Raises the `ArchiveError` for a member that cannot be read."""
    msg = f"{archive}: member {name!r} is damaged ({one_line(reason)}); {REMEDY}"
    raise ArchiveError(msg) from None


def _refuse_kind(archive: Path, shown: str, start: bytes) -> None:
    if placeholder := describe_placeholder(archive):
        msg = f"{shown} {placeholder}"
        raise ArchiveError(msg)
    if start.lstrip().lower().startswith(_WEB_PAGE):
        msg = f"{shown} is a web page, not an archive, perhaps a login page: download the archive in a browser"
        raise ArchiveError(msg)
    if looks_like_sound(start) and start[_TAR_MAGIC[0]] != _TAR_MAGIC[1]:
        msg = f"{shown} is a recording, expected an archive or a folder of recordings"
        raise ArchiveError(msg)
    kind = next((kind for magic, kind in _OTHER_KINDS.items() if start.startswith(magic)), None)
    if kind:
        msg = f"{shown} is {kind}, which sercli does not read: {REMEDY}"
        raise ArchiveError(msg)


def _read_zip(archive: Path, shown: str, limits: Limits) -> Iterator[Member]:
    with _BoundedFile(io.FileIO(archive)) as content, _open_zip(content, shown) as stream:
        infos = stream.infolist()
        limits.add_members(shown, len(infos))
        files = [(info, _clean_name(info.filename)) for info in infos]
        files = [(info, name) for info, name in files if not is_clutter(name)]
        # Some tools store a file twice; what has the same checksum is the same file.
        files = list({(name, info.CRC, info.file_size): (info, name) for info, name in files}.values())
        for info, name in files:
            _refuse_zip_member(shown, info, name)
        total = sum(info.file_size for info, _ in files)
        limits.check_space(shown, total)
        done = 0
        for info, name in files:
            if not name.endswith("/"):
                done += info.file_size
                yield Member(
                    archive=shown,
                    name=name,
                    open=partial(stream.open, info),
                    progress=partial(_constant, (done, total)),
                )


def _open_zip(content: IO[bytes], shown: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(content)
    except DAMAGE as reason:
        msg = f"{shown} is not a valid zip archive ({one_line(reason)}): if other programs open it, {REMEDY}"
        raise ArchiveError(msg) from None


class _BoundedFile(io.BufferedReader):
    """A file that is read in bounded amounts."""

    def read(self, size: int | None = -1) -> bytes:
        """Reads at most `size` bytes; raises `ValueError` if there are more than a directory may have."""
        if size is not None and size > MAX_DIRECTORY:
            msg = f"its directory claims {size} bytes, over the limit of {MAX_DIRECTORY}"
            raise ValueError(msg)
        return super().read(size)


def _constant(value: tuple[int, int]) -> tuple[int, int]:
    return value


def _refuse_zip_member(shown: str, info: zipfile.ZipInfo, name: str) -> None:
    mode = info.external_attr >> 16
    fault = _find_fault(name) if not info.is_dir() or PurePosixPath(name).parts else ""
    if info.flag_bits & 0x1:
        fault = f"is encrypted: {REMEDY}"
    elif info.compress_type not in _READ_METHODS:
        method = _OTHER_METHODS.get(info.compress_type, f"method {info.compress_type}")
        fault = f"is compressed with {method}, which sercli does not read: {REMEDY}"
    elif stat.S_ISLNK(mode):
        fault = f"is a link: {REMEDY}"
    elif stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        fault = f"is not a plain file: {REMEDY}"
    _raise_fault(shown, info.filename, fault)


def _read_tar(
    archive: Path, shown: str, limits: Limits, decompress: Callable[[IO[bytes]], IO[bytes]] | None
) -> Iterator[Member]:
    size = archive.stat().st_size
    with archive.open("rb") as raw, (decompress or (lambda stream: stream))(raw) as content:
        guarded = _GuardedStream(content, limits.max_bytes + HEADERS * limits.max_members)
        try:
            tar = tarfile.open(fileobj=guarded, mode="r:")  # type: ignore[call-overload]  # noqa: SIM115
            for info in _iterate(tar):
                limits.add_members(shown, 1)
                name = _clean_name(info.name)
                if is_clutter(name):
                    continue
                _refuse_tar_member(shown, info, name)
                if info.isdir():
                    continue
                limits.check_space(shown, info.size)
                yield Member(
                    archive=shown,
                    name=name,
                    open=partial(_open_tar_member, tar, info),
                    progress=lambda: (min(raw.tell(), size), size),
                )
            _require_end(guarded, shown, limits)
        except ArchiveError:
            raise
        except DAMAGE as reason:
            msg = f"{shown} is not a valid tar archive ({one_line(reason)}): if other programs open it, {REMEDY}"
            raise ArchiveError(msg) from None


def _iterate(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    # Not the archive's own iterator, which remembers every member.
    while (info := tar.next()) is not None:
        tar.members = []  # type: ignore[attr-defined]
        yield info


def _open_tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = tar.extractfile(info)
    assert stream is not None  # noqa: S101 - it is a plain file
    return stream


def _refuse_tar_member(shown: str, info: tarfile.TarInfo, name: str) -> None:
    fault = _find_fault(name) if not info.isdir() or PurePosixPath(name).parts else ""
    if (not fault and not (info.isdir() or info.isreg())) or info.issparse():
        fault = f"{'is a link' if info.issym() or info.islnk() else 'is not a plain file'}: {REMEDY}"
    _raise_fault(shown, info.name, fault)
    try:
        tarfile.data_filter(info, os.sep)
    except tarfile.FilterError as reason:
        _raise_fault(shown, info.name, f"is not safe to unpack ({one_line(reason)})")


def _require_end(stream: "_GuardedStream", shown: str, limits: Limits) -> None:
    """Checks that a tar archive ends with its end-of-archive marker, and compressed data with its checksum.

    Where a header is damaged or missing, tarfile takes this for the end.
    """
    if not stream.last or stream.last.strip(b"\0"):
        msg = "the end-of-archive marker is missing"
        raise tarfile.ReadError(msg)
    while block := stream.read(BLOCK):
        limits.add_bytes(shown, len(block))


class _GuardedStream:
    """A stream that is read forward only, and in bounded amounts.

    Args:
        stream: Stream to read.
        limit: Bytes after which reading fails, since clutter and headers count too.
    """

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream, self._limit = stream, limit
        self._position = 0
        self.last = b""  # what was read last

    def read(self, size: int = -1) -> bytes:
        """Reads at most `size` bytes; raises `ValueError` if that is more than any header needs, or over the limit."""
        if not 0 <= size <= BLOCK:
            msg = f"a header claims {size} bytes"
            raise ValueError(msg)
        self.last = self._stream.read(size)
        self._position += len(self.last)
        if self._position > self._limit:
            msg = f"it unpacks to more than {self._limit} bytes"
            raise ValueError(msg)
        return self.last

    def tell(self) -> int:
        """Position in the stream."""
        return self._position

    def seek(self, position: int) -> int:
        """Skips forward to a position; raises `ValueError` if it has been passed."""
        if position < self._position:
            msg = "members overlap"
            raise ValueError(msg)
        while self._position < position and self.read(min(BLOCK, position - self._position)):
            pass
        return self._position


def _clean_name(name: str) -> str:
    # PowerShell 5 and older .NET write backslashes.
    return name.replace("\\", "/")


def is_clutter(name: str) -> bool:
    """Whether a file or a member of an archive is metadata of macOS."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1:] == (".DS_Store",) or (bool(parts) and parts[-1].startswith("._"))


def _find_fault(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or (len(name) > 1 and name[1] == ":"):
        return "would land outside the folder it is unpacked into"
    if not path.parts:
        return "has no name"
    if len(path.parts) > MAX_DEPTH:
        return f"lies more than {MAX_DEPTH} folders deep"
    return ""


def _raise_fault(shown: str, name: str, fault: str) -> None:
    if fault:
        msg = f"{shown}: member {name!r} {fault}; nothing was unpacked"
        raise ArchiveError(msg)
