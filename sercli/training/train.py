"""Training a model for use, into a model folder."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sercli.corpora.index import Index
from sercli.cpus import count_cpus
from sercli.errors import InputError, ModelError, UsageError
from sercli.features.store import FeatureStore
from sercli.files import acquire_lock, read_json_object, release_lock, write_table
from sercli.models.folder import JSON_FILE, save_model
from sercli.parallel import limit_threads
from sercli.plots import save_curves
from sercli.splits.development import make_training_split
from sercli.training.data import CorpusFeatures
from sercli.training.loop import EpochRecord
from sercli.training.recipes import Recipe
from sercli.training.session import Trained, describe_training, remove_checkpoints, train_fold

CHECKPOINT_FILE = "checkpoint.safetensors"
LOCK_FILE = ".lock"  # while a training writes the folder


def train(
    index: Index,
    store: Path,
    recipe: Recipe,
    out: Path,
    *,
    seed: int = 0,
    device: torch.device,
    resume: bool = False,
    restart: bool = False,
    command: str = "",
    figures: Mapping[str, Any] | None = None,
    on_epoch: Callable[[int, EpochRecord], None] = lambda *_: None,
) -> Trained:
    """Trains on every utterance of an index but those of the development speakers, and writes a model folder.

    After each epoch the state is kept in the folder, so that an interrupted training can go on. When it is
    interrupted by KeyboardInterrupt, the best weights so far become the model, unless a finished one is there.

    Args:
        index: the utterances, of the wanted corpora only.
        store: their features.
        recipe: how.
        out: the model folder.
        seed: of the development speakers, weights, order and dropout.
        device: to work on.
        resume: go on from the state that an interrupted training left in the folder.
        restart: forget that state.
        command: that asked for it, for the record.
        figures: test figures of the recipe by protocol, for the model card.
        on_epoch: called after each epoch, with the number of the ensemble's member from 0.

    Raises:
        UsageError: if the recipe is a baseline, which has no model folder; if the training shall be both resumed
            and started over; if the folder is a file; or if the store lacks the features.
        ModelError: if there is nothing to resume, what could be resumed would be lost, or it belongs to another
            training; or if the loss is no longer a number.
        StoreError: if the store lacks the utterances.
        SplitError: if there are too few speakers or utterances.
        InputError: if another training is writing the folder.
    """
    if recipe.baseline:
        msg = f"recipe {recipe.name} is there to be compared with, by 'sercli evaluate'; train a network instead"
        raise UsageError(msg)
    if resume and restart:
        msg = "--resume goes on and --restart starts over: give one of them"
        raise UsageError(msg)
    if out.exists() and not out.is_dir():
        msg = f"{out} is a file, expected a folder for the model: give another --out"
        raise UsageError(msg)
    checkpoint = out / CHECKPOINT_FILE
    if resume and not checkpoint.exists():
        msg = f"nothing to resume in {out}: no {CHECKPOINT_FILE}; train without --resume"
        raise ModelError(msg)
    if checkpoint.exists() and not (resume or restart):
        msg = f"{out} holds an interrupted training: go on with --resume, or start over with --restart"
        raise ModelError(msg)
    with FeatureStore(store) as opened:
        corpus = CorpusFeatures(index, opened, recipe.features)
    fold = make_training_split(corpus.index, seed)
    out.mkdir(parents=True, exist_ok=True)
    with _own(out), limit_threads(count_cpus()):
        if restart:
            remove_checkpoints(checkpoint)
        trained = train_fold(
            corpus,
            fold,
            recipe,
            seed=seed,
            device=device,
            checkpoint=checkpoint,
            resume=resume,
            half=True,
            on_epoch=on_epoch,
        )
        if trained.result.interrupted and holds_finished_model(out):
            return trained
        facts = {
            **describe_training(corpus, fold, recipe, trained, seed=seed, device=device, command=command),
            "figures": dict(figures or {}),
            "not_in_store": list(corpus.missing),
        }
        save_model(out, trained.to_model(recipe, corpus.parameters, facts))
        write_table(out / "history.csv", trained.tabulate_epochs())
        histories = [[asdict(record) for record in history] for history in trained.histories]
        titles = [
            f"member {number}" if len(histories) > 1 else f"recipe {recipe.name}, seed {seed}"
            for number in range(1, len(histories) + 1)
        ]
        save_curves(out / "curves.png", histories, titles)
        if not trained.result.interrupted:
            remove_checkpoints(checkpoint)
        return trained


@contextlib.contextmanager
def _own(out: Path) -> Iterator[None]:
    """The model folder, for one training at a time."""
    busy = f"{out} is being written by another sercli train: give another --out"
    lock = acquire_lock(out / LOCK_FILE, InputError(busy))
    try:
        yield
    finally:
        release_lock(lock)
        with contextlib.suppress(OSError):  # it is not empty
            out.rmdir()


def holds_finished_model(folder: Path) -> bool:
    """Whether a model is there whose training was not interrupted."""
    try:
        return not read_json_object(folder / JSON_FILE)["training"]["interrupted"]
    except (InputError, KeyError, TypeError):
        return False
