"""From a download, an archive or a folder to rows of the index."""

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sercli.corpora.archive import previous_at_hand, unpack_zip
from sercli.corpora.base import Corpus, Fields, Labelling, Problem, Source
from sercli.corpora.download import RetryPolicy, fetch
from sercli.corpora.duplicates import mark_duplicates
from sercli.corpora.index import Index, Utterance, merge_index, read_index, relative_name, write_index
from sercli.corpora.inspection import inspect_recordings, make_row
from sercli.errors import CorpusError, InputError, UsageError
from sercli.files import acquire_lock, hash_file, read_json_object, write_json

RECORDINGS = "recordings"  # folder under data/<corpus>/ that an archive is unpacked into
UNPACKED_MARKER = ".sercli.json"  # in that folder: which archive it is, so that it is unpacked once
PREPARED_MARKER = "prepared.json"  # under data/<corpus>/: when the rows of the index were made

StageProgress = Callable[[str, int, int], None]
"""Is told the stage (``download``, ``unpack`` or ``index``), how much of it is done, and how much there is:
bytes for the first two, recordings for the third."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be prepared.

    Attributes:
        corpus: whose recordings they are.
        index: the index to add rows to; made when missing.
        data_dir: what is downloaded or unpacked goes below it, into a folder named like the corpus.
        source: a folder of recordings or a zip archive; None for the corpus's own download.
        labels: table of labels, for the corpus ``csv``.
        label_map: from labels of that table to the eight emotions.
        url: of a mirror of the download.
        policy: when to try the download again and when to give up.
        jobs: recordings decoded side by side.
        force: unpack and index again what is in place.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a request.

    Attributes:
        utterances: rows of the corpus in the index.
        problems: files that should be in the index and are not.
        missing: names of recordings that the corpus should hold and the source does not.
        extra: recordings that do not belong to the corpus.
        miscounted: emotions whose number of utterances is not that of the whole corpus: expected, found.
        unchanged: whether all was in place already, so that nothing was done.
    """

    utterances: tuple[Utterance, ...]
    problems: tuple[Problem, ...]
    missing: tuple[str, ...]
    extra: tuple[Problem, ...]
    miscounted: Mapping[str, tuple[int, int]]
    unchanged: bool


def prepare_corpus(request: Request, progress: StageProgress = lambda *_: None) -> Outcome:
    """Brings the recordings of a corpus into place and their rows into the index.

    Recordings that cannot be labelled or decoded are listed in the outcome; the others are indexed.

    Raises:
        UsageError: if the corpus wants something that the request lacks, or the other way round.
        InputError: if there is nothing to index, or the table, the archive or the old index is damaged.
        DownloadError: if the download fails.
        OSError: if something cannot be written; the index is then as it was.
    """
    _check_request(request)
    # Before the work that takes long, so that a damaged index does not waste it.
    old = _read_old_index(request.index)
    with contextlib.ExitStack() as stack:
        return _index_source(request, old, _find_source(request, progress, stack), progress)


def _index_source(request: Request, old: Index, source: Source, progress: StageProgress) -> Outcome:
    labelling = _set_unnameable_aside(request.corpus.label(source), source.folder)
    if not labelling.labelled:
        raise CorpusError(_describe_nothing(request.corpus, source, labelling))
    if not request.force and _is_in_place(request, old, labelling):
        return _make_outcome(request.corpus, old, labelling, (), unchanged=True)
    index, failures = _make_index(request, source.folder, labelling, progress)
    return _make_outcome(request.corpus, index, labelling, failures, unchanged=False)


def _check_request(request: Request) -> None:
    corpus = request.corpus
    wants_table = corpus.name == "csv"
    if wants_table and request.labels is None:
        msg = "the corpus csv needs a table of labels: give it with --labels FILE"
    elif not wants_table and (request.labels is not None or request.label_map):
        msg = f"--labels and --map are for the corpus csv; {corpus.name} comes with its labels"
    elif request.url is not None and (request.source is not None or corpus.archive is None):
        msg = "--url is for a download: leave out --from, and choose a corpus that has one"
    elif not wants_table and request.source is None and corpus.archive is None:
        msg = (
            f"sercli knows no download of {corpus.name}: fetch it from {corpus.page}, then run "
            f"'sercli prepare {corpus.name} --from PATH' with its folder or zip archive"
        )
    else:
        return
    raise UsageError(msg)


def _read_old_index(path: Path) -> Index:
    return read_index(path) if path.exists() else Index(folder=path.parent, utterances=())


def _recordings(request: Request) -> Path:
    """The folder that an archive is unpacked into."""
    return request.data_dir / request.corpus.name / RECORDINGS


def _find_source(request: Request, progress: StageProgress, stack: contextlib.ExitStack) -> Source:
    """Where the recordings are, after a download and unpacking where these are needed, whose end is that of `stack`."""
    folder = request.source
    if folder is None and request.labels is not None:
        folder = request.labels.parent
    elif folder is None:
        folder = _fetch_recordings(request, progress, stack)
    elif folder.is_file():
        folder = _unpack(request, folder, hash_file(folder, "md5"), progress, stack)
    elif not folder.is_dir():
        msg = f"no such file or folder: {folder}; --from wants a zip archive or a folder of recordings"
        raise InputError(msg)
    return Source(folder=folder, labels=request.labels, label_map=request.label_map)


def _fetch_recordings(request: Request, progress: StageProgress, stack: contextlib.ExitStack) -> Path:
    folder, pinned = _recordings(request), request.corpus.archive
    assert pinned is not None  # noqa: S101 - _check_request has seen to it
    if not request.force and _is_unpacked(folder, pinned.md5):
        return folder
    archive = fetch(
        pinned,
        folder.parent,
        url=request.url,
        policy=request.policy,
        progress=lambda done, total: progress("download", done, total),
    )
    return _unpack(request, archive, pinned.md5, progress, stack)


