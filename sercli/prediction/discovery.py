"""From the paths a user gives to the ordered list of recordings."""

import codecs
import fnmatch
import glob
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from sercli.audio.sniff import HEAD_BYTES, SUFFIXES, UNREAD_SUFFIXES, Reader, find_reader, read_head
from sercli.errors import AudioError, InputError
from sercli.files import one_line

MAX_LIST = 1 << 26  # bytes of a list of paths
MAX_PATH = 4_096  # bytes of a path in it, as in Linux
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r"))  # what no text holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A sound file to be worked on.

    Attributes:
        path: where it lies.
        name: what the report calls it: the path as given, with forward slashes.
        relative: the path below the folder that it was found in; empty if it was named itself.
        problem: why it cannot even be opened, in one line; empty for all but folders that cannot be read.
    """

    path: Path
    name: str
    relative: str = ""
    problem: str = ""


def find_recordings(
    paths: Iterable[str | Path],
    stdin: BinaryIO | None = None,
    *,
    spool: Path | None = None,
    unread: Counter[str] | None = None,
) -> list[Recording]:
    """Every recording among files and in folders at any depth.

    A folder's entries are sorted by name and each sub-folder is listed where its name stands. Hidden entries are left
    out, and so is what has neither the suffix nor the first bytes of a sound file. Links are followed, but no folder
    is entered twice and no file listed twice, by whatever names.

    Args:
        paths: files, folders, and patterns such as ``calls/**/*.wav``, in which ``**`` stands for any folders.
        stdin: read where ``-`` stands in `paths`: a list of further paths, one per line or each ended by NUL, taken
            literally, or the bytes of a sound file. What is missing from a list is a recording that will fail, since
            one stale name should not stop a long list.
        spool: file that the bytes of a sound file are written to.
        unread: counts files in folders that are sound of a format that is not supported, by suffix.

    Raises:
        InputError: if a path does not exist, a folder named cannot be read, stdin is neither sound nor a list, or there
            is no recording at all.
    """
    places = list(paths)
    recordings: dict[str, Recording] = {}
    search = _Search(set(), Counter() if unread is None else unread)
    for place in places:
        found: Iterable[Recording]
        found = _read_stdin(stdin, spool, search) if place == "-" and stdin is not None else _find(place, search)
        for recording in found:
            recordings.setdefault(os.path.realpath(recording.path), recording)
    if not recordings:
        shown = ", ".join(one_line(place) for place in places[:3]) + (", …" if len(places) > 3 else "")
        left_out = f"; not supported: {', '.join(f'{n} {suffix}' for suffix, n in search.unread.items())}"
        msg = f"no recording in {shown}: expected sound files, such as WAV, FLAC, Ogg, MP3 or M4A, at any depth"
        raise InputError(msg + (left_out if search.unread else ""))
    return list(recordings.values())


@dataclass(frozen=True, slots=True)
class _Search:
    entered: set[tuple[int, int]]  # folders, by device and inode
    unread: Counter[str]


def _read_stdin(stdin: BinaryIO, spool: Path | None, search: _Search) -> Iterator[Recording]:
    head = stdin.read(1 << 16)
    if is_list(head):
        content = head + stdin.read(MAX_LIST)
        if is_list(content):
            for line in parse_list(content):
                yield from _find(line, search, listed=True)
            return
    elif spool is not None and find_reader(head[:HEAD_BYTES]):
        with spool.open("wb") as stream:
            stream.write(head)
            shutil.copyfileobj(stdin, stream)
        yield Recording(path=spool, name="stdin")
        return
    msg = "stdin is neither a sound file nor a list of paths: expected one path per line, or the bytes of a recording"
    raise InputError(msg)


def is_list(content: bytes) -> bool:
    """Whether bytes look like a list of paths: text in lines, or parts ended by NUL, that are no longer than paths."""
    parts = content.split(b"\0" if b"\0" in content else b"\n")
    return all(len(part) <= MAX_PATH and part == part.translate(None, _CONTROL) for part in parts)


def parse_list(content: bytes) -> list[str]:
    """Paths of a list, one a line, or ended by NUL characters if there is any, as ``find -print0`` does.

    Raises:
        InputError: if the list is empty.
    """
    if b"\0" in content:
        lines = content.split(b"\0")
    else:
        lines = [line.removesuffix(b"\r") for line in content.removeprefix(codecs.BOM_UTF8).split(b"\n")]
    paths = [os.fsdecode(line) for line in lines if line]
    if not paths:
        msg = "the list of recordings on stdin is empty: expected one path a line"
        raise InputError(msg)
    return paths


def _find(given: str | Path, search: _Search, *, listed: bool = False) -> Iterator[Recording]:
    path = Path(given)
    # os.path rather than Path, since it answers False for names that no file can have.
    if given and os.path.isdir(path):  # noqa: PTH112
        try:
            yield from _walk(path, search)
        except OSError as reason:
            msg = f"folder {one_line(path)} cannot be read ({reason.strerror})"
            raise InputError(msg) from None
    elif given and (listed or os.path.lexists(path)):
        yield Recording(path=path, name=path.as_posix())
    elif matches := _match(given):
        for match in matches:
            yield from _find(match, search)
    else:
        msg = f"no such file or folder: {one_line(given or repr(given))}"
        raise InputError(msg)


def _match(given: str | Path) -> list[str]:
    """Files and folders that a pattern stands for, sorted; hidden ones are left out, as in a shell."""
    pattern = str(given)
    if not glob.has_magic(pattern):
        return []
    try:
        return sorted(_match_deep(Path(pattern)) if "**" in pattern else glob.glob(pattern))  # noqa: PTH207
    except (OSError, ValueError, re.error):
        return []


def _match_deep(pattern: Path) -> Iterator[str]:
    """As glob does, but entering no folder twice, so that loops of links end."""
    first = next(number for number, part in enumerate(pattern.parts) if glob.has_magic(part))
    base = Path(*pattern.parts[:first])
    wanted = pattern.parts[first:]
    entered: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(base, followlinks=True):
        status = os.stat(folder)  # noqa: PTH116 - plain text, thousands of it
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for name in (*folders, *files):
            path = Path(folder, name)
            if name[0] != "." and _fits(path.relative_to(base).parts, wanted):
                yield str(path)


def _fits(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the names of a path fit those of a pattern, one by one; ``**`` stands for any number of them."""
    reached = {0}  # how many of the pattern's names the path's so far may have used up
    for name in names:
        reached = _pass_stars(reached, pattern)
        stay = {at for at in reached if pattern[at : at + 1] == ("**",)}
        step = {at + 1 for at in reached - stay if at < len(pattern) and fnmatch.fnmatchcase(name, pattern[at])}
        reached = stay | step
    return len(pattern) in _pass_stars(reached, pattern)


