"""Preparing a corpus: from a download, archives or a folder to rows of the index."""

import contextlib
import hashlib
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sercli.audio.decode import AudioFacts, read_facts
from sercli.corpora.corpus import Annotation, Corpus, LabeledRecordings, Problem, Source
from sercli.corpora.index import Index, Utterance, mark_duplicates, merge_index, read_index, relative_name, write_index
from sercli.corpora.placeholders import describe_placeholder
from sercli.corpora.registry import get_corpus, guess_corpus
from sercli.corpora.sources import Request, StageProgress, check_request, open_source, read_marker
from sercli.cpus import count_cpus
from sercli.errors import AudioError, CorpusError
from sercli.files import hash_file, one_line, write_json
from sercli.labels import group_alike, is_absent, suggest_map
from sercli.locks import hold_lock
from sercli.parallel import map_in_threads
from sercli.progress import follow_progress

PREPARED_MARKER = "prepared.json"  # under data/<corpus>/: what the rows of the index were made from
SOUNDS = "sounds_by_sha256"  # there: digest of the decoded samples by SHA-256 of the file

_COMPARED = ("emotion", "speaker", "gender", "intensity", "statement", "repetition")

__all__ = ["PrepareResult", "Request", "prepare", "prepare_corpus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareResult:
    """Result of preparing a corpus.

    Attributes:
        utterances: Rows of the corpus in the index.
        problems: Files that should be in the index and are not.
        missing: Names of recordings that belong to the corpus and are not in the source.
        copies: Further copies of recordings, which are not in the index.
        extra: Files that do not belong to the corpus.
        miscounted: Expected and actual number of utterances, for emotions where they differ.
        unchanged: Whether everything was in place already and nothing was done.
    """

    utterances: tuple[Utterance, ...]
    problems: tuple[Problem, ...]
    missing: tuple[str, ...]
    copies: tuple[Problem, ...]
    extra: tuple[Problem, ...]
    miscounted: Mapping[str, tuple[int, int]]
    unchanged: bool

    @property
    def near_misses(self) -> str:
        """Value of ``--map`` that would merge labels into the canonical ones that they nearly are; may be empty."""
        return suggest_map(sorted({utterance.emotion for utterance in self.utterances}))

    @property
    def absent(self) -> Mapping[str, int]:
        """Labels and speakers that look as if their cells should be empty, such as ``nan``: number of utterances."""
        cells = (cell for u in self.utterances for cell in (u.emotion, u.speaker.removeprefix(f"{u.corpus}-")))
        return Counter(filter(is_absent, cells))

    @property
    def similar_speakers(self) -> list[list[str]]:
        """Groups of speakers whose names differ only as `sercli.labels.group_alike` says."""
        return group_alike(sorted({u.speaker.removeprefix(f"{u.corpus}-") for u in self.utterances} - {""}))


def prepare(
    corpus: str = "ravdess",
    source: Path | str | None = None,
    *,
    data_dir: Path | str = "data",
    index: Path | str | None = None,
    labels: Path | str | None = None,
    label_map: Mapping[str, str] | None = None,
    url: str | None = None,
    jobs: int | None = None,
    force: bool = False,
    progress: bool | StageProgress = False,
) -> PrepareResult:
    """Prepares a corpus: fetches it, checks its recordings and writes their rows to the index.

    Example:
        ``prepare("csv", "calls", labels="labels.csv", label_map={"joy": "happy"})``

    Args:
        corpus: Name of a corpus; ``csv``, ``folders`` or ``audformat`` for your own recordings.
        source: Folder of recordings or archives, or an archive; None for the corpus's own download.
        data_dir: Folder for downloads and unpacked archives.
        index: Index to add rows to; None for ``index.csv`` in `data_dir`.
        labels: Table of labels, for a corpus that needs one.
        label_map: Labels to merge into others; only for your own recordings.
        url: Mirror of the download.
        jobs: Recordings to decode at the same time; None for one per CPU.
        force: Unpack and index again what is in place.
        progress: True for a progress bar, or a function called with how much of a stage is done, how much there is,
            and the stage: ``download``, ``unpack`` or ``index``.

    Raises:
        UsageError: If the corpus is unknown, or an argument is missing or does not apply to it.
        InputError: If there is nothing to index, or the table, an archive or the old index is damaged.
        DownloadError: If the download fails.
        OSError: If something cannot be written; the index is then as it was.
    """
    folder = Path(data_dir)
    request = Request(
        corpus=get_corpus(corpus),
        index=folder / "index.csv" if index is None else Path(index),
        data_dir=folder,
        source=None if source is None else Path(source),
        labels=None if labels is None else Path(labels),
        label_map=label_map or {},
        url=url,
        jobs=count_cpus() if jobs is None else jobs,
        force=force,
    )
    with follow_progress(f"prepare {corpus}", progress) as update:
        return prepare_corpus(request, update)


def prepare_corpus(request: Request, progress: StageProgress = lambda *_: None) -> PrepareResult:
    """Fetches and unpacks a corpus where needed, checks its recordings, and writes their rows to the index.

    Recordings that cannot be labeled or decoded are listed in the result; the others are indexed.

    Raises:
        UsageError: If an argument is missing, or does not apply to the corpus.
        InputError: If there is nothing to index, or the table, an archive or the old index is damaged.
        DownloadError: If the download fails.
        OSError: If something cannot be written; the index is then as it was.
    """
    check_request(request)
    # Before the work that takes long, so that a damaged index does not waste it.
    old = _read_old_index(request.index)
    with contextlib.ExitStack() as stack:
        return _index_source(request, old, open_source(request, progress, stack), progress)


def _index_source(request: Request, old: Index, source: Source, progress: StageProgress) -> PrepareResult:
    labeled = _drop_undecodable_names(_label(request, source), source.folder)
    left = [Problem(file=name, reason="archive beside recordings, not unpacked") for name in source.archives]
    labeled = replace(labeled, extra=(*labeled.extra, *left))
    if not labeled.recordings:
        raise CorpusError(_describe_nothing(request.corpus, source, labeled) + _suggest_corpus(request, source))
    if not request.force and _is_in_place(request, old, labeled):
        return _make_result(request.corpus, old, labeled, (), unchanged=True)
    index, failures = _make_index(request, source.folder, labeled, progress)
    return _make_result(request.corpus, index, labeled, failures, unchanged=False)


def _label(request: Request, source: Source) -> LabeledRecordings:
    try:
        labeled = request.corpus.label(source)
        source.merge.check_used()
        return labeled
    except CorpusError as reason:
        if suggestion := _suggest_corpus(request, source):
            msg = f"{reason}{suggestion}"
            raise CorpusError(msg) from None
        raise


def _suggest_corpus(request: Request, source: Source) -> str:
    """Says which other corpus the recordings look like; empty if there is none, or they may have any names."""
    guess = "" if request.corpus.takes_any else guess_corpus(source)
    if not guess:
        return ""
    folder = shlex.quote(str(request.source or source.folder))
    return f"; it looks like {guess}: run sercli prepare {guess} --from {folder}"


def _read_old_index(path: Path) -> Index:
    return read_index(path) if path.exists() else Index(folder=path.parent, utterances=())


def _drop_undecodable_names(labeled: LabeledRecordings, folder: Path) -> LabeledRecordings:
    """Takes out files whose names are not valid UTF-8, which the index cannot hold."""
    named, unnamed = [], []
    for path, annotation in labeled.recordings:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            unnamed.append(Problem(file=_show_name(path, folder), reason="its name is not valid UTF-8: rename it"))
        else:
            named.append((path, annotation))
    return replace(labeled, recordings=tuple(named), problems=(*labeled.problems, *unnamed))


def _describe_nothing(corpus: Corpus, source: Source, labeled: LabeledRecordings) -> str:
    where = source.labels or source.folder
    first = next(iter((*labeled.problems, *labeled.extra)), None)
    example = f"; first failure: {first}" if first else ""
    return f"nothing under {where} can be indexed as {corpus.name}{example}"


def _is_in_place(request: Request, old: Index, labeled: LabeledRecordings) -> bool:
    """Whether the index has exactly these rows, made from the files as they are now."""
    marker, state = read_marker(_prepared_marker(request)), _describe_state(request, labeled)
    if SOUNDS not in marker or {name: marker.get(name) for name in state} != state:
        return False
    rows = {row.file: row for row in old.utterances if row.corpus == request.corpus.name}
    annotations = {relative_name(path, old.folder): annotation for path, annotation in labeled.recordings}
    return rows.keys() == annotations.keys() and all(
        _agrees(rows[name], annotation) for name, annotation in annotations.items()
    )


def _describe_state(request: Request, labeled: LabeledRecordings) -> dict[str, Any]:
    """The index, and a hash over the state of all files without their content."""
    digest = hashlib.sha256()
    for path, _ in labeled.recordings:
        with contextlib.suppress(OSError):
            status = path.stat()
            # The change time, unlike the modification time, is not set back when an old file is copied here; a
            # file that is moved here keeps both.
            state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            digest.update(f"{path}\0{state}\0".encode())
    index = str(request.index.absolute()).encode(errors="backslashreplace").decode()  # names need not be UTF-8
    return {"index": index, "files": digest.hexdigest()}


def _agrees(row: Utterance, annotation: Annotation) -> bool:
    same = all(getattr(row, name) == getattr(annotation, name) for name in _COMPARED)
    extras = ({name: value for name, value in each.extra.items() if value} for each in (row, annotation))
    return same and next(extras) == next(extras)


def _prepared_marker(request: Request) -> Path:
    return request.data_dir / request.corpus.name / PREPARED_MARKER


def _make_index(
    request: Request, folder: Path, labeled: LabeledRecordings, progress: StageProgress
) -> tuple[Index, tuple[Problem, ...]]:
    state = _describe_state(request, labeled)  # before they are read, so that later changes are noticed
    rows, failures, digests = [], [], {}
    paths = [path for path, _ in labeled.recordings]
    results = decode_recordings(paths, request.jobs)
    for done, ((path, annotation), facts) in enumerate(zip(labeled.recordings, results, strict=True), start=1):
        if isinstance(facts, str):
            failures.append(Problem(file=_show_name(path, folder), reason=facts))
        else:
            name = relative_name(path, request.index.parent)
            row = _make_row(name, request.corpus.name, annotation, *facts)
            rows.append(row)
            digests[row.sha256] = facts[0].signal_sha256
        progress(done, len(paths), "index")
    if not rows:
        msg = f"no recording under {folder} can be decoded; first failure: {failures[0]}"
        raise CorpusError(msg)
    return _add_rows(request, rows, digests, state), tuple(failures)


def _add_rows(
    request: Request, rows: Sequence[Utterance], digests: Mapping[str, str], state: Mapping[str, Any]
) -> Index:
    """Writes the rows of a corpus to the index, and their digests and state to its marker."""
    request.index.parent.mkdir(parents=True, exist_ok=True)
    with hold_lock(request.index.with_name(f".{request.index.name}.lock")):
        # Read again, since another corpus may have been prepared in the meantime.
        merged = merge_index(_read_old_index(request.index), request.corpus.name, rows)
        index = mark_duplicates(merged, {**_read_digests(request.data_dir), **digests})
        write_index(request.index, index)
        marker = _prepared_marker(request)
        write_json(marker, {**state, SOUNDS: {**_read_sounds(marker), **digests}})
    return index


def _read_digests(data_dir: Path) -> dict[str, str]:
    """Reads the digests of the sound of all corpora that were prepared with this data folder, for any index."""
    digests: dict[str, str] = {}
    for path in sorted(data_dir.glob(f"*/{PREPARED_MARKER}")):
        digests |= _read_sounds(path)
    return digests


def _read_sounds(marker: Path) -> dict[str, str]:
    sounds = read_marker(marker).get(SOUNDS)
    items = sounds.items() if isinstance(sounds, dict) else ()
    return {sha256: digest for sha256, digest in items if isinstance(digest, str)}


def _show_name(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _make_result(
    corpus: Corpus, index: Index, labeled: LabeledRecordings, failures: Sequence[Problem], *, unchanged: bool
) -> PrepareResult:
    utterances = tuple(row for row in index.utterances if row.corpus == corpus.name)
    counts = Counter(row.emotion for row in utterances)
    known = tuple(
        Problem(file=failure.file, reason=f"{reason} ({failure.reason})")
        for failure in failures
        if (reason := corpus.defects.get(Path(failure.file).stem))
    )
    others = tuple(failure for failure in failures if Path(failure.file).stem not in corpus.defects)
    return PrepareResult(
        utterances=utterances,
        problems=(*labeled.problems, *others),
        missing=labeled.missing,
        copies=labeled.copies,
        extra=(*labeled.extra, *known),
        miscounted={
            emotion: (expected, counts[emotion])
            for emotion, expected in corpus.counts.items()
            if expected != counts[emotion]
        },
        unchanged=unchanged,
    )


def decode_recordings(paths: Sequence[Path], jobs: int) -> Iterator[tuple[AudioFacts, str] | str]:
    """Decodes recordings in parallel, in threads because decoding releases the GIL.

    Yields:
        For each path in order, its facts and the SHA-256 of its bytes, or why it cannot be used.
    """
    yield from map_in_threads(_decode, paths, jobs=jobs)


def _decode(path: Path) -> tuple[AudioFacts, str] | str:
    try:
        return read_facts(path), hash_file(path)
    except (AudioError, OSError) as reason:
        return describe_placeholder(path) or one_line(reason)


def _make_row(name: str, corpus: str, annotation: Annotation, facts: AudioFacts, sha256: str) -> Utterance:
    """Makes the row of the index for the recording that has this name there."""
    return Utterance(
        file=name,
        corpus=corpus,
        speaker=annotation.speaker,
        gender=annotation.gender,
        emotion=annotation.emotion,
        intensity=annotation.intensity,
        statement=annotation.statement,
        repetition=annotation.repetition,
        duration=facts.duration,
        sample_rate=facts.sample_rate,
        channels=facts.channels,
        sha256=sha256,
        extra=annotation.extra,
    )