def _unpack(request: Request, archive: Path, md5: str, progress: StageProgress, stack: contextlib.ExitStack) -> Path:
    folder = _recordings(request)
    if not request.force and _is_unpacked(folder, md5):
        return folder
    if folder.exists() and not (folder / UNPACKED_MARKER).is_file():
        msg = f"{folder} was not made by sercli and is in the way: move it, or index it with --from {folder}"
        raise InputError(msg)
    unpack_zip(
        archive,
        folder,
        marker=(UNPACKED_MARKER, {"archive": archive.name, "md5": md5}),
        keep_previous=True,
        progress=lambda done, total: progress("unpack", done, total),
    )
    stack.enter_context(previous_at_hand(folder))
    return folder


def _is_unpacked(folder: Path, md5: str) -> bool:
    """Whether the folder holds as many files as were unpacked into it from the archive of this hash."""
    marker = _read_marker(folder / UNPACKED_MARKER)
    present = sum(len(files) for _, _, files in os.walk(folder)) - 1
    return marker.get("md5") == md5 and marker.get("files") == present


def _read_marker(path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path)
    except (InputError, OSError):
        return {}


def _set_unnameable_aside(labelling: Labelling, folder: Path) -> Labelling:
    """Takes out files whose names are not text, which a UTF-8 index cannot hold."""
    named, unnamed = [], []
    for path, fields in labelling.labelled:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            reason = "its name is not valid UTF-8: rename it"
            unnamed.append(Problem(file=_show_name(path, folder), reason=reason))
        else:
            named.append((path, fields))
    return Labelling(
        labelled=tuple(named),
        problems=(*labelling.problems, *unnamed),
        missing=labelling.missing,
        extra=labelling.extra,
    )


def _describe_nothing(corpus: Corpus, source: Source, labelling: Labelling) -> str:
    where = source.labels or source.folder
    first = next(iter((*labelling.problems, *labelling.extra)), None)
    example = f"; the first: {first}" if first else ""
    return f"nothing under {where} can be indexed as {corpus.name}{example}"


def _is_in_place(request: Request, old: Index, labelling: Labelling) -> bool:
    """Whether the index has just these rows, made of the very files that are there."""
    marker = _read_marker(_prepared_marker(request))
    if marker != _mark(request, labelling):
        return False
    rows = {row.file: row for row in old.utterances if row.corpus == request.corpus.name}
    wanted = {relative_name(path, old.folder): fields for path, fields in labelling.labelled}
    return rows.keys() == wanted.keys() and all(_has_fields(rows[name], fields) for name, fields in wanted.items())


def _mark(request: Request, labelling: Labelling) -> dict[str, Any]:
    """Names the index, and the state of all files without reading them."""
    digest = hashlib.sha256()
    for path, _ in labelling.labelled:
        with contextlib.suppress(OSError):
            status = path.stat()
            # The change time, unlike that of modification, is not set back by copying an old file here; another
            # file that is moved here keeps both.
            state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            digest.update(f"{path}\0{state}\0".encode())
    return {"index": str(request.index.absolute()), "files": digest.hexdigest()}


def _has_fields(row: Utterance, fields: Fields) -> bool:
    names = ("emotion", "speaker", "gender", "intensity", "statement", "repetition")
    same = all(getattr(row, name) == getattr(fields, name) for name in names)
    told, wanted = ({name: value for name, value in each.extra.items() if value} for each in (row, fields))
    return same and told == wanted


def _prepared_marker(request: Request) -> Path:
    return request.data_dir / request.corpus.name / PREPARED_MARKER


def _make_index(
    request: Request, folder: Path, labelling: Labelling, progress: StageProgress
) -> tuple[Index, tuple[Problem, ...]]:
    marker = _mark(request, labelling)  # before they are read, so that what changes meanwhile is seen
    rows, failures, digests = [], [], {}
    paths = [path for path, _ in labelling.labelled]
    found = inspect_recordings(paths, request.jobs)
    for done, ((path, fields), facts) in enumerate(zip(labelling.labelled, found, strict=True), start=1):
        if isinstance(facts, str):
            failures.append(Problem(file=_show_name(path, folder), reason=facts))
        else:
            name = relative_name(path, request.index.parent)
            rows.append(make_row(name, request.corpus.name, fields, *facts))
            digests[name] = facts[0].signal_sha256
        progress("index", done, len(paths))
    if not rows:
        msg = f"none of the {len(paths)} recordings under {folder} can be decoded; the first: {failures[0]}"
        raise CorpusError(msg)
    # Read again, since another corpus may have been prepared meanwhile.
    request.index.parent.mkdir(parents=True, exist_ok=True)
    lock = acquire_lock(request.index.with_name(f".{request.index.name}.lock"))
    try:
        index = mark_duplicates(merge_index(_read_old_index(request.index), request.corpus.name, rows), digests)
        write_index(request.index, index)
    finally:
        lock.release()  # its file stays, since others may wait for it
    write_json(_prepared_marker(request), marker)
    return index, tuple(failures)


def _show_name(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _make_outcome(
    corpus: Corpus, index: Index, labelling: Labelling, failures: Sequence[Problem], *, unchanged: bool
) -> Outcome:
    utterances = tuple(row for row in index.utterances if row.corpus == corpus.name)
    found = Counter(row.emotion for row in utterances)
    return Outcome(
        utterances=utterances,
        problems=(*labelling.problems, *failures),
        missing=labelling.missing,
        extra=labelling.extra,
        miscounted={
            emotion: (expected, found[emotion])
            for emotion, expected in corpus.counts.items()
            if expected != found[emotion]
        },
        unchanged=unchanged,
    )
