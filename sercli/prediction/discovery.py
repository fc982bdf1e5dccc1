"""Finds recordings among the paths a user gives."""

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

from sercli.audio.sniff import HEAD_BYTES, SUFFIXES, UNSUPPORTED_SUFFIXES, looks_like_sound, read_head
from sercli.errors import AudioError, InputError
from sercli.files import one_line

MAX_LIST = 1 << 26  # longest list of paths (bytes)
STDIN = "stdin"  # name of the recording on stdin in a report
MAX_PATH = 4_096  # longest path in a list (bytes), as in Linux
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r"))  # bytes that do not occur in text


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A sound file to be scored.

    Attributes:
        path: Path of the file.
        name: Name in the report: the path as given, with forward slashes.
        relative: Path below the folder it was found in; empty if it was given itself.
        problem: Why it cannot be opened, in one line; only for unreadable folders, else empty.
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
    """Lists every recording among files and in folders at any depth.

    Folder entries are sorted by name, subfolders included. Hidden entries are skipped, as are files with neither the
    suffix nor the first bytes of a sound file. Symbolic links are followed, but no folder is entered and no file listed
    twice.

    Args:
        paths: Files, folders, and patterns such as ``calls/**/*.wav``, where ``**`` matches any number of folders.
        stdin: Stream read for ``-`` in `paths`: a list of further paths, taken literally, one per line or
            NUL-terminated, or the content of a sound file. A missing file in a list becomes a recording that fails, so
            that one stale name does not stop a long list.
        spool: File to write the content of a sound file on stdin to.
        unread: Counter of unsupported sound files in folders, by suffix.

    Raises:
        InputError: If a path does not exist, a given folder is unreadable, stdin is neither sound nor a list, or there
            are no recordings.
    """
    paths = list(dict.fromkeys(paths))  # stdin, too, is read once
    recordings: dict[str, Recording] = {}
    search = _Search(set(), Counter() if unread is None else unread)
    for path in paths:
        matches: Iterable[Recording]
        matches = _read_stdin(stdin, spool, search) if path == "-" and stdin is not None else _find(path, search)
        for recording in matches:
            recordings.setdefault(os.path.realpath(recording.path), recording)
    if not recordings:
        names = (STDIN if path == "-" and stdin is not None else one_line(path) for path in paths[:3])
        shown = ", ".join(names) + (", …" if len(paths) > 3 else "")
        left_out = f"; not supported: {', '.join(f'{n} {suffix}' for suffix, n in search.unread.items())}"
        msg = f"no recording in {shown}: expected sound files, such as WAV, FLAC, Ogg, MP3 or M4A, at any depth"
        raise InputError(msg + (left_out if search.unread else ""))
    if sum(recording.name == STDIN for recording in recordings.values()) > 1:
        msg = f"a file and the recording on stdin would both be {STDIN!r} in the report: rename the file"
        raise InputError(msg)
    return list(recordings.values())


@dataclass(frozen=True, slots=True)
class _Search:
    entered: set[tuple[int, int]]  # by device and inode
    unread: Counter[str]


def _read_stdin(stdin: BinaryIO, spool: Path | None, search: _Search) -> Iterator[Recording]:
    head = stdin.read(1 << 16)
    if is_list(head):
        content = head + stdin.read(MAX_LIST)
        if stdin.read(1):
            msg = f"the list of recordings on stdin is longer than {MAX_LIST >> 20} MiB: give folders or patterns"
            raise InputError(msg)
        if is_list(content):
            for line in parse_list(content):
                yield from _find(line, search, listed=True)
            return
    elif spool is not None and looks_like_sound(head[:HEAD_BYTES]) is not False:
        with spool.open("wb") as stream:
            stream.write(head)
            shutil.copyfileobj(stdin, stream)
        yield Recording(path=spool, name=STDIN)
        return
    msg = "stdin is neither a sound file nor a list of paths: expected one path per line, or the bytes of a recording"
    raise InputError(msg)


def is_list(content: bytes) -> bool:
    """Whether bytes look like a list of paths: lines of text, or NUL-terminated parts, no longer than paths."""
    parts = content.split(b"\0" if b"\0" in content else b"\n")
    return all(len(part) <= MAX_PATH and _could_be_path(part) for part in parts)


