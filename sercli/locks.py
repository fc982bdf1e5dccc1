"""Locks for any file system."""

import contextlib
import datetime as dt
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sercli.errors import InputError
from sercli.files import make_folder, one_line

if TYPE_CHECKING:
    import filelock

LOCK_TIMEOUT = 300.0  # seconds to wait for a lock; the longest hold is a numba compilation, 30 s on one core
MARKER_SUFFIX = ".owner"  # suffix of the file that replaces a lock on file systems without locks
LOCK_FILE = ".lock"  # file in a folder while a command writes it


def acquire_lock(path: Path, busy: InputError | None = None) -> "filelock.BaseFileLock":
    """Locks a file until the lock is released or this process ends.

    On file systems without locks (NFS, SMB or Lustre, depending on mount options), a marker file with the process and
    host of its owner replaces the lock. A marker of a process on this host that has ended is taken over.

    Args:
        path: Lock file, created if missing; its folder must exist.
        busy: Error raised when another process holds the lock; None waits up to `LOCK_TIMEOUT`.

    Raises:
        InputError: If another process holds the lock (of `busy`'s class); it names a marker's owner.
        OSError: If the file cannot be created.
    """
    import filelock  # takes 50 ms, which commands without locks save

    soft = not _grants_locks(path.parent)
    marker = path.with_name(path.name + MARKER_SUFFIX)
    lock = filelock.SoftFileLock(marker) if soft else filelock.FileLock(path)
    try:
        lock.acquire(timeout=0 if busy else LOCK_TIMEOUT)
    except filelock.Timeout:
        reason = busy or InputError(f"{path} has been locked by another process for {LOCK_TIMEOUT:.0f} s: try again")
        msg = f"{reason}{_describe_owner(marker) if soft else ''}"
        raise type(reason)(msg) from None
    return lock


def release_lock(lock: "filelock.BaseFileLock") -> None:
    """Removes the lock file and releases the lock.

    The file is removed while locked: a process that opened it before notices that it is gone and starts over.
    """
    with contextlib.suppress(OSError):  # Windows cannot remove an open file
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


@contextlib.contextmanager
def hold_lock(path: Path, busy: InputError | None = None) -> Iterator[None]:
    """Locks a file while the block runs; arguments and errors as for `acquire_lock`."""
    lock = acquire_lock(path, busy)
    try:
        yield
    finally:
        release_lock(lock)


def run_once(stamp: Path, action: Callable[[], object]) -> None:
    """Runs an action once across processes, which wait for it; a stamp file marks success.

    Args:
        stamp: File created after the action; its folder is created if missing.
        action: What to run.

    Raises:
        InputError: If another process has held the lock for `LOCK_TIMEOUT`.
        OSError: If the file cannot be created.
    """
    if stamp.exists():
        return
    stamp.parent.mkdir(parents=True, exist_ok=True)
    with hold_lock(stamp.with_name(f".{stamp.name}.lock")):
        if not stamp.exists():
            action()
            stamp.touch()


def _grants_locks(folder: Path) -> bool:
    """Whether a new file in this folder, which no other process can have locked, can be locked."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        probe = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed below
    except OSError as error:  # in /proc, FileLock would take it for a lock of another process
        raise OSError(error.errno, f"no file can be created here: {error.strerror}", str(folder)) from None
    with probe:
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def _describe_owner(marker: Path) -> str:
    try:
        process, host, *_ = marker.read_text(encoding="utf-8").split()
        since = dt.datetime.fromtimestamp(marker.stat().st_mtime).astimezone().isoformat(" ", "seconds")
    except (OSError, ValueError):
        owner = "its owner is unknown"
    else:
        owner = f"by process {one_line(process)} on {one_line(host)} since {since}"
    return f" ({owner}; if that process no longer runs, remove {marker})"


@contextlib.contextmanager
def lock_folder(folder: Path, option: str = "--out") -> Iterator[None]:
    """Creates a folder and locks it while the block runs; removes what it created afterwards if it is empty.

    Args:
        folder: Folder to write.
        option: Option that names the folder, for the message.

    Raises:
        InputError: If another process is writing the folder.
        OSError: If it cannot be created.
    """
    busy = f"{folder} is being written by another sercli command: wait until it ends, or give another {option}"
    with make_folder(folder), hold_lock(folder / LOCK_FILE, InputError(busy)):
        yield
