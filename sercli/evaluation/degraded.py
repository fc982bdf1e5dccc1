"""Tests the models of an evaluation on recordings degraded by a telephone codec."""

import functools
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sercli.corpora.index import Index
from sercli.errors import InputError, SercliError
from sercli.evaluation.folds import FoldTask
from sercli.evaluation.predictions import PredictionRow, make_rows
from sercli.features.utterance import Failure, extract_degraded
from sercli.files import one_line
from sercli.models.model import Model, load_model
from sercli.parallel import map_in_order

BATCH = 64  # recordings sent to a worker at a time

_Models = tuple[tuple[Path, str], ...]  # folder and identity of each model
_Recording = tuple[Path, str, str, _Models]  # path, SHA-256 when indexed, degradation, models that test it


def score_degraded(
    index: Index, tasks: Sequence[FoldTask], degradation: str, *, jobs: int, progress: Callable[[int, int, None], None]
) -> tuple[list[PredictionRow], list[Failure]]:
    """Tests each fold's model on its degraded test recordings.

    Decodes each recording once and scores it with the models of all seeds that test it.

    Args:
        index: Utterances that the folds divide.
        tasks: Finished folds.
        degradation: Degradation, one of `sercli.audio.degradation.DEGRADATIONS`.
        jobs: Number of worker processes.
        progress: Called with the number of recordings done, their total, and None, before the first and after each.

    Returns:
        One row per fold and test recording, in the order of the tasks, and the recordings that failed.

    Raises:
        ModelError: If a model is damaged.
        InputError: If all recordings fail.
    """
    tasks_by_test: dict[tuple[int, ...], list[FoldTask]] = defaultdict(list)
    for task in tasks:
        tasks_by_test[task.fold.test].append(task)
    tests = [(position, group) for test, group in tasks_by_test.items() for position in test]
    recordings: list[_Recording] = []
    for position, group in tests:
        utterance = index.utterances[position]
        models = tuple((task.folder, task.identity) for task in group)
        recordings.append((index.path_of(utterance), utterance.sha256, degradation, models))
    scored: dict[tuple[int, int], dict[int, list[float]]] = {(task.seed, task.fold.number): {} for task in tasks}
    failures: dict[str, Failure] = {}
    progress(0, len(tests), None)
    results = map_in_order(_score_recording, recordings, jobs=jobs, batch=BATCH)
    for done, ((position, group), result) in enumerate(zip(tests, results, strict=True), start=1):
        if isinstance(result, str):
            file = index.utterances[position].file
            failures[file] = Failure(file=file, reason=result)
        else:
            for task, probabilities in zip(group, result, strict=True):
                scored[task.seed, task.fold.number][position] = probabilities
        progress(done, len(tests), None)
    rows = [
        row
        for (seed, fold), by_position in scored.items()
        for row in make_rows(index, list(by_position), np.array(list(by_position.values())), seed=seed, fold=fold)
    ]
    if not rows:
        file, failure = next(iter(failures.items()))
        msg = f"no degraded recording could be tested; first failure: {file}: {failure.reason}"
        raise InputError(msg)
    return rows, list(failures.values())


def _score_recording(recording: _Recording) -> list[list[float]] | str:
    """Returns the probabilities by each model, or the reason of a failure; runs in workers."""
    path, sha256, degradation, locations = recording
    models = _load_models(locations)
    try:
        segments = extract_degraded(path, sha256, degradation, models[0].parameters)
    except (SercliError, OSError) as reason:
        return one_line(reason)
    matrices, speech = zip(*segments, strict=True)
    return [model.predict_proba(matrices, speech).tolist() for model in models]


@functools.lru_cache(maxsize=1)
def _load_models(locations: _Models) -> list[Model]:
    """Loads models once for consecutive recordings."""
    return [load_model(folder) for folder, _ in locations]
