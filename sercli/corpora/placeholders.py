"""Placeholders that Git LFS and git-annex leave where they have not fetched a file."""

import os
from pathlib import Path

_GIT_LFS = b"version https://git-lfs.github.com/spec/"
_GIT_ANNEX = b"/annex/objects/"


def describe_placeholder(path: Path) -> str:
    """Says in one line that a file is a placeholder and how to get its content; empty if it is not one."""
    try:
        if path.is_symlink() and not path.exists():
            start = os.fsencode(path.readlink())
        elif not path.is_file():  # opening a pipe would wait for its other end
            return ""
        else:
            with path.open("rb") as stream:
                start = stream.read(len(_GIT_LFS))
    except OSError:
        return ""
    if start.startswith(_GIT_LFS):
        return "is a Git LFS pointer, not the file itself: run 'git lfs pull' in its repository"
    if _GIT_ANNEX in start:
        return "is a git-annex pointer, not the file itself: run 'git annex get' or 'datalad get' on it"
    return ""
