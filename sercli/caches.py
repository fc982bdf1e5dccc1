"""Writable folders for libraries that insist on a cache, where the home folder is missing or read-only."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

VARIABLES = {"NUMBA_CACHE_DIR": "numba", "MPLCONFIGDIR": "matplotlib"}
"""Environment variables that name a library's cache, and the folder for it."""

MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108 - of containers whose image is read-only; see _make_own_folder


def provide_caches() -> None:
    """Sets the cache folders of numba, which librosa needs, and of matplotlib, if they would have none to write to.

    Without a cache numba raises RuntimeError and matplotlib prints a warning. Call this before they are imported.
    Worker processes inherit the setting; what the user has set stays.
    """
    temporary = _find_temporary_folder()
    missing = [name for name in VARIABLES if name not in os.environ]
    if not missing or temporary is None or is_writable(_find_user_cache()):
        return
    folder = _make_own_folder(temporary)
    for name in missing:
        os.environ[name] = str(folder / VARIABLES[name])


def _find_temporary_folder() -> Path | None:
    try:
        return Path(tempfile.gettempdir())
    except OSError:  # neither TMPDIR nor /tmp nor the working folder can be written
        if not is_writable(MEMORY_FOLDER):
            return None
        os.environ["TMPDIR"] = str(MEMORY_FOLDER)
        return MEMORY_FOLDER


def _find_user_cache() -> Path | None:
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base)
    try:
        return Path.home() / ".cache"
    except RuntimeError:  # no HOME, and a user that the system does not know, as of docker run --user
        return None


def is_writable(folder: Path | None) -> bool:
    """Whether a folder can be written, or made, by this process."""
    if folder is None or not folder.is_absolute():
        return False
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):  # not to be looked into
            if place.exists():
                effective = os.access in os.supports_effective_ids
                return place.is_dir() and os.access(place, os.W_OK | os.X_OK, effective_ids=effective)
    return False


def _make_own_folder(parent: Path) -> Path:
    """Makes a folder that no other user can write to, since what numba caches there is run as code."""
    if not hasattr(os, "geteuid"):  # Windows, whose temporary folder is the user's own
        return Path(tempfile.mkdtemp(prefix="sercli-", dir=parent))
    folder = parent / f"sercli-cache-{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077:
        return folder
    return Path(tempfile.mkdtemp(prefix="sercli-", dir=parent))
