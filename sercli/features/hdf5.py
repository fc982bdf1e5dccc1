"""Opens HDF5 files, also on file systems without locks."""

import os
from pathlib import Path
from typing import Literal

import h5py

from sercli.errors import StoreError
from sercli.files import one_line


def open_hdf5(path: Path, mode: Literal["r", "w"]) -> h5py.File:
    """Opens an HDF5 file without HDF5's own locking.

    Its locks fail on some file systems, and stores do not need them: a store appears by rename, and its writer holds
    another lock.

    Args:
        path: File to open.
        mode: ``"r"`` to read, ``"w"`` to create a file.

    Raises:
        StoreError: If the file is not a complete HDF5 file.
        OSError: If the file system refuses to open it; names the file.
    """
    try:
        return _open(path, mode, locking=False)
    except OSError as reason:
        if reason.errno:
            raise type(reason)(reason.errno, os.strerror(reason.errno), str(path)) from reason
        msg = (
            f"{path} is not a whole HDF5 file ({one_line(reason)}): move it away and run 'sercli featurize', or "
            "give another --store"
        )
        raise StoreError(msg) from None


def _open(path: Path, mode: str, *, locking: bool | None) -> h5py.File:
    try:
        return h5py.File(path, mode, libver="v110" if mode == "w" else None, locking=locking)
    except OSError as reason:
        # This process has already opened the file with locking, as h5py.File does by default.
        if locking is None or "file locking flag" not in str(reason):
            raise
        return _open(path, mode, locking=None)
