"""Trains and tests one fold with one seed, and writes its folder atomically.

The folder contains the files of a model folder, ``history.csv`` (both not for baselines), ``predictions.csv`` and
``fold.json``. It is built in a hidden folder next to it, which keeps the checkpoint of an interrupted training.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from sercli.config import Config
from sercli.errors import CheckpointError, InputError, StoreError, UsageError
from sercli.evaluation.plan import FoldTask
from sercli.evaluation.predictions import PREDICTIONS_FILE, Predictions, make_rows, write_predictions
from sercli.files import read_json_object, replace_folder, write_json, write_table
from sercli.metrics import Probabilities
from sercli.models.folder import list_files
from sercli.models.model import save_model
from sercli.parallel import single_thread
from sercli.splits.fold import Fold
from sercli.splits.protocols import make_folds
from sercli.training.data import CorpusFeatures
from sercli.training.scoring import list_truth, score_utterances
from sercli.training.session import TrainedModel, remove_checkpoints, train_fold

CHECKPOINT_FILE = "checkpoint.safetensors"
FOLD_FILE = "fold.json"
HISTORY_FILE = "history.csv"
SCHEMA_VERSION = 1  # schema version of fold.json


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldResult(Config):
    """Content of ``fold.json``: how a fold was trained.

    Attributes:
        schema_version: Schema version, `SCHEMA_VERSION`.
        identity: Identity of training and test.
        seed: Seed of the split, weights, order and dropout.
        fold: Number of the fold, from 1.
        dev_uar: Unweighted average recall of the development utterances, 0 to 1.
        dev_accuracy: Accuracy of the development utterances, 0 to 1.
        temperature: Calibration temperature.
        epochs: Number of epochs of each network; empty for a baseline.
        best_epoch: Epoch of each network's weights; empty for a baseline.
        setting: Setting of a baseline, chosen by `dev_uar`; None for a network.
        seconds: Duration of the training (s).
        device: Device of the training.
        command: Command line of the training.
        train_speakers: Speakers of the training utterances.
        dev_speakers: Speakers of the development utterances.
        test_speakers: Speakers of the test utterances.
        train_utterances: Number of training utterances.
        dev_utterances: Number of development utterances.
        test_utterances: Number of test utterances.
    """

    schema_version: int
    identity: str
    seed: int
    fold: int
    dev_uar: float
    dev_accuracy: float
    temperature: float
    epochs: tuple[int, ...]
    best_epoch: tuple[int, ...]
    setting: float | None
    seconds: float
    device: str
    command: str
    train_speakers: tuple[str, ...]
    dev_speakers: tuple[str, ...]
    test_speakers: tuple[str, ...]
    train_utterances: int
    dev_utterances: int
    test_utterances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Training:
    """Result of training a network or a baseline."""

    probabilities: Probabilities
    dev_uar: float
    dev_accuracy: float
    temperature: float
    epochs: tuple[int, ...] = ()
    best_epoch: tuple[int, ...] = ()
    setting: float | None = None
    seconds: float


def run_fold(task: FoldTask) -> FoldResult:
    """Trains and tests a fold, and writes its folder; resumes an interrupted training.

    On the CPU it uses one thread, so that the result does not depend on the number of parallel folds.

    Raises:
        StoreError: If the index or the store has changed since the evaluation started.
        ModelError: If the training diverges.
        KeyboardInterrupt: If Ctrl-C ends the training.
        OSError: If the folder cannot be written.
    """
    plan, partial = task.plan, task.partial
    with plan.open_corpus() as corpus, single_thread() if plan.device == "cpu" else contextlib.nullcontext():
        fold = make_folds(corpus.index, plan.protocol, task.seed)[task.fold - 1]
        if plan.identify(corpus, fold, task.seed) != task.identity:
            msg = f"{plan.index} or {plan.store} changed while the evaluation ran: run it again"
            raise StoreError(msg)
        partial.mkdir(parents=True, exist_ok=True)
        train = _train_baseline if plan.recipe.baseline else _train_network
        training = train(task, corpus, fold)
        result = _summarize(task, corpus, fold, training)
        rows = make_rows(corpus.index, fold.test, training.probabilities, seed=task.seed, fold=task.fold)
        write_predictions(partial / PREDICTIONS_FILE, Predictions(labels=corpus.labels, rows=tuple(rows)))
        write_json(partial / FOLD_FILE, result.to_dict())
        remove_checkpoints(partial / CHECKPOINT_FILE)
        replace_folder(partial, task.folder)
    return result


def _train_network(task: FoldTask, corpus: CorpusFeatures, fold: Fold) -> _Training:
    trained = _resume_training(task, corpus, fold)
    if trained.interrupted:
        raise KeyboardInterrupt
    save_model(task.partial, trained.model, trained.weights)
    write_table(task.partial / HISTORY_FILE, trained.tabulate_epochs())
    return _Training(
        probabilities=score_utterances(corpus, fold.test, trained.model),
        dev_uar=trained.dev.uar,
        dev_accuracy=trained.dev.accuracy,
        temperature=trained.model.temperature,
        epochs=tuple(len(member.history) for member in trained.members),
        best_epoch=tuple(member.best_epoch for member in trained.members),
        seconds=trained.seconds,
    )


def _resume_training(task: FoldTask, corpus: CorpusFeatures, fold: Fold) -> TrainedModel:
    checkpoint = task.partial / CHECKPOINT_FILE

    def train(*, resume: bool) -> TrainedModel:
        return train_fold(
            corpus,
            fold,
            task.plan.recipe,
            seed=task.seed,
            device=torch.device(task.plan.device),
            checkpoint=checkpoint,
            resume=resume,
            command=task.plan.command,
        )

    try:
        return train(resume=True)
    except CheckpointError:  # of other data or another recipe
        remove_checkpoints(checkpoint)
        return train(resume=False)


def _train_baseline(task: FoldTask, corpus: CorpusFeatures, fold: Fold) -> _Training:
    # Networks do not need these classifiers, which are slow to import.
    from threadpoolctl import threadpool_limits

    from sercli.training.baselines import score_baseline, train_baseline

    recipe = task.plan.recipe
    start = time.monotonic()
    with threadpool_limits(1):
        trained = train_baseline(corpus, fold, recipe.baseline, copies=recipe.training.copies, seed=task.seed)
        dev = score_baseline(corpus, fold.dev, trained)
        test = score_baseline(corpus, fold.test, trained)
    return _Training(
        probabilities=test,
        dev_uar=trained.dev_uar,
        dev_accuracy=float((dev.argmax(axis=1) == list_truth(corpus, fold.dev)).mean()),
        temperature=trained.temperature,
        setting=float(trained.setting),
        seconds=time.monotonic() - start,
    )


def _summarize(task: FoldTask, corpus: CorpusFeatures, fold: Fold, training: _Training) -> FoldResult:
    def list_speakers(members: Sequence[int]) -> tuple[str, ...]:
        return tuple(sorted({corpus.index.utterances[member].speaker for member in members}))

    return FoldResult(
        schema_version=SCHEMA_VERSION,
        identity=task.identity,
        seed=task.seed,
        fold=task.fold,
        dev_uar=training.dev_uar,
        dev_accuracy=training.dev_accuracy,
        temperature=training.temperature,
        epochs=training.epochs,
        best_epoch=training.best_epoch,
        setting=training.setting,
        seconds=round(training.seconds, 3),
        device="cpu" if task.plan.recipe.baseline else task.plan.device,
        command=task.plan.command,
        train_speakers=list_speakers(fold.train),
        dev_speakers=list_speakers(fold.dev),
        test_speakers=list_speakers(fold.test),
        train_utterances=len(fold.train),
        dev_utterances=len(fold.dev),
        test_utterances=len(fold.test),
    )


def find_finished(task: FoldTask) -> FoldResult | None:
    """Returns the result of a task if its folder exists, is complete, and has the same identity."""
    files = [task.folder / PREDICTIONS_FILE, task.folder / FOLD_FILE]
    if not task.plan.recipe.baseline:
        files += [*list_files(task.folder), task.folder / HISTORY_FILE]
    if not all(path.is_file() for path in files):
        return None
    try:
        result = read_fold(task.folder)
    except InputError:
        return None
    return result if result.identity == task.identity else None


def read_fold(folder: Path) -> FoldResult:
    """Reads ``fold.json`` from a fold's folder.

    Raises:
        InputError: If it is missing or damaged.
    """
    path = folder / FOLD_FILE
    try:
        result = FoldResult.from_dict(read_json_object(path))
    except (UsageError, TypeError) as reason:
        msg = f"{path} is damaged ({reason}): remove {folder} and run 'sercli evaluate' again"
        raise InputError(msg) from None
    if result.schema_version != SCHEMA_VERSION:
        msg = f"{path} has schema version {result.schema_version}, expected {SCHEMA_VERSION}: evaluate again"
        raise InputError(msg)
    return result
