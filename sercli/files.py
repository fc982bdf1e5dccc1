"""Atomic file writing, hashes, and one-line file system errors."""

import contextlib
import csv
import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from sercli.errors import InputError, UsageError

_WRITE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE})

_REMEDIES = {
    errno.ENOSPC: "free some space, or write to another disk",
    errno.EDQUOT: "your disk quota is used up: free some space, or write to another disk",
    errno.EFBIG: "the file system or a limit ('ulimit -f') allows no larger file",
    errno.EACCES: "check the permissions of the file and its folder",
    errno.EPERM: "check the permissions of the file and its folder",
    errno.EROFS: "write to another folder",
    errno.EMFILE: "raise the limit with 'ulimit -n', or give fewer --jobs",
    errno.ENFILE: "the whole system has too many open files: end other programs, or give fewer --jobs",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EISDIR: "expected a file, found a folder",
    errno.ENOTDIR: "a part of this path is a file, expected a folder",
    errno.EEXIST: "something else has this name: move it, or give another name",
    errno.EIO: "disk or network error",
    errno.ESTALE: "the network file system has lost the file: try again",
    errno.ENOLCK: "the file system does not support locks",
}


def describe_os_error(error: OSError) -> str:
    """Describes a file system error in one line: what happened, to which file, and what to do.

    Args:
        error: Error that names its file: from `open` or the like, or from a `name_file` block.
    """
    if error.errno is None:
        return one_line(error)
    what = one_line(error.strerror or os.strerror(error.errno))
    name = " to ".join(one_line(os.fsdecode(name)) for name in (error.filename, error.filename2) if _is_name(name))
    remedy = _REMEDIES.get(error.errno, "")
    return f"{what}{f' ({name})' if name else ''}{f': {remedy}' if remedy else ''}"


def _is_name(name: object) -> bool:
    return isinstance(name, str | bytes | os.PathLike) and bool(name)


@contextlib.contextmanager
def name_file(path: Path) -> Iterator[None]:
    """Adds this file's name to write errors that name no file.

    Python names a file that cannot be opened, but not one that cannot be written, as on a full disk. HDF5 and others
    put the reason into a message or a RuntimeError; it is recognized by its error number.

    Raises:
        OSError: With `path` as its file name.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = _find_errno(error)
        if number not in _WRITE_ERRORS or (isinstance(error, OSError) and error.filename):
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _find_errno(error: OSError | RuntimeError) -> int | None:
    if isinstance(error, OSError) and error.errno:
        return error.errno
    text = str(error).lower()  # such as "... errno = 28, error message = 'No space left on device' ..."
    return next((number for number in _WRITE_ERRORS if os.strerror(number).lower() in text), None)


@contextlib.contextmanager
def write_by_rename(path: Path, mode: str = "w", *, durable: bool = True) -> Iterator[IO[Any]]:
    """Opens a temporary file beside `path` and renames it to `path` when the block ends without an error.

    Readers see either the old file or the new one. Text is UTF-8 with line ends as written.

    Args:
        path: File to write; its folder is created if missing.
        mode: ``"w"`` for text or ``"wb"`` for bytes.
        durable: Whether to sync to disk before renaming, so that a power cut cannot leave an empty file.

    Raises:
        OSError: From the file system (disk full, no permission), naming the file; the temporary file is removed.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if obstacle := find_obstacle(path.parent):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(obstacle))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_name_temporary(path)}.{secrets.token_hex(4)}.tmp")
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "")
    with name_file(path):
        try:
            opened = temporary.open(mode.replace("w", "x"), encoding=encoding, newline=newline)
        except OSError as reason:
            reason.filename = str(path)
            raise
    try:
        with name_file(path):
            with opened as stream:
                with contextlib.suppress(FileNotFoundError):
                    temporary.chmod(stat.S_IMODE(path.stat().st_mode))  # those of the file that it replaces
                yield stream
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _name_temporary(path: Path) -> str:
    return os.fsdecode(os.fsencode(f".{path.name}")[:80])


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Removes what killed runs of `write_by_rename` left beside these files; nobody else may be writing them."""
    names: dict[Path, set[str]] = {}
    for path in paths:
        names.setdefault(path.parent, set()).add(_name_temporary(path))
    for folder, temporary in names.items():
        for leftover in folder.glob(f"*.{'[0-9a-f]' * 8}.tmp"):
            if leftover.stem.rpartition(".")[0] in temporary:
                leftover.unlink(missing_ok=True)


def replace_folder(new: Path, target: Path, *, keep_previous: bool = False) -> None:
    """Renames a finished folder to its final name, replacing an existing folder.

    Args:
        new: Finished folder, beside `target`.
        target: Final name.
        keep_previous: Whether to keep the replaced folder under `name_previous`.
    """
    # A folder cannot be renamed onto one that holds files.
    previous = name_previous(target)
    remove_folder(previous)
    if target.exists():
        target.rename(previous)
    new.rename(target)
    if not keep_previous:
        remove_folder(previous)


def name_previous(folder: Path) -> Path:
    """Returns the name of a folder while another replaces it, as in ``.NAME.old``."""
    return folder.with_name(f".{folder.name}.old")


def remove_folder(folder: Path) -> None:
    """Removes a folder with its content, if it exists; of a link, only the link."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def find_obstacle(folder: Path) -> Path | None:
    """Returns the first existing path among a folder and its ancestors that is not a directory, or None."""
    above = next((place for place in (folder, *folder.parents) if place.exists()), None)
    return above if above and not above.is_dir() else None


