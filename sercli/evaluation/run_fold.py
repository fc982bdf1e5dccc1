"""Trains and tests one fold with one seed, and writes its folder atomically.

The folder contains the files of a model folder, ``history.csv`` (both not for baselines), ``predictions.csv`` and
``fold.json``. It is built in a hidden folder next to it, which keeps the checkpoint of an interrupted training.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from sercli.corpora.index import Index
from sercli.errors import CheckpointError, InputError, StoreError
from sercli.evaluation.folds import (
    FOLD_FILE,
    IDENTITY_FILE,
    SCHEMA_VERSION,
    FoldResult,
    FoldTask,
    has_checkpoint,
    read_fold,
)
from sercli.evaluation.predictions import (
    PREDICTIONS_FILE,
    Predictions,
    make_rows,
    read_predictions,
    write_predictions,
)
from sercli.files import remove_folder, replace_folder, write_json, write_table
from sercli.metrics import Probabilities
from sercli.models.folder import HISTORY_FILE, list_files
from sercli.models.model import save_model
from sercli.parallel import limit_threads
from sercli.training.calibration import list_truth, pool_logits
from sercli.training.checkpoint import CHECKPOINT_FILE
from sercli.training.data import CorpusFeatures
from sercli.training.description import identify_training
from sercli.training.recipes import Recipe
from sercli.training.trainer import remove_checkpoints, train_fold


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldTraining:
    """Trained and tested fold.

    Attributes:
        test: Calibrated probabilities of the test utterances, shape ``(n, n_labels)``.
        dev_uar: Unweighted average recall of the development utterances, 0 to 1.
        dev_accuracy: Accuracy of the development utterances, 0 to 1.
        temperature: Calibration temperature.
        seconds: Duration of the training (s).
        epochs: Number of epochs of each network; empty for a baseline.
        best_epoch: Epoch of each network's weights; empty for a baseline.
        setting: Setting of a baseline, chosen by `dev_uar`; None for a network.
    """

    test: Probabilities
    dev_uar: float
    dev_accuracy: float
    temperature: float
    seconds: float
    epochs: tuple[int, ...] = ()
    best_epoch: tuple[int, ...] = ()
    setting: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to train and test a fold.

    Attributes:
        train: Function that trains, writes `files` to `FoldTask.work_folder`, and tests.
        files: Names of the files of a trained model.
        uses_gpu: Whether it trains on the GPU if there is one.
    """

    train: Callable[[FoldTask, CorpusFeatures], FoldTraining]
    files: tuple[str, ...]
    uses_gpu: bool


def get_method(recipe: Recipe) -> Method:
    """Returns how a recipe is trained: as a network or as a baseline."""
    return BASELINE if recipe.baseline else NETWORK


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
        # The task was made from the same store, but perhaps by another process and a while ago.
        if corpus.missing or identify_training(corpus, fold, plan.recipe, task.seed) != task.identity:
            msg = f"{plan.store} changed while the evaluation ran: run it again"
            raise StoreError(msg)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / IDENTITY_FILE).write_text(task.identity, encoding="utf-8")
        try:
            training = get_method(plan.recipe).train(task, corpus)
        except BaseException:
            if not has_checkpoint(folder):
                remove_folder(folder)
            raise
    result = FoldResult(
        schema_version=SCHEMA_VERSION,
        identity=task.identity,
        seed=task.seed,
        fold=fold.number,
        dev_uar=training.dev_uar,
        dev_accuracy=training.dev_accuracy,
        temperature=training.temperature,
        epochs=training.epochs,
        best_epoch=training.best_epoch,
        setting=training.setting,
        seconds=round(training.seconds, 3),
        device=plan.device,
        command=plan.command,
        train_speakers=_list_speakers(plan.index, fold.train),
        dev_speakers=_list_speakers(plan.index, fold.dev),
        test_speakers=_list_speakers(plan.index, fold.test),
        train_utterances=len(fold.train),
        dev_utterances=len(fold.dev),
        test_utterances=len(fold.test),
    )
    rows = make_rows(plan.index, fold.test, training.test, seed=task.seed, fold=fold.number)
    write_predictions(folder / PREDICTIONS_FILE, Predictions(labels=plan.index.labels, rows=tuple(rows)))
    write_json(folder / FOLD_FILE, result.to_dict())
    remove_checkpoints(folder / CHECKPOINT_FILE)
    (folder / IDENTITY_FILE).unlink()
    replace_folder(folder, task.folder)
    return result


