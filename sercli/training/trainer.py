"""Trains and calibrates one model, with checkpoints; used by train, evaluate and tune."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sercli.errors import CheckpointError
from sercli.labels import choose_negative
from sercli.models.blocks import Ensemble
from sercli.models.export import export_network, pack_weights, round_weights
from sercli.models.model import Model
from sercli.models.networks import build_network
from sercli.models.normalizer import Normalizer
from sercli.splits.fold import Fold
from sercli.training.augmentation import SpectralAugmentation
from sercli.training.calibration import fit_temperature, list_truth, pool_logits
from sercli.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from sercli.training.data import CorpusFeatures
from sercli.training.description import describe_training, identify_checkpoint
from sercli.training.loop import DevScores, EpochRecord, FitResult, Teacher, fit, score_logits
from sercli.training.recipes import AugmentConfig, Recipe, TeacherConfig

OnEpoch = Callable[[int, EpochRecord], None]
"""Called after each epoch, once its checkpoint is saved, with the number of the network (from 0, teachers first)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """Trained model and its training history.

    Attributes:
        model: Calibrated model, ready to be saved.
        weights: Content of its safetensors file.
        dev: Scores of the development utterances.
        members: Training of each network of the model.
        teachers: Training of each teacher; empty without distillation.
        interrupted: Whether Ctrl-C ended the training early. The model then has fewer networks or epochs, or is an
            ensemble of the finished teachers.
    """

    model: Model
    weights: bytes
    dev: DevScores
    members: tuple[FitResult, ...]
    teachers: tuple[FitResult, ...]
    interrupted: bool

    @property
    def seconds(self) -> float:
        """Duration of all epochs of all networks, including teachers (s)."""
        return sum(record.seconds for network in (*self.teachers, *self.members) for record in network.history)

    def epoch_rows(self) -> list[dict[str, Any]]:
        """Returns one row per epoch: number of the network (from 1, teachers first) and fields of `EpochRecord`."""
        return [
            {"network": number, **asdict(record)}
            for number, network in enumerate((*self.teachers, *self.members), start=1)
            for record in network.history
        ]


def train_fold(
    corpus: CorpusFeatures,
    fold: Fold,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    resume: bool = False,
    command: str = "",
    on_epoch: OnEpoch = lambda *_: None,
) -> TrainedModel:
    """Trains a model on the training utterances of a fold, and calibrates it on the development utterances.

    Networks, teachers first, are trained one after the other, each with its own seed and checkpoint. Weights are
    rounded and exported before the model is calibrated and scored, so that the scores are those of the saved model.

    Args:
        corpus: Utterances that the fold divides.
        fold: Training and development utterances; its test utterances are not used.
        recipe: Features, network and training.
        seed: Seed of weights, order and dropout.
        device: Device to train on.
        checkpoint: File for the state after each epoch; None to save none.
        resume: Whether to resume from that file if it exists.
        command: Command line, for the description of the model.
        on_epoch: Called after each epoch.

    Raises:
        CheckpointError: If the checkpoint is damaged, of another training, or has more epochs than the recipe.
        ModelError: If the training diverges.
        KeyboardInterrupt: If Ctrl-C comes before any network has finished an epoch.
    """
    normalizer = corpus.fit_normalizer(fold.train)
    trainer = NetworkTrainer(
        corpus=corpus,
        fold=fold,
        recipe=recipe.with_members(1),
        normalizer=normalizer,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        identity=identify_checkpoint(corpus, fold, recipe, seed),
        resume=resume,
        on_epoch=on_epoch,
    )
    teachers: list[FitResult] = []
    if recipe.teachers:
        networks, results, interrupted = trainer.train_teachers(recipe.teachers)
        if not interrupted:
            teacher = Teacher(network=Ensemble(networks).eval(), config=recipe.teachers)
            students = trainer.train_students(range(len(networks), len(recipe.epochs)), teacher)
            if students:
                teachers, (networks, results, interrupted) = results, students
            else:  # the finished teachers are better than an unfinished student
                interrupted = True
    else:
        networks, results, interrupted = trainer.train_all(range(recipe.network.members))
    network = networks[0] if len(networks) == 1 else Ensemble(networks)
    model = _export(network, corpus, recipe.with_members(len(networks)), normalizer)
    model, dev = _calibrate(model, corpus, fold)
    trained = TrainedModel(
        model=model,
        weights=pack_weights(network),
        dev=dev,
        members=tuple(results),
        teachers=tuple(teachers),
        interrupted=interrupted,
    )
    facts = {
        **describe_training(corpus, fold, recipe),
        "training": describe_result(trained, device),
        "seed": seed,
        "command": command,
    }
    return replace(trained, model=replace(model, facts=facts))


def seed_network(seed: int, number: int) -> int:
    """Returns the seed of a network by its number, from 0; the first has the seed of the training."""
    return seed if number == 0 else int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def name_checkpoint(path: Path, number: int) -> Path:
    """Returns the checkpoint of a network by its number, from 0; the first has the name given."""
    return path if number == 0 else path.with_name(f"{path.stem}-{number}{path.suffix}")


