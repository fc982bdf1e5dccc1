"""Cache folders for libraries that need one when the home folder is missing or read-only."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

VARIABLES = {"NUMBA_CACHE_DIR": "numba", "MPLCONFIGDIR": "matplotlib"}
"""Environment variable of a library's cache folder, and the name of the folder."""

MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108 - in containers with a read-only image; see _make_own_folder


def provide_caches() -> None:
    """Sets cache folders for numba (used by librosa) and matplotlib where their default is not writable.

    Without one, numba raises RuntimeError and matplotlib prints a warning. Call this before they are imported. Worker
    processes inherit the setting; variables set by the user are left alone.
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
    except OSError:  # TMPDIR, /tmp and the working folder are all not writable
        if not is_writable(MEMORY_FOLDER):
            return None
        os.environ["TMPDIR"] = str(MEMORY_FOLDER)
        return MEMORY_FOLDER


def _find_user_cache() -> Path | None:
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base)
    try:
        return Path.home() / ".cache"
    except RuntimeError:  # no HOME and an unknown user, as with docker run --user
        return None


def find_numba_cache(package: Path) -> Path:
    """Returns the folder that numba caches the compiled functions of a package in, or the package's own share of it.

    Args:
        package: Folder of the package.
    """
    if folder := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(folder)
    beside = package / "__pycache__"
    user = _find_user_cache()
    return beside if user is None or is_writable(beside) else user


def is_writable(folder: Path | None) -> bool:
    """Whether this process can write or create a folder."""
    if folder is None or not folder.is_absolute():
        return False
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):  # an unreadable folder
            if place.exists():
                effective = os.access in os.supports_effective_ids
                return place.is_dir() and os.access(place, os.W_OK | os.X_OK, effective_ids=effective)
    return False


def _make_own_folder(parent: Path) -> Path:
    """Creates a folder that no other user can write to, because numba executes what it caches there."""
    if not hasattr(os, "geteuid"):  # Windows, whose temporary folder belongs to the user
        return Path(tempfile.mkdtemp(prefix="sercli-", dir=parent))
    folder = parent / f"sercli-cache-{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077:
        return folder
    return Path(tempfile.mkdtemp(prefix="sercli-", dir=parent))
