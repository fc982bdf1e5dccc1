"""Results folders: one writer at a time, replaced as a whole."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from sercli.errors import InputError
from sercli.files import acquire_lock, release_lock

LOCK_FILE = ".lock"  # file in a folder while a command writes it


@contextlib.contextmanager
def own_folder(folder: Path, command: str) -> Iterator[None]:
    """Creates a folder and locks it while the block runs; removes it afterwards if it is empty.

    Args:
        folder: Folder to write.
        command: Command that writes it, for the message.

    Raises:
        InputError: If another process is writing the folder.
        OSError: If it cannot be created.
    """
    folder.mkdir(parents=True, exist_ok=True)
    busy = f"{folder} is being written by another {command}: wait until it ends, or give another --out"
    lock = acquire_lock(folder / LOCK_FILE, InputError(busy))
    try:
        yield
    finally:
        release_lock(lock)
        with contextlib.suppress(OSError):  # not empty
            folder.rmdir()


def replace_folder(new: Path, target: Path) -> None:
    """Renames a finished folder to its final name, replacing an existing folder."""
    if target.exists():
        old = target.with_name(f".{target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        new.rename(target)
        shutil.rmtree(old)
    else:
        new.rename(target)