def remove_checkpoints(path: Path) -> None:
    """Removes the checkpoints of all networks."""
    path.unlink(missing_ok=True)
    for other in path.parent.glob(f"{path.stem}-*{path.suffix}"):
        other.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTrainer:
    """Trains the networks of one model.

    Attributes:
        corpus: Utterances that the fold divides.
        fold: Training and development utterances.
        recipe: Recipe of one network.
        normalizer: Normalization of the features.
        seed: Seed of the first network, from which those of the others are derived.
        device: Device to train on.
        checkpoint: File for the state of the first network, from which the others are named; None to save none.
        identity: Identity of the checkpoints.
        resume: Whether to resume from checkpoints that exist.
        on_epoch: Called after each epoch.
    """

    corpus: CorpusFeatures
    fold: Fold
    recipe: Recipe
    normalizer: Normalizer
    seed: int
    device: torch.device
    checkpoint: Path | None = None
    identity: str = ""
    resume: bool = False
    on_epoch: OnEpoch = lambda *_: None

    def train_teachers(self, config: TeacherConfig) -> tuple[list[nn.Module], list[FitResult], bool]:
        """Trains teachers; returns what `train_all` does."""
        trainer = replace(self, recipe=self.recipe.with_max_epochs(config.max_epochs))
        return trainer.train_all(range(config.networks))

    def train_students(self, numbers: range, teacher: Teacher) -> tuple[list[nn.Module], list[FitResult], bool] | None:
        """Trains students by number; returns what `train_all` does, or None if Ctrl-C came before one was finished."""
        try:
            networks, results, interrupted = self.train_all(numbers, teacher)
        except KeyboardInterrupt:
            return None
        return None if results[0].interrupted else (networks, results, interrupted)

    def train_all(
        self, numbers: range, teacher: Teacher | None = None
    ) -> tuple[list[nn.Module], list[FitResult], bool]:
        """Trains networks by number; returns them, their results, and whether Ctrl-C ended the training early."""
        networks: list[nn.Module] = []
        results: list[FitResult] = []
        for number in numbers:
            try:
                network, result = self.train_one(number, teacher)
            except KeyboardInterrupt:  # in the first epoch
                if not networks:
                    raise
                return networks, results, True
            if result.interrupted and networks:
                return networks, results, True
            networks.append(network)
            results.append(result)
            if result.interrupted:  # an unfinished network is better than none
                return networks, results, True
        return networks, results, False

    def train_one(self, number: int, teacher: Teacher | None = None) -> tuple[nn.Module, FitResult]:
        """Trains one network.

        Args:
            number: Number of the network, from 0.
            teacher: Teacher for distillation; None if there is none.
        """
        config, seed = self.recipe.training, seed_network(self.seed, number)
        checkpoint = name_checkpoint(self.checkpoint, number) if self.checkpoint else None
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = build_network(self.recipe.network, len(self.normalizer.mean), len(self.corpus.labels))
        # Channels last is a third faster for 2-D convolutions on the CPU, and preferred by tensor cores.
        network = network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

        def save(record: EpochRecord, make_checkpoint: Callable[[], Checkpoint]) -> None:
            if checkpoint:
                save_checkpoint(checkpoint, make_checkpoint(), self.identity)
            self.on_epoch(number, record)

        batches = partial(self.corpus.batches, normalizer=self.normalizer, device=self.device)
        result = fit(
            network,
            batches(self.fold.train, copies=config.copies),
            batches(self.fold.dev),
            config,
            seed=seed,
            resume=self._load_checkpoint(checkpoint),
            augment=self._make_augmentation(),
            teacher=teacher,
            on_epoch=save,
        )
        return network, result

    def _load_checkpoint(self, path: Path | None) -> Checkpoint | None:
        if not (self.resume and path and path.exists()):
            return None
        state, max_epochs = load_checkpoint(path, self.identity), self.recipe.training.max_epochs
        if len(state.history) > max_epochs:
            msg = (
                f"cannot resume from {path}: it has {len(state.history)} epochs, expected at most {max_epochs}; "
                "raise --max-epochs, or train with --restart"
            )
            raise CheckpointError(msg)
        return state

    def _make_augmentation(self) -> SpectralAugmentation | None:
        if self.recipe.augmentation == AugmentConfig():
            return None
        features = self.corpus.parameters.features.select(self.recipe.features)
        return SpectralAugmentation(self.recipe.augmentation, features, self.normalizer, self.device)


def _export(network: nn.Module, corpus: CorpusFeatures, recipe: Recipe, normalizer: Normalizer) -> Model:
    """Rounds the weights of a network, and exports it as a model without calibration."""
    round_weights(network)
    features = corpus.parameters.features.select(recipe.features)
    return Model(
        graph=export_network(network, features.n_features),
        labels=corpus.labels,
        negative=choose_negative(corpus.labels),
        audio=corpus.parameters.audio,
        segmentation=corpus.parameters.segmentation,
        features=features,
        normalizer=normalizer,
        network=recipe.network.to_dict(),
    )


def _calibrate(model: Model, corpus: CorpusFeatures, fold: Fold) -> tuple[Model, DevScores]:
    """Fits the temperature to the development utterances; returns the calibrated model and its scores."""
    logits, truth = pool_logits(corpus, fold.dev, model), list_truth(corpus, fold.dev)
    temperature = fit_temperature(logits, truth)
    return replace(model, temperature=temperature), score_logits(logits / temperature, truth)


def describe_result(trained: TrainedModel, device: torch.device) -> dict[str, Any]:
    """Describes networks, epochs, development scores and duration of a training run, JSON-ready, for ``model.json``."""
    return {
        "members": len(trained.members),
        "teachers": len(trained.teachers),
        "epochs": [len(member.history) for member in trained.members],
        "best_epoch": [member.best_epoch for member in trained.members],
        "dev_uar": trained.dev.uar,
        "dev_accuracy": trained.dev.accuracy,
        "interrupted": trained.interrupted,
        "device": str(device),
        "seconds": round(trained.seconds, 3),
    }
