"""Trains and tests one fold with one seed, and writes its folder atomically.

The folder contains the files of a model folder, ``history.csv`` (both not for baselines), ``predictions.csv`` and
``fold.json``. It is built in a hidden folder next to it, which keeps the checkpoint of an interrupted training.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sercli.config import Config
from sercli.corpora.index import Index
from sercli.errors import CheckpointError, InputError, StoreError, UsageError
from sercli.evaluation.predictions import PREDICTIONS_FILE, Predictions, make_rows, write_predictions
from sercli.features.parameters import StoreParameters
from sercli.files import read_json_object, replace_folder, write_json, write_table
from sercli.labels import LabelSelection
from sercli.metrics import Probabilities
from sercli.models.folder import HISTORY_FILE, list_files
from sercli.models.model import save_model
from sercli.parallel import limit_threads
from sercli.splits.fold import Fold
from sercli.training.calibration import list_truth, score_utterances
from sercli.training.checkpoint import CHECKPOINT_FILE
from sercli.training.data import CorpusFeatures
from sercli.training.description import identify_training
from sercli.training.recipes import Recipe
from sercli.training.trainer import TrainedModel, remove_checkpoints, train_fold

FOLD_FILE = "fold.json"
FOLDS_FOLDER = "folds"
SCHEMA_VERSION = 1  # schema version of fold.json


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """Parameters of an evaluation.

    Attributes:
        index: Utterances to train on and to test, all of them in the store.
        missing: Files of the index that are not in the store.
        selection: Labels that were kept and merged.
        store: Feature store (HDF5).
        parameters: Parameters of the features in the store.
        protocol: Name of a protocol, see `sercli.splits.protocols.get_protocol`.
        recipe: Recipe to train.
        seeds: Seeds; every fold is trained once with each.
        device: Device to train on: ``cpu``, ``cuda`` or ``mps``.
        out: Results folder.
        command: Command line, for the report.
    """

    index: Index
    missing: tuple[str, ...]
    selection: LabelSelection
    store: Path
    parameters: StoreParameters
    protocol: str
    recipe: Recipe
    seeds: tuple[int, ...]
    device: str
    out: Path
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldTask:
    """One fold to train and test with one seed.

    Attributes:
        plan: Parameters of the evaluation.
        seed: Seed of the split, weights, order and dropout.
        fold: Fold to train and test.
        identity: Identity of the training, see `sercli.training.description.identify_training`.
    """

    plan: EvaluationPlan
    seed: int
    fold: Fold
    identity: str

    @property
    def folder(self) -> Path:
        """Folder of the finished fold."""
        return self.plan.out / FOLDS_FOLDER / f"seed{self.seed}-fold{self.fold.number}"

    @property
    def work_folder(self) -> Path:
        """Folder in which the fold is built."""
        return self.folder.with_name(f".{self.folder.name}.partial")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldResult(Config):
    """Content of ``fold.json``: how a fold was trained.

    Attributes:
        schema_version: Schema version, `SCHEMA_VERSION`.
        identity: Identity of the training, see `FoldTask`.
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


