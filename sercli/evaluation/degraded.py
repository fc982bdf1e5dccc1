"""Tests the models of an evaluation on recordings degraded by a telephone codec."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sercli.corpora.index import Index
from sercli.errors import SercliError
from sercli.evaluation.plan import FoldTask
from sercli.evaluation.predictions import TestRow, make_rows
from sercli.features.utterance import Failure, extract_degraded
from sercli.files import one_line
from sercli.models.model import load_model
from sercli.parallel import map_in_order
from sercli.splits.protocols import make_folds

CHUNK = 64  # recordings per task


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """Recordings tested by the same models.

    Attributes:
        folders: Model folders.
        paths: Recordings.
        hashes: SHA-256 of each recording, as indexed.
        degradation: One of `sercli.audio.degradation.DEGRADATIONS`.
    """

    folders: tuple[Path, ...]
    paths: tuple[Path, ...]
    hashes: tuple[str, ...]
    degradation: str


def score_degraded(
    index: Index, tasks: Sequence[FoldTask], degradation: str, *, jobs: int, on_done: Callable[[int, int], None]
) -> tuple[list[TestRow], list[Failure]]:
    """Tests each fold's model on its degraded test recordings.

    Decodes each recording once and scores it with the models of all seeds that test it.

    Args:
        index: Utterances that the folds divide.
        tasks: Finished folds.
        degradation: Degradation, one of `sercli.audio.degradation.DEGRADATIONS`.
        jobs: Number of worker processes.
        on_done: Called with the number of recordings done and their total.

    Returns:
        One row per fold and test recording, in the order of the tasks, and the recordings that failed.

    Raises:
        ModelError: If a model is damaged.
    """
    groups = _group_by_test(index, tasks)
    batches = [
        (group, members[start : start + CHUNK])
        for members, group in groups.items()
        for start in range(0, len(members), CHUNK)
    ]
    chunks = [_make_chunk(index, group, members, degradation) for group, members in batches]
    answers: dict[tuple[int, int], dict[int, list[float]]] = {(task.seed, task.fold): {} for task in tasks}
    failures: dict[str, Failure] = {}
    done, total = 0, sum(map(len, groups))
    on_done(done, total)
    for (group, members), outcomes in zip(batches, map_in_order(score_chunk, chunks, jobs=jobs), strict=True):
        for member, outcome in zip(members, outcomes, strict=True):
            if isinstance(outcome, str):
                file = index.utterances[member].file
                failures[file] = Failure(file=file, reason=outcome)
                continue
            for task, probabilities in zip(group, outcome, strict=True):
                answers[task.seed, task.fold][member] = probabilities
        done += len(members)
        on_done(done, total)
    rows = [
        row
        for (seed, fold), scored in answers.items()
        for row in make_rows(index, list(scored), np.asarray(list(scored.values())), seed=seed, fold=fold)
    ]
    return rows, list(failures.values())


def _group_by_test(index: Index, tasks: Sequence[FoldTask]) -> dict[tuple[int, ...], list[FoldTask]]:
    """Groups the tasks by the positions of their test utterances."""
    plan = tasks[0].plan
    folds = {seed: make_folds(index, plan.protocol, seed) for seed in plan.seeds}
    groups: dict[tuple[int, ...], list[FoldTask]] = defaultdict(list)
    for task in tasks:
        groups[folds[task.seed][task.fold - 1].test].append(task)
    return groups


def _make_chunk(index: Index, group: Sequence[FoldTask], members: Sequence[int], degradation: str) -> _Chunk:
    utterances = [index.utterances[member] for member in members]
    return _Chunk(
        folders=tuple(task.folder for task in group),
        paths=tuple(index.path_of(utterance) for utterance in utterances),
        hashes=tuple(utterance.sha256 for utterance in utterances),
        degradation=degradation,
    )


def score_chunk(chunk: _Chunk) -> list[list[list[float]] | str]:
    """Returns for each recording the probabilities from each model, or the reason of a failure; runs in workers."""
    models = [load_model(folder) for folder in chunk.folders]
    outcomes: list[list[list[float]] | str] = []
    for path, sha256 in zip(chunk.paths, chunk.hashes, strict=True):
        try:
            segments = extract_degraded(path, sha256, chunk.degradation, models[0].parameters)
        except (SercliError, OSError) as reason:
            outcomes.append(one_line(reason))
            continue
        matrices, speech = zip(*segments, strict=True)
        outcomes.append([model.predict_proba(matrices, speech).tolist() for model in models])
    return outcomes
