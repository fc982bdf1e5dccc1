"""From the paths a user gives to the ordered list of recordings."""

import codecs
import fnmatch
import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from sercli.audio.decode import read_blocks
from sercli.audio.sniff import Reader, find_reader, read_head
from sercli.errors import AudioError, InputError
from sercli.files import one_line

SUFFIXES: tuple[str, ...] = (
    ".wav",
    ".wave",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".mp3",
    ".aif",
    ".aiff",
    ".aifc",
    ".au",
    ".snd",
    ".caf",
    ".w64",
    ".rf64",
    ".voc",
    ".sph",
    ".m4a",
    ".m4b",
    ".aac",
    ".mp4",
    ".m4v",
    ".mov",
    ".3gp",
    ".webm",
    ".mka",
    ".mkv",
    ".amr",
    ".awb",
    ".wma",
    ".wmv",
    ".asf",
)
"""Of the files in a folder that are taken for recordings, in lower case; others are if their content is sound."""


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


def find_recordings(paths: Iterable[str | Path], stdin: BinaryIO | None = None) -> list[Recording]:
    """Every recording among files and in folders at any depth.

    A folder's entries are sorted by name and each sub-folder is listed where its name stands. Hidden entries are left
    out, and so is what neither has the suffix of a recording nor begins like one. Links are followed, but no folder is
    entered twice and no file listed twice, by whatever names.

    Args:
        paths: files, folders, and patterns such as ``calls/**/*.wav``, in which ``**`` stands for any folders.
        stdin: read for a list of further paths where ``-`` stands in `paths`, one a line or ended by NUL. What
            is missing there is a recording that will fail, since one stale name should not stop a long list.

    Raises:
        InputError: if a path does not exist, a folder named cannot be read, or there is no recording at all.
    """
    places = list(paths)
    recordings: dict[str, Recording] = {}
    entered: set[tuple[int, int]] = set()
    for place in places:
        found: Iterator[Recording]
        if place == "-" and stdin is not None:
            found = (each for line in parse_list(stdin.read()) for each in _find(line, entered, listed=True))
        else:
            found = _find(place, entered)
        for recording in found:
            recordings.setdefault(os.path.realpath(recording.path), recording)
    if not recordings:
        shown = ", ".join(one_line(place) for place in places[:3]) + (", …" if len(places) > 3 else "")
        msg = f"no recording in {shown}: expected sound files, as WAV, FLAC, Ogg, MP3 or M4A, at any depth"
        raise InputError(msg)
    return list(recordings.values())


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


def _find(given: str | Path, entered: set[tuple[int, int]], *, listed: bool = False) -> Iterator[Recording]:
    path = Path(given)
    # os.path rather than Path, since it answers False for names that no file can have.
    if given and os.path.isdir(path):  # noqa: PTH112
        try:
            yield from _walk(path, entered)
        except OSError as reason:
            msg = f"folder {one_line(path)} cannot be read ({reason.strerror})"
            raise InputError(msg) from None
    elif given and (listed or os.path.lexists(path)):
        yield Recording(path=path, name=path.as_posix())
    elif matches := _match(given):
        for match in matches:
            yield from _find(match, entered)
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


def _walk(folder: Path, entered: set[tuple[int, int]]) -> Iterator[Recording]:
    for recording in _walk_into(folder, entered):
        relative = os.path.relpath(recording.path, folder).replace(os.sep, "/")
        yield replace(recording, relative=relative)


def _walk_into(folder: Path, entered: set[tuple[int, int]]) -> Iterator[Recording]:
    status = folder.stat()
    if (status.st_dev, status.st_ino) in entered:
        return
    with os.scandir(folder) as entries:
        found = sorted((entry.name, _is_folder(entry)) for entry in entries if entry.name[0] != ".")
    entered.add((status.st_dev, status.st_ino))
    for name, is_folder in found:
        path = folder / name
        if is_folder:
            yield from _walk_below(path, entered)
        elif path.suffix.lower() in SUFFIXES or _sounds(path):
            yield Recording(path=path, name=path.as_posix())


def _walk_below(folder: Path, entered: set[tuple[int, int]]) -> Iterator[Recording]:
    try:
        yield from _walk_into(folder, entered)
    except OSError as reason:
        # One closed folder among many is a row of the report, not the end of the batch.
        problem = f"folder cannot be read ({reason.strerror})"
        yield Recording(path=folder, name=folder.as_posix(), problem=problem)


def _sounds(path: Path) -> bool:
    """Whether a file is a recording by its content."""
    reader = find_reader(read_head(path))
    if reader is not Reader.PERHAPS:
        return reader is not None
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
