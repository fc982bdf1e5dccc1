"""Extracts features of an index into a feature store, in parallel."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sercli.audio.augment import draw_augmentations, name_copy
from sercli.corpora.index import Index, Utterance
from sercli.errors import CorpusError, InputError
from sercli.features.parameters import StoreParameters
from sercli.features.store import Content
from sercli.features.utterance import Copy, Failure, Outcome, Task, extract_utterance
from sercli.features.writer import StoreWriter
from sercli.parallel import map_in_order
from sercli.progress import Progress

BATCH = 4  # utterances per task


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionSummary:
    """Summary of a run of `extract_store`.

    Attributes:
        extracted: Number of utterances and augmented copies with newly computed features.
        reused: Number of utterances and augmented copies that were already complete.
        utterances: Number of utterances in the index.
        failures: Utterances that could not be used.
        parameters: Parameters of the store.
        seconds: Duration of the run (s).
    """

    extracted: int
    reused: int
    utterances: int
    failures: tuple[Failure, ...]
    parameters: StoreParameters
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the store should contain for an utterance, and what is missing.

    Attributes:
        file: File of the utterance, as in the index.
        contents: The utterance and its augmented copies, including those of earlier runs.
        task: Features to compute; without copies if nothing is missing.
    """

    file: str
    contents: tuple[Content, ...]
    task: Task


def extract_store(
    index: Index,
    path: Path,
    parameters: StoreParameters,
    *,
    jobs: int = 1,
    copies: int = 0,
    seed: int = 0,
    restart: bool = False,
    cluster: str | None = None,
    progress: Progress | None = None,
) -> ExtractionSummary:
    """Computes the features of every utterance of an index and writes them to a store.

    Computes only what is missing. Keeps further features and augmented copies of these utterances in the store, but no
    other utterances.

    Args:
        index: Utterances.
        path: Feature store.
        parameters: Preprocessing, segmentation and the features to compute.
        jobs: Number of worker processes; 1 runs in this process.
        copies: Number of augmented copies per utterance.
        seed: Seed of the augmentations.
        restart: Whether to recompute everything and replace a store with other parameters.
        cluster: Address of a Dask scheduler to use instead; its workers must see the recordings under the same paths.
        progress: Called after each utterance with the number of utterances done and their total.

    Raises:
        CorpusError: If an utterance has no hash.
        StoreError: If the store was made with other parameters.
        InputError: If the cluster cannot be used, or all utterances fail and a store would be replaced.
        OSError: If the store cannot be written.
    """
    unnamed = [utterance.file for utterance in index.utterances if not utterance.sha256]
    if unnamed:
        msg = f"the index has no sha256 for {unnamed[0]!r}, which identifies its content: run 'sercli prepare' again"
        raise CorpusError(msg)
    began = time.monotonic()
    failures: list[Failure] = []
    contents: dict[Content, str] = {}
    added: set[Content] = set()
    with StoreWriter(path, parameters, restart=restart) as writer:
        planner = Planner(index, writer, parameters.names, copies=copies, seed=seed)
        results = _run(index, planner, parameters, jobs=jobs, cluster=cluster)
        for number, (plan, outcome) in enumerate(results, start=1):
            if isinstance(outcome, Failure):
                failures.append(outcome)
            else:
                for copy in outcome:
                    added.add(writer.add(plan.task.sha256, copy))
            # After failures, keep what earlier runs could read.
            contents |= {content: plan.file for content in plan.contents if content in writer}
            if progress:
                progress(number, len(index))
        if failures and not contents and path.exists():
            msg = (
                f"no utterance could be used; first failure: {failures[0].file}: {failures[0].reason}; "
                f"{path} is unchanged"
            )
            raise InputError(msg)
        writer.finish(list(contents.items()))
    return ExtractionSummary(
        extracted=len(added),
        reused=len(contents) - len(added),
        utterances=len(index),
        failures=tuple(failures),
        parameters=writer.parameters,
        seconds=time.monotonic() - began,
    )


class Planner:
    """Plans what to compute for each utterance.

    Args:
        index: Utterances.
        writer: Writer with the results of earlier runs.
        names: Requested features.
        copies: Requested number of augmented copies of each utterance.
        seed: Seed of the augmentations.
    """

    def __init__(
        self, index: Index, writer: StoreWriter, names: tuple[str, ...], *, copies: int = 0, seed: int = 0
    ) -> None:
        self._index, self._writer, self._names, self._copies, self._seed = index, writer, names, copies, seed

    def plan(self, utterance: Utterance) -> Plan:
        """Plans one utterance."""
        sha256 = utterance.sha256
        stored = self._writer.find_copies(sha256)
        drawn = draw_augmentations(sha256, max(self._copies, len(stored)) if self._copies else 0, self._seed)
        augmentations = [None, *drawn[: self._copies]]
        # Keep copies of earlier runs, unless others replace them.
        earlier = [name for name in map(name_copy, drawn[self._copies :]) if name in stored] if self._copies else stored
        contents = [Content(sha256, "" if each is None else name_copy(each)) for each in augmentations]
        missing = [
            Copy(augmentation=augmentation, names=names)
            for augmentation, content in zip(augmentations, contents, strict=True)
            if (names := self._writer.find_missing(content, self._names))
        ]
        task = Task(
            path=self._index.path_of(utterance).absolute(),
            file=utterance.file,
            sha256=sha256,
            copies=tuple(missing),
            folder=self._writer.path.parent.absolute(),
            prefix=self._writer.prefix,
        )
        return Plan(file=utterance.file, contents=(*contents, *(Content(sha256, name) for name in earlier)), task=task)


def _run(
    index: Index, planner: Planner, parameters: StoreParameters, *, jobs: int, cluster: str | None
) -> Iterator[tuple[Plan, Outcome]]:
    """Yields plan and outcome of every utterance in index order; plans only as far ahead as workers take tasks."""
    planned: deque[Plan] = deque()

    def give_out() -> Iterator[Task]:
        for utterance in index.utterances:
            plan = planner.plan(utterance)
            planned.append(plan)
            if plan.task.copies:
                # Cluster workers may be on machines that share no folder with this one.
                yield plan.task if cluster is None else replace(plan.task, folder=None)

    extract = partial(extract_utterance, parameters=parameters)
    for outcome in map_in_order(extract, give_out(), jobs=jobs, cluster=cluster, batch=BATCH):
        while not planned[0].task.copies:
            yield planned.popleft(), ()
        yield planned.popleft(), outcome
    while planned:
        yield planned.popleft(), ()