def _could_be_path(part: bytes) -> bool:
    return part == part.translate(None, _CONTROL) or os.path.lexists(part)


def parse_list(content: bytes) -> list[str]:
    """Parses a list of paths, one per line, or NUL-terminated if there is any NUL, like ``find -print0``.

    Raises:
        InputError: If the list is empty.
    """
    if b"\0" in content:
        lines = content.split(b"\0")
    else:
        lines = [line.removesuffix(b"\r") for line in content.removeprefix(codecs.BOM_UTF8).split(b"\n")]
    paths = [os.fsdecode(line) for line in lines if line]
    if not paths:
        msg = "the list of recordings on stdin is empty: expected one path per line"
        raise InputError(msg)
    return paths


def _find(given: str | Path, search: _Search, *, listed: bool = False) -> Iterator[Recording]:
    path = Path(given)
    # os.path rather than Path, because it returns False for invalid names.
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
        missing = "nothing matches the pattern" if glob.has_magic(str(given)) else "no such file or folder"
        msg = f"{missing}: {one_line(given or repr(given))}"
        raise InputError(msg)


def _match(given: str | Path) -> list[str]:
    """Expands a pattern to sorted files and folders, without hidden ones, like a shell."""
    pattern = str(given)
    if not glob.has_magic(pattern):
        return []
    try:
        matches = _match_deep(Path(pattern)) if "**" in pattern else glob.glob(pattern)  # noqa: PTH207
        return sorted(matches, key=lambda match: Path(match).parts)
    except (OSError, ValueError, re.error):
        return []


def _match_deep(pattern: Path) -> Iterator[str]:
    """Like glob, but enters no folder twice, so that loops of symbolic links end."""
    first = next(number for number, part in enumerate(pattern.parts) if glob.has_magic(part))
    base = Path(*pattern.parts[:first])
    names = pattern.parts[first:]
    entered: set[tuple[int, int]] = set()
    folders = [str(base)]  # not by os.walk, which calls itself for each level before Python 3.12
    while folders:
        folder = folders.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116 - str is faster than Path for thousands of entries
            with os.scandir(folder) as found:
                entries = sorted((entry for entry in found if entry.name[0] != "."), key=lambda entry: entry.name)
        except OSError:
            continue
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        folders += [entry.path for entry in reversed(entries) if _is_folder(entry)]
        for entry in entries:
            if _fits(Path(entry.path).relative_to(base).parts, names):
                yield entry.path


def _fits(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the names of a path match those of a pattern; ``**`` matches any number of names."""
    reached = {0}  # numbers of the pattern's names that may be matched so far
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
        children = sorted((entry.name, _is_folder(entry)) for entry in entries if entry.name[0] != ".")
    search.entered.add((status.st_dev, status.st_ino))
    for name, is_folder in children:
        path = folder / name
        if is_folder:
            yield from _walk_below(path, search)
        elif path.suffix.lower() in SUFFIXES or _sounds(path):
            yield Recording(path=path, name=path.as_posix())
        elif path.suffix.lower() in UNSUPPORTED_SUFFIXES:
            search.unread[path.suffix.lower()] += 1


def _walk_below(folder: Path, search: _Search) -> Iterator[Recording]:
    try:
        yield from _walk_into(folder, search)
    except (OSError, RecursionError) as reason:
        # One unreadable folder among many becomes a row in the report; the batch goes on.
        why = "nested too deeply" if isinstance(reason, RecursionError) else reason.strerror
        problem = f"folder cannot be read ({why})"
        yield Recording(path=folder, name=folder.as_posix(), problem=problem)


def _sounds(path: Path) -> bool:
    """Whether a file is a recording, judged by its content."""
    sound = looks_like_sound(read_head(path))
    if sound is not None:
        return sound
    from sercli.audio.decode import AudioReader  # loads numpy and decoders; rarely needed here

    try:
        next(iter(AudioReader(path)), None)
    except AudioError:
        return False
    return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links, or a folder that can be listed but not entered
        return False