def require_folder(path: Path, content: str) -> None:
    """Checks that a folder to write is not a file.

    Args:
        path: Folder, which may be missing.
        content: What the folder is for, for the message.

    Raises:
        UsageError: If it is a file.
    """
    if path.exists() and not path.is_dir():
        msg = f"{path} is a file, expected a folder for {content}: give another --out"
        raise UsageError(msg)


@contextlib.contextmanager
def make_folder(folder: Path) -> Iterator[None]:
    """Creates a folder and those above it; afterwards removes those of them that are empty.

    Raises:
        OSError: If it cannot be created.
    """
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # not empty
            for path in created:
                path.rmdir()


def write_json(path: Path, value: object) -> None:
    """Writes a value as indented JSON, atomically.

    Raises:
        ValueError: For NaN and infinity, which JSON does not have.
        OSError: From `write_by_rename`.
    """
    with write_by_rename(path) as stream:
        json.dump(value, stream, indent=2, ensure_ascii=False, allow_nan=False)
        stream.write("\n")


def make_csv_writer(stream: IO[str], delimiter: str = ",") -> Callable[[Iterable[object]], None]:
    """Returns a function that writes one CSV row in a way that the csv module reads back unchanged.

    Before Python 3.13, csv does not quote cells with a carriage return, although it needs that to read them.
    """
    minimal, quoted = (
        csv.writer(stream, delimiter=delimiter, lineterminator="\n", quoting=quoting)
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
    )

    def write(row: Iterable[object]) -> None:
        cells = list(row)
        writer = quoted if any(isinstance(cell, str) and "\r" in cell for cell in cells) else minimal
        writer.writerow(cells)

    return write


def write_table(path: Path, rows: Sequence[Mapping[str, object]], columns: Sequence[str] = ()) -> None:
    """Writes rows with the same keys as UTF-8 CSV with a header, atomically.

    Args:
        path: File to write.
        rows: Values by column.
        columns: Header to use if there are no rows.
    """
    with write_by_rename(path) as stream:
        write = make_csv_writer(stream)
        write(rows[0] if rows else columns)
        for row in rows:
            write(row.values())


def read_json_object(path: Path, error: type[InputError] = InputError, expected: str = "") -> dict[str, Any]:
    """Reads a JSON file that contains one object.

    Args:
        path: File to read.
        error: Class of the errors.
        expected: What its folder should be, for the message if the file is missing.

    Raises:
        InputError: If it is missing, not JSON, or not an object (of the class `error`).
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        msg = f"{path} is missing{f': expected {expected}' if expected else ''}"
        raise error(msg) from None
    except (ValueError, RecursionError) as reason:
        msg = f"{path} is not valid JSON ({one_line(reason)}): it may be cut short; restore it, or make it again"
        raise error(msg) from None
    if not isinstance(value, dict):
        msg = f"{path} should contain a JSON object, found {type(value).__name__}"
        raise error(msg)
    return value


def hash_file(path: Path, algorithm: str = "sha256") -> str:
    """Computes the hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def one_line(reason: object) -> str:
    """Formats a text or an error on a single line, without control characters."""
    if isinstance(reason, KeyError) and str(*reason.args).isidentifier():
        reason = f"{reason} is missing"
    return mask_controls(" ".join(str(reason).split())) or type(reason).__name__


def mask_controls(text: str) -> str:
    """Replaces control characters, which could be commands to the terminal, by question marks."""
    return "".join(char if char.isprintable() else "?" for char in text)