def _pass_stars(reached: set[int], pattern: Sequence[str]) -> set[int]:
    for at, part in enumerate(pattern):
        if at in reached and part == "**":
            reached = reached | {at + 1}
    return reached


def _walk(folder: Path, search: _Search) -> Iterator[Recording]:
    for recording in _walk_into(folder, search):
        relative = os.path.relpath(recording.path, folder).replace(os.sep, "/")
        yield replace(recording, relative=relative)


def _walk_into(folder: Path, search: _Search) -> Iterator[Recording]:
    status = folder.stat()
    if (status.st_dev, status.st_ino) in search.entered:
        return
    with os.scandir(folder) as entries:
        found = sorted((entry.name, _is_folder(entry)) for entry in entries if entry.name[0] != ".")
    search.entered.add((status.st_dev, status.st_ino))
    for name, is_folder in found:
        path = folder / name
        if is_folder:
            yield from _walk_below(path, search)
        elif path.suffix.lower() in SUFFIXES or _sounds(path):
            yield Recording(path=path, name=path.as_posix())
        elif path.suffix.lower() in UNREAD_SUFFIXES:
            search.unread[path.suffix.lower()] += 1


def _walk_below(folder: Path, search: _Search) -> Iterator[Recording]:
    try:
        yield from _walk_into(folder, search)
    except OSError as reason:
        # One closed folder among many is a row of the report, not the end of the batch.
        problem = f"folder cannot be read ({reason.strerror})"
        yield Recording(path=folder, name=folder.as_posix(), problem=problem)


def _sounds(path: Path) -> bool:
    """Whether a file is a recording by its content."""
    reader = find_reader(read_head(path))
    if reader is not Reader.PERHAPS:
        return reader is not None
    from sercli.audio.decode import read_blocks  # loads numpy and decoders, rarely needed here

    try:
        next(read_blocks(path), None)
    except AudioError:
        return False
    return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links, or a folder that may be listed but not looked into
        return False
