"""Safe extraction of untrusted archives: inside one folder, bounded, all or nothing."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from sercli.corpora.archive_members import BLOCK, DAMAGE, REMEDY, SUFFIXES, Limits, Member, raise_damaged, read_members
from sercli.errors import ArchiveError
from sercli.files import name_file, name_previous, remove_folder, replace_folder, write_json
from sercli.progress import Progress

MAX_BYTES = 16 << 30  # maximum unpacked size; RAVDESS takes 0.6 GB
MAX_MEMBERS = 200_000
MAX_NESTING = 2  # archives within archives


def unpack_archives(
    archives: Mapping[str, Path],
    folder: Path,
    *,
    marker: tuple[str, Mapping[str, object]] | None = None,
    max_bytes: int = MAX_BYTES,
    max_members: int = MAX_MEMBERS,
    keep_previous: bool = False,
    progress: Progress | None = None,
) -> int:
    """Unpacks zip and tar archives into a folder, all or nothing.

    They are unpacked beside `folder`, in ``NAME.part``, which is renamed at the end. An archive in an archive is
    replaced by a folder of its name. Metadata of macOS is skipped.

    Args:
        archives: Archives by the subfolder that each is unpacked into, empty for `folder` itself.
        folder: Folder to create or replace.
        marker: Name and content of a JSON file to write into the folder; the number of files is added.
        max_bytes: Limit on the bytes of all members together, counted as they are unpacked.
        max_members: Limit on the number of members.
        keep_previous: Whether to leave the folder that is replaced under `name_previous`, for `restore_on_error`.
        progress: Called as members are unpacked.

    Returns:
        The number of files.

    Raises:
        ArchiveError: If an archive cannot be read, is damaged or too large, or has a member that is a link, a
            special file, or would land outside the folder.
        OSError: If the files cannot be written.
    """
    folder = folder.resolve()  # a link may lead to another disk
    part = folder.with_name(f"{folder.name}.part")
    remove_folder(part)
    part.mkdir(parents=True)
    limits = Limits(folder=part, max_bytes=max_bytes, max_members=max_members)
    report = progress or (lambda _done, _total: None)
    try:
        count = 0
        for subfolder, archive in archives.items():
            (part / subfolder).mkdir(parents=True, exist_ok=True)
            count += _unpack_into(archive, str(archive), part / subfolder, limits, report)
        if marker:
            write_json(part / marker[0], {**marker[1], "files": count})
        replace_folder(part, folder, keep_previous=keep_previous)
    except BaseException:
        remove_folder(part)
        raise
    return count


@contextlib.contextmanager
def restore_on_error(folder: Path) -> Iterator[None]:
    """Removes the folder that `unpack_archives` has replaced at the end of the block; puts it back on an exception."""
    folder = folder.resolve()
    old = name_previous(folder)
    try:
        yield
    except BaseException:
        if old.exists():
            remove_folder(folder)
            old.rename(folder)
        raise
    remove_folder(old)


def is_archive(path: Path) -> bool:
    """Whether a file is named like an archive that can be read."""
    return path.name.lower().endswith(SUFFIXES)


def _unpack_into(archive: Path, shown: str, folder: Path, limits: Limits, progress: Progress, nesting: int = 1) -> int:
    """Unpacks an archive and the archives in it; returns the number of files extracted."""
    if nesting > MAX_NESTING:
        msg = f"{shown}: archives are nested more than {MAX_NESTING} deep; {REMEDY}"
        raise ArchiveError(msg)
    nested: list[tuple[Path, str]] = []
    count = 0
    for member in read_members(archive, shown, limits):
        path = folder / member.name
        _unpack_member(member, path, limits)
        progress(*member.progress())
        count += 1
        if is_archive(path):
            nested.append((path, f"{shown}/{member.name}"))
    for path, name in nested:
        unpacked = path.with_name(".unpacking")
        unpacked.mkdir()
        count += _unpack_into(path, name, unpacked, limits, progress, nesting + 1) - 1
        path.unlink()
        unpacked.rename(path)
    return count


def _unpack_member(member: Member, path: Path, limits: Limits) -> None:
    try:
        source = member.open()
    except DAMAGE as reason:
        raise_damaged(member.archive, member.name, reason)
    with source, _create(member, path) as target:
        while block := _read(member, source):
            limits.add_bytes(member.archive, len(block))
            with name_file(path):
                target.write(block)


def _create(member: Member, path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")
    except (FileExistsError, NotADirectoryError):
        msg = f"{member.archive}: two members are named {member.name!r}; nothing was unpacked"
        raise ArchiveError(msg) from None


def _read(member: Member, source: IO[bytes]) -> bytes:
    try:
        return source.read(BLOCK)
    except DAMAGE as reason:
        raise_damaged(member.archive, member.name, reason)
