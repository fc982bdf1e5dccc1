"""From an index of utterances to a feature store, in parallel and in order."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from sercli.audio.augment import Alteration, alter, draw_alterations
from sercli.audio.decode import read_signal
from sercli.audio.preprocess import normalize_level, preprocess
from sercli.corpora.index import Index, Utterance
from sercli.errors import AudioError, CorpusError, InputError, SercliError
from sercli.features.frontend import extract_features
from sercli.features.parameters import StoreParameters
from sercli.features.rows import StoredRow
from sercli.features.writer import StoreWriter
from sercli.files import hash_file, one_line
from sercli.parallel import map_in_order, single_thread

COMMIT_INTERVAL = 2.0  # seconds between commits; what a crash of the machine may cost
BATCH = 4  # utterances given to a worker at a time

Progress = Callable[[int, int], None]
"""Called with how many utterances are done, and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An utterance that could not be used, and why in one line."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionSummary:
    """What a run of `extract_store` did.

    Attributes:
        extracted: matrices computed, copies included.
        reused: matrices that were there already.
        failures: utterances that are not in the store.
        seconds: that it took.
    """

    extracted: int
    reused: int
    failures: tuple[Failure, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be computed of an utterance.

    Attributes:
        path: of the recording.
        row: of the utterance itself.
        alterations: None for the utterance itself, and its altered copies.
    """

    path: Path
    row: StoredRow
    alterations: tuple[Alteration | None, ...]

    @property
    def rows(self) -> list[StoredRow]:
        """The rows of the store that come of it."""
        return [_row(self.row, alteration) for alteration in self.alterations]


Outcome = list[tuple[StoredRow, npt.NDArray[Any]]] | Failure
"""The matrices of an utterance, in shape ``(n_frames, n_features)``, or why there are none."""


def extract_store(
    index: Index,
    path: Path,
    parameters: StoreParameters,
    *,
    jobs: int = 1,
    copies: int = 0,
    seed: int = 0,
    restart: bool = False,
    keep: bool = False,
    cluster: str | None = None,
    progress: Progress | None = None,
) -> ExtractionSummary:
    """Computes the features of every utterance of an index and writes them into a store.

    What an earlier run has left for the same content and parameters is not computed again.

    Args:
        index: the utterances.
        path: of the store.
        parameters: of preprocessing and features.
        jobs: worker processes; with 1 the work is done in this one.
        copies: altered copies of each utterance, for training.
        seed: of the alterations.
        restart: compute everything anew, and replace a store made with other parameters.
        keep: leave what the store has of other indexes in it.
        cluster: address of a Dask scheduler whose workers do the work; they must see the recordings under the
            same paths.
        progress: called after each utterance.

    Raises:
        CorpusError: if an utterance has no hash.
        StoreError: if a store there was made with other parameters.
        InputError: if the cluster cannot be used, or nothing can take the place of the store that is there.
        OSError: if the store cannot be written.
    """
    unnamed = [utterance.file for utterance in index.utterances if not utterance.sha256]
    if unnamed:
        msg = f"the index has no sha256 for {unnamed[0]!r}, which names its content: run 'sercli prepare' again"
        raise CorpusError(msg)
    began = time.monotonic()
    failures: list[Failure] = []
    rows: list[StoredRow] = []
    extracted = 0
    with StoreWriter(path, parameters, restart=restart) as writer:
        commit = _Clock(COMMIT_INTERVAL, writer.commit)
        done = _run(index, writer, parameters, copies=copies, seed=seed, jobs=jobs, cluster=cluster)
        for number, (plan, outcome) in enumerate(done, start=1):
            if isinstance(outcome, Failure):
                failures.append(outcome)
                rows += [row for row in plan.rows if row.key in writer]  # what an earlier run could read
            else:
                for row, frames in outcome:
                    writer.add(row.key, frames)
                extracted += len(outcome)
                rows += plan.rows
            commit.tick()
            if progress:
                progress(number, len(index))
        if failures and not rows and path.exists():
            msg = (
                f"none of the {len(index)} utterances can be used, the first: {failures[0].file}: "
                f"{failures[0].reason}; {path} stays as it was"
            )
            raise InputError(msg)
        written = {row.key for row in rows}
        others = [row for row in writer.old_rows if row.key not in written] if keep else []
        writer.finish([*rows, *others])
    return ExtractionSummary(
        extracted=extracted,
        reused=len(rows) - extracted,
        failures=tuple(failures),
        seconds=time.monotonic() - began,
    )


class _Clock:
    """Does something every so many seconds, as often as it is asked."""

    def __init__(self, interval: float, action: Callable[[], None]) -> None:
        self._interval, self._action, self._last = interval, action, time.monotonic()

    def tick(self) -> None:
        if time.monotonic() - self._last > self._interval:
            self._action()
            self._last = time.monotonic()


def _run(
    index: Index,
    writer: StoreWriter,
    parameters: StoreParameters,
    *,
    copies: int,
    seed: int,
    jobs: int,
    cluster: str | None,
) -> Iterator[tuple[Task, Outcome]]:
    """Every utterance's plan and what came of it, in index order; planned no further ahead than work is given out."""
    planned: deque[tuple[Task, bool]] = deque()

    def give_out() -> Iterator[Task]:
        for utterance in index.utterances:
            plan = plan_utterance(index, utterance, copies=copies, seed=seed)
            missing = tuple(a for a, row in zip(plan.alterations, plan.rows, strict=True) if row.key not in writer)
            planned.append((plan, bool(missing)))
            if missing:
                yield replace(plan, alterations=missing)

    extract = partial(extract_utterance, parameters=parameters)
    for outcome in map_in_order(extract, give_out(), jobs=jobs, cluster=cluster, batch=BATCH):
        while not planned[0][1]:
            yield planned.popleft()[0], []
        yield planned.popleft()[0], outcome
    while planned:
        yield planned.popleft()[0], []


def plan_utterance(index: Index, utterance: Utterance, *, copies: int, seed: int) -> Task:
    """All that an utterance should have in a store: itself and its altered copies."""
    row = StoredRow(file=utterance.file, sha256=utterance.sha256)
    alterations = draw_alterations(utterance.sha256, copies, seed)
    return Task(path=index.path_of(utterance).absolute(), row=row, alterations=(None, *alterations))


def _row(row: StoredRow, alteration: Alteration | None) -> StoredRow:
    return StoredRow(file=row.file, sha256=row.sha256, alteration=str(alteration or ""))


def extract_utterance(task: Task, parameters: StoreParameters) -> Outcome:
    """Decodes a recording once, and computes the features of all its alterations; runs in the workers."""
    try:
        with single_thread():
            return _compute(task, parameters)
    except (SercliError, OSError) as reason:
        return Failure(file=task.row.file, reason=one_line(reason))
    except MemoryError:
        return Failure(file=task.row.file, reason="is too long for the memory there is: cut it into utterances")


def _compute(task: Task, parameters: StoreParameters) -> list[tuple[StoredRow, npt.NDArray[Any]]]:
    if task.path.is_file() and hash_file(task.path) != task.row.sha256:
        msg = "has changed since it was indexed: run 'sercli prepare --force' again"
        raise AudioError(msg)
    signal = preprocess(*read_signal(task.path), parameters.audio)
    if not len(signal):
        msg = "is silent: nothing in it rises over -80 dB full scale"
        raise AudioError(msg)
    audio = parameters.audio
    found = []
    for alteration in task.alterations:
        altered = signal
        if alteration is not None:
            altered = normalize_level(alter(signal, audio.sample_rate, alteration), audio.level_db)
        found.append((_row(task.row, alteration), extract_features(altered, parameters.features).T.astype(parameters.dtype)))
    return found