def run_fold(task: FoldTask) -> FoldResult:
    """Trains and tests a fold, and writes its folder; resumes an interrupted training.

    On the CPU it uses one thread, so that the result does not depend on the number of parallel folds.

    Raises:
        StoreError: If the store is damaged or has changed since the task was made.
        ModelError: If the training diverges.
        KeyboardInterrupt: On Ctrl-C.
        OSError: If the folder cannot be written.
    """
    plan, fold, folder = task.plan, task.fold, task.work_folder
    with (
        CorpusFeatures(plan.index, plan.store, plan.recipe.features, copies=plan.recipe.training.copies) as corpus,
        limit_threads(1) if plan.device == "cpu" else contextlib.nullcontext(),
    ):
        if corpus.missing or identify_training(corpus, fold, plan.recipe, task.seed) != task.identity:
            msg = f"{plan.store} changed while the evaluation ran: run it again"
            raise StoreError(msg)
        folder.mkdir(parents=True, exist_ok=True)
        train = _train_baseline if plan.recipe.baseline else _train_network
        probabilities, training = train(task, corpus)
    result = FoldResult(
        schema_version=SCHEMA_VERSION,
        identity=task.identity,
        seed=task.seed,
        fold=fold.number,
        **training,
        device=plan.device,
        command=plan.command,
        train_speakers=_list_speakers(plan.index, fold.train),
        dev_speakers=_list_speakers(plan.index, fold.dev),
        test_speakers=_list_speakers(plan.index, fold.test),
        train_utterances=len(fold.train),
        dev_utterances=len(fold.dev),
        test_utterances=len(fold.test),
    )
    rows = make_rows(plan.index, fold.test, probabilities, seed=task.seed, fold=fold.number)
    write_predictions(folder / PREDICTIONS_FILE, Predictions(labels=plan.index.labels, rows=tuple(rows)))
    write_json(folder / FOLD_FILE, result.to_dict())
    remove_checkpoints(folder / CHECKPOINT_FILE)
    replace_folder(folder, task.folder)
    return result


def _list_speakers(index: Index, positions: Sequence[int]) -> tuple[str, ...]:
    return tuple(sorted({index.utterances[position].speaker for position in positions}))


def _train_network(task: FoldTask, corpus: CorpusFeatures) -> tuple[Probabilities, dict[str, Any]]:
    """Trains a model and saves it; returns test probabilities and the training's fields of `FoldResult`."""
    trained = _train_or_resume(task, corpus)
    if trained.interrupted:
        raise KeyboardInterrupt
    save_model(task.work_folder, trained.model, trained.weights)
    write_table(task.work_folder / HISTORY_FILE, trained.epoch_rows())
    return score_utterances(corpus, task.fold.test, trained.model), {
        "dev_uar": trained.dev.uar,
        "dev_accuracy": trained.dev.accuracy,
        "temperature": trained.model.temperature,
        "epochs": tuple(len(member.history) for member in trained.members),
        "best_epoch": tuple(member.best_epoch for member in trained.members),
        "setting": None,
        "seconds": round(trained.seconds, 3),
    }


def _train_or_resume(task: FoldTask, corpus: CorpusFeatures) -> TrainedModel:
    plan, checkpoint = task.plan, task.work_folder / CHECKPOINT_FILE

    def train(*, resume: bool) -> TrainedModel:
        return train_fold(
            corpus,
            task.fold,
            plan.recipe,
            seed=task.seed,
            device=torch.device(plan.device),
            checkpoint=checkpoint,
            resume=resume,
            command=plan.command,
        )

    try:
        return train(resume=True)
    except CheckpointError:  # of other data or another recipe
        remove_checkpoints(checkpoint)
        return train(resume=False)


def _train_baseline(task: FoldTask, corpus: CorpusFeatures) -> tuple[Probabilities, dict[str, Any]]:
    """Trains a classifier; returns test probabilities and the training's fields of `FoldResult`."""
    # Networks do not need these classifiers, which are slow to import.
    from threadpoolctl import threadpool_limits

    from sercli.training.baselines import score_baseline, train_baseline

    recipe, fold, start = task.plan.recipe, task.fold, time.monotonic()
    with threadpool_limits(1):
        trained = train_baseline(corpus, fold, recipe.baseline, copies=recipe.training.copies, seed=task.seed)
        dev = score_baseline(corpus, fold.dev, trained)
        test = score_baseline(corpus, fold.test, trained)
    return test, {
        "dev_uar": trained.dev_uar,
        "dev_accuracy": float((dev.argmax(axis=1) == list_truth(corpus, fold.dev)).mean()),
        "temperature": trained.temperature,
        "epochs": (),
        "best_epoch": (),
        "setting": float(trained.setting),
        "seconds": round(time.monotonic() - start, 3),
    }


def find_finished(task: FoldTask) -> FoldResult | None:
    """Returns the result of a task whose folder is complete and has the same identity; None if there is none."""
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
