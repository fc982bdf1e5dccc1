"""Files that are whole or absent: writing by rename, hashing in blocks."""

import contextlib
import csv
import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import filelock

from sercli.errors import InputError

HASH_BLOCK = 1 << 20  # bytes


@contextlib.contextmanager
def write_by_rename(path: Path, mode: str = "w", *, durable: bool = True) -> Iterator[IO[Any]]:
    """Opens a temporary file beside `path` that takes its name when the block ends without error.

    A reader sees the old file or the new one, never a part. Text is UTF-8, line ends as written.

    Args:
        path: the file to appear; its folder is made when missing.
        mode: ``"w"`` for text or ``"wb"`` for bytes.
        durable: whether the content is forced onto the disk first, so that a power cut cannot leave an empty file.

    Raises:
        OSError: from the file system (disk full, no permission); the temporary file is removed.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = os.fsdecode(os.fsencode(f".{path.name}")[:80]) + "."
    descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "")
    try:
        with os.fdopen(descriptor, mode, encoding=encoding, newline=newline) as stream:
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        temporary.chmod(_find_mode(path))
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def acquire_lock(path: Path, refusal: Exception | None = None) -> filelock.FileLock:
    """A lock on a file, held by this process until it is released.

    Args:
        path: of the file; its folder must be there.
        refusal: what is raised when another process holds the lock; None waits for it.

    Raises:
        OSError: if the file cannot be made.
    """
    lock = filelock.FileLock(path)
    if refusal is None:
        lock.acquire()
        return lock
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise refusal from None
    return lock


def _find_mode(path: Path) -> int:
    """The rights of the file that is replaced, or those of a new one."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def find_obstacle(folder: Path) -> Path | None:
    """What stands where this folder, or one that it is to lie in, should be, and is none; None if nothing does."""
    above = next((place for place in (folder, *folder.parents) if place.exists()), None)
    return above if above and not above.is_dir() else None


def write_json(path: Path, value: object) -> None:
    """Writes a value as indented JSON, by rename; NaN is refused since JSON has none."""
    with write_by_rename(path) as stream:
        json.dump(value, stream, indent=2, ensure_ascii=False, allow_nan=False)
        stream.write("\n")


def make_csv_writer(stream: IO[str], delimiter: str = ",") -> Callable[[Iterable[object]], None]:
    """A function that writes one row; every row can be read again with the module csv.

    Before Python 3.13 that module's writer does not quote a cell for a carriage return, which its reader wants.
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
    """Writes rows with the same keys as UTF-8 CSV with a header, by rename.

    Args:
        path: of the file.
        rows: of the table.
        columns: its header where there are no rows.
    """
    with write_by_rename(path) as stream:
        write = make_csv_writer(stream)
        write(rows[0] if rows else columns)
        for row in rows:
            write(row.values())


def read_json_object(path: Path, error: type[InputError] = InputError) -> dict[str, Any]:
    """Reads a JSON file that holds one object.

    Raises:
        InputError: (or the subclass given as `error`) if it is missing, not JSON, or not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        msg = f"{path} is missing"
        raise error(msg) from None
    except (ValueError, RecursionError) as reason:
        msg = f"{path} is not valid JSON ({one_line(reason)}): it may be cut short; make it anew"
        raise error(msg) from None
    if not isinstance(value, dict):
        msg = f"{path} should hold a JSON object, found {type(value).__name__}"
        raise error(msg)
    return value


def hash_file(path: Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file's bytes, read in blocks of one MiB."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def one_line(reason: object) -> str:
    """Text of an error on a single line, without control characters."""
    text = " ".join(str(reason).split())
    return "".join(char if char.isprintable() else "?" for char in text) or type(reason).__name__