def _list_speakers(index: Index, positions: Sequence[int]) -> tuple[str, ...]:
    return tuple(sorted({index.utterances[position].speaker for position in positions}))


def _train_network(task: FoldTask, corpus: CorpusFeatures) -> FoldTraining:
    plan, folder = task.plan, task.work_folder
    train = partial(
        train_fold,
        corpus,
        task.fold,
        plan.recipe,
        seed=task.seed,
        device=torch.device(plan.device),
        checkpoint=folder / CHECKPOINT_FILE,
        command=plan.command,
    )
    try:
        trained = train(resume=True)
    except CheckpointError:  # damaged, or of other data or another recipe
        remove_checkpoints(folder / CHECKPOINT_FILE)
        trained = train()
    if trained.interrupted:
        raise KeyboardInterrupt
    save_model(folder, trained.model, trained.weights)
    write_table(folder / HISTORY_FILE, trained.epoch_rows())
    return FoldTraining(
        test=trained.model.probabilities(pool_logits(corpus, task.fold.test, trained.model)),
        dev_uar=trained.dev.uar,
        dev_accuracy=trained.dev.accuracy,
        temperature=trained.model.temperature,
        seconds=trained.seconds,
        epochs=tuple(len(network.history) for network in trained.members),
        best_epoch=tuple(network.best_epoch for network in trained.members),
    )


def _train_baseline(task: FoldTask, corpus: CorpusFeatures) -> FoldTraining:
    # Networks do not need these classifiers, which are slow to import.
    from threadpoolctl import threadpool_limits

    from sercli.training.baselines import score_baseline, train_baseline

    recipe, fold, start = task.plan.recipe, task.fold, time.monotonic()
    with threadpool_limits(1):
        trained = train_baseline(corpus, fold, recipe.baseline, copies=recipe.training.copies, seed=task.seed)
        dev = score_baseline(corpus, fold.dev, trained)
        test = score_baseline(corpus, fold.test, trained)
    return FoldTraining(
        test=test,
        dev_uar=trained.dev_uar,
        dev_accuracy=float((dev.argmax(axis=1) == list_truth(corpus, fold.dev)).mean()),
        temperature=trained.temperature,
        seconds=time.monotonic() - start,
        setting=float(trained.setting),
    )


NETWORK = Method(train=_train_network, files=(*(path.name for path in list_files(Path())), HISTORY_FILE), uses_gpu=True)
BASELINE = Method(train=_train_baseline, files=(), uses_gpu=False)


def find_finished(task: FoldTask) -> FoldResult | None:
    """Returns the result of a task whose folder is complete, undamaged and of the same identity; None if it is not.

    Speakers are those of the index now: their names do not change the training.
    """
    files = (PREDICTIONS_FILE, FOLD_FILE, *get_method(task.plan.recipe).files)
    if not all((task.folder / name).is_file() for name in files):
        return None
    index, fold = task.plan.index, task.fold
    try:
        result, predictions = read_fold(task.folder), read_predictions(task.folder / PREDICTIONS_FILE)
    except InputError:
        return None
    if (result.identity, predictions.labels, len(predictions.rows)) != (task.identity, index.labels, len(fold.test)):
        return None
    return replace(
        result,
        train_speakers=_list_speakers(index, fold.train),
        dev_speakers=_list_speakers(index, fold.dev),
        test_speakers=_list_speakers(index, fold.test),
    )
