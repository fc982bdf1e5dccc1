"""Opens the source of a corpus: a folder, archives, or a download."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sercli.corpora.archive import is_archive, restore_on_error, unpack_archives
from sercli.corpora.archive_members import OTHER_SUFFIXES, REMEDY, is_clutter
from sercli.corpora.corpus import Corpus, Source, find_files, list_sound_files
from sercli.corpora.download import RetryPolicy, fetch
from sercli.corpora.registry import CORPORA
from sercli.errors import CorpusError, InputError, UsageError
from sercli.files import hash_file, read_json_object
from sercli.labels import LabelMerger
from sercli.locks import lock_folder

RECORDINGS = "recordings"  # folder under data/<corpus>/ that archives are unpacked into
UNPACKED_MARKER = ".sercli.json"  # in that folder: which archives it holds, so that they are unpacked once

StageProgress = Callable[[int, int, str], None]
"""Called with how much of a stage is done, how much there is, and the stage: ``download`` and ``unpack`` in bytes,
``index`` in recordings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to prepare.

    Attributes:
        corpus: Corpus to index.
        index: Index to add rows to; made if missing.
        data_dir: Folder for downloads and unpacked archives, each in a subfolder named after the corpus.
        source: Folder of recordings or archives, or an archive; None for the corpus's own download.
        labels: Table of labels, for a corpus that needs one.
        label_map: Labels to merge into others, for the user's own recordings.
        url: Mirror of the download.
        policy: When to retry the download and when to give up.
        jobs: Number of recordings to decode at the same time.
        force: Whether to unpack and index again what is in place.
    """

    corpus: Corpus
    index: Path
    data_dir: Path
    source: Path | None = None
    labels: Path | None = None
    label_map: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    jobs: int = 1
    force: bool = False


def check_request(request: Request) -> None:
    """Raises `UsageError` if an argument is missing, or does not apply to the corpus."""
    corpus = request.corpus
    if corpus.needs_labels and request.labels is None:
        msg = f"the corpus {corpus.name} needs a table of labels: give it with --labels FILE"
    elif request.labels is not None and not corpus.needs_labels:
        msg = f"--labels is for the corpus csv; {corpus.name} comes with its labels"
    elif request.label_map and not corpus.takes_any:
        own = ", ".join(name for name, other in CORPORA.items() if other.takes_any)
        msg = f"--map is for your own recordings ({own}); {corpus.name} comes with its labels"
    elif request.url is not None and (request.source is not None or corpus.archive is None):
        msg = "--url is for a download: leave out --from, and choose a corpus that has one"
    elif corpus.takes_any and not corpus.needs_labels and request.source is None:
        msg = f"the corpus {corpus.name} needs your recordings: give their folder or archive with --from PATH"
    elif not corpus.needs_labels and request.source is None and corpus.archive is None:
        msg = (
            f"sercli cannot download {corpus.name}: get it from {corpus.page}, then run "
            f"'sercli prepare {corpus.name} --from PATH' with its folder or archive"
        )
    else:
        return
    raise UsageError(msg)


def open_source(request: Request, progress: StageProgress, stack: contextlib.ExitStack) -> Source:
    """Finds the recordings, after a download and unpacking where needed.

    Args:
        request: What to prepare.
        progress: Called during download and unpacking.
        stack: If it ends with an exception, the recordings that were replaced are put back.

    Raises:
        InputError: If they are missing, or an archive cannot be read.
        DownloadError: If the download fails.
        OSError: If something cannot be written.
    """
    path = request.source
    left: tuple[str, ...] = ()
    if path is None and request.labels is not None:
        folder = request.labels.parent
    elif path is None:
        folder = _download(request, progress, stack)
    elif path.is_file():
        folder = _unpack(request, _lock_recordings(request, stack), {"": path}, progress, stack)
    elif path.is_dir():
        folder, left = _open_folder(request, path, progress, stack)
    else:
        msg = f"no such file or folder: {path}; --from takes an archive or a folder of recordings"
        raise InputError(msg)
    return Source(folder=folder, labels=request.labels, merge=LabelMerger(request.label_map), archives=left)


def _open_folder(
    request: Request, folder: Path, progress: StageProgress, stack: contextlib.ExitStack
) -> tuple[Path, tuple[str, ...]]:
    """Unpacks the archives of a folder that holds archives only; else returns it with the names of its archives."""
    if not request.corpus.needs_labels and request.data_dir.resolve().is_relative_to(folder.resolve()):
        for marker in request.data_dir.glob(f"*/{RECORDINGS}/{UNPACKED_MARKER}"):
            if marker.parents[1].name != request.corpus.name:
                msg = (
                    f"{folder} contains {marker.parent}, the recordings of another corpus: give a folder without it to "
                    "--from, or another --data-dir"
                )
                raise InputError(msg)
    archives = {str(path.relative_to(folder)): path for path in find_files(folder) if is_archive(path)}
    try:
        list_sound_files(folder)
    except CorpusError:
        if archives:
            return _unpack(request, _lock_recordings(request, stack), archives, progress, stack), ()
        for path in find_files(folder):
            if path.name.lower().endswith(OTHER_SUFFIXES):
                msg = f"no recording under {folder}, but {path.name}, which sercli does not read: {REMEDY}"
                raise CorpusError(msg) from None
        raise
    return folder, tuple(archives)


def _lock_recordings(request: Request, stack: contextlib.ExitStack) -> Path:
    """Locks the folder of a corpus against another download or unpacking; returns that of its recordings."""
    folder = request.data_dir / request.corpus.name
    stack.enter_context(lock_folder(folder, "--data-dir"))
    return folder / RECORDINGS


def _download(request: Request, progress: StageProgress, stack: contextlib.ExitStack) -> Path:
    folder, pinned = _lock_recordings(request, stack), request.corpus.archive
    assert pinned is not None  # noqa: S101 - check_request has refused this
    if not request.force and _is_unpacked(folder, pinned.md5):
        return folder
    archive = fetch(
        pinned,
        folder.parent,
        url=request.url,
        policy=request.policy,
        progress=lambda done, total: progress(done, total, "download"),
    )
    return _unpack(request, folder, {"": archive}, progress, stack)


def _unpack(
    request: Request,
    folder: Path,
    archives: Mapping[str, Path],
    progress: StageProgress,
    stack: contextlib.ExitStack,
) -> Path:
    md5 = _hash(archives)
    if not request.force and _is_unpacked(folder, md5):
        return folder
    if folder.exists() and not (folder / UNPACKED_MARKER).is_file():
        msg = f"{folder} exists but was not created by sercli: move it, or index it with --from {folder}"
        raise InputError(msg)
    unpack_archives(
        archives,
        folder,
        marker=(UNPACKED_MARKER, {"archives": [path.name for path in archives.values()], "md5": md5}),
        keep_previous=True,
        progress=lambda done, total: progress(done, total, "unpack"),
    )
    stack.enter_context(restore_on_error(folder))
    return folder


def _hash(archives: Mapping[str, Path]) -> str:
    """MD5 of one archive, or of the names and MD5s of several."""
    if list(archives) == [""]:
        return hash_file(archives[""], "md5")
    text = "".join(f"{name}\0{hash_file(path, 'md5')}\0" for name, path in archives.items())
    return hashlib.md5(text.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()


def _is_unpacked(folder: Path, md5: str) -> bool:
    """Whether the folder holds as many files as were unpacked into it from archives with this MD5."""
    marker = read_marker(folder / UNPACKED_MARKER)
    present = sum(not is_clutter(name) for _, _, files in os.walk(folder) for name in files) - 1
    return marker.get("md5") == md5 and marker.get("files") == present


def read_marker(path: Path) -> dict[str, Any]:
    """Reads a JSON object, empty if it is missing or damaged."""
    try:
        return read_json_object(path)
    except (InputError, OSError):
        return {}
