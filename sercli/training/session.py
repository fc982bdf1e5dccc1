"""One training from data to a calibrated model, with checkpoints; the same for train and evaluate."""

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
from sercli.training.augmentation import AugmentConfig, SpectralAugmentation
from sercli.training.calibration import fit_temperature
from sercli.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from sercli.training.data import CorpusFeatures
from sercli.training.description import describe_training, identify_checkpoint
from sercli.training.loop import DevScores, EpochRecord, FitResult, Teacher, fit, score_logits
from sercli.training.recipes import Recipe
from sercli.training.scoring import list_truth, pool_logits

OnEpoch = Callable[[int, EpochRecord], None]
"""Called after each epoch, once its checkpoint is saved, with the number of the network from 0, teachers first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A trained model and how its training went.

    Attributes:
        model: The calibrated model, ready to be saved.
        weights: Content of its safetensors file.
        dev: Scores of the model on the development utterances.
        members: Training of each network in it.
        teachers: Training of each network that taught them.
        interrupted: Whether Ctrl-C ended the training early; the model then lacks members, or epochs of its only one,
            or consists of the teachers that were finished.
    """

    model: Model
    weights: bytes
    dev: DevScores
    members: tuple[FitResult, ...]
    teachers: tuple[FitResult, ...]
    interrupted: bool

    @property
    def seconds(self) -> float:
        """Duration of all epochs of all networks, teachers included (s)."""
        return sum(record.seconds for each in (*self.teachers, *self.members) for record in each.history)

    def tabulate_epochs(self) -> list[dict[str, Any]]:
        """One row per epoch: the number of the network from 1, teachers first, then the fields of `EpochRecord`."""
        return [
            {"member": number, **asdict(record)}
            for number, each in enumerate((*self.teachers, *self.members), start=1)
            for record in each.history
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
    """Trains a model on a fold's training side, and calibrates it on the development side.

    Networks, teachers first, are trained one after the other on the same training side, with seeds and checkpoints of
    their own. Weights are rounded and exported before the model is calibrated and scored, so that the scores are those
    of what is saved.

    Args:
        corpus: The utterances that the fold divides.
        fold: Training and development utterances; its test side is not used.
        recipe: Features, network and training.
        seed: Seed of weights, order and dropout.
        device: Device to train on.
        checkpoint: File for the state after each epoch.
        resume: Resume from that file if it exists.
        command: Command line, for the record.
        on_epoch: Called after each epoch.

    Raises:
        CheckpointError: If the checkpoint is damaged, of another training, or has more epochs than the recipe.
        ModelError: If the training diverges.
        KeyboardInterrupt: If Ctrl-C ends the first epoch, or the first one after the teachers.
    """
    normalizer = corpus.fit_normalizer(fold.train)
    training = MemberTraining(
        corpus=corpus,
        fold=fold,
        recipe=recipe.join(1),
        normalizer=normalizer,
        device=device,
        identity=identify_checkpoint(corpus, fold, recipe, seed),
        resume=resume,
    )
    run = partial(training.run_members, seed=seed, checkpoint=checkpoint, on_epoch=on_epoch)
    teachers: list[FitResult] = []
    first = range(recipe.teachers.networks if recipe.teachers else recipe.network.members)
    networks, results, interrupted = run(first)
    if recipe.teachers and not interrupted:
        teachers, teacher = results, Teacher(network=Ensemble(networks).eval(), config=recipe.teachers)
        networks, results, interrupted = run(range(len(first), recipe.n_networks), teacher=teacher)
    network = networks[0] if len(networks) == 1 else Ensemble(networks)
    model = _export(network, corpus, recipe.join(len(networks)), normalizer)
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
        "training": describe_run(trained, device),
        "seed": seed,
        "command": command,
    }
    return replace(trained, model=replace(model, facts=facts))


def seed_member(seed: int, number: int) -> int:
    """Seed of a network by its number from 0; the first has the seed of the training."""
    return seed if number == 0 else int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def name_checkpoint(path: Path, number: int) -> Path:
    """Checkpoint of a network by its number from 0; the first has the name given."""
    return path if number == 0 else path.with_name(f"{path.stem}-{number}{path.suffix}")


def remove_checkpoints(path: Path) -> None:
    """Removes the checkpoints of all networks."""
    path.unlink(missing_ok=True)
    for member in path.parent.glob(f"{path.stem}-*{path.suffix}"):
        member.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberTraining:
    """Training of one network; what all networks of a model share."""

    corpus: CorpusFeatures
    fold: Fold
    recipe: Recipe
    normalizer: Normalizer
    device: torch.device
    identity: str
    resume: bool

    def run_members(
        self,
        numbers: range,
        *,
        seed: int,
        checkpoint: Path | None,
        on_epoch: OnEpoch,
        teacher: Teacher | None = None,
    ) -> tuple[list[nn.Module], list[FitResult], bool]:
        """Trains networks one after the other; also returns whether Ctrl-C ended it early."""
        networks: list[nn.Module] = []
        results: list[FitResult] = []
        for number in numbers:
            path = name_checkpoint(checkpoint, number) if checkpoint else None
            try:
                network, result = self.run(seed_member(seed, number), path, partial(on_epoch, number), teacher)
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

    def run(
        self, seed: int, checkpoint: Path | None, on_epoch: Callable[[EpochRecord], None], teacher: Teacher | None
    ) -> tuple[nn.Module, FitResult]:
        """Trains one network.

        Args:
            seed: Seed of weights, order, augmentation and dropout.
            checkpoint: Where the state is saved after each epoch; None for nowhere.
            on_epoch: Called after each epoch.
            teacher: Networks that it learns from; None for none.
        """
        config = self.recipe.training
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = build_network(self.recipe.network, len(self.normalizer.mean), len(self.corpus.labels))
        # Channels last: a third faster for 2-D convolutions on the CPU, and what tensor cores prefer.
        network = network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

        def keep(record: EpochRecord, make_checkpoint: Callable[[], Checkpoint]) -> None:
            if checkpoint:
                save_checkpoint(checkpoint, make_checkpoint(), self.identity)
            on_epoch(record)

        batches = partial(self.corpus.batches, normalizer=self.normalizer, device=self.device)
        result = fit(
            network,
            batches(self.fold.train, copies=config.copies),
            batches(self.fold.dev),
            config,
            seed=seed,
            resume=self._load(checkpoint),
            augment=self._make_augmentation(),
            teacher=teacher,
            on_epoch=keep,
        )
        return network, result

    def _load(self, path: Path | None) -> Checkpoint | None:
        if not (self.resume and path and path.exists()):
            return None
        state, max_epochs = load_checkpoint(path, self.identity), self.recipe.training.max_epochs
        if len(state.history) > max_epochs:
            msg = (
                f"cannot resume from {path}: it has {len(state.history)} epochs, more than the {max_epochs} asked for; "
                "ask for at least as many, or train with --restart"
            )
            raise CheckpointError(msg)
        return state

    def _make_augmentation(self) -> SpectralAugmentation | None:
        if self.recipe.augmentation == AugmentConfig():
            return None
        features = self.corpus.parameters.features.select(self.recipe.features)
        return SpectralAugmentation(self.recipe.augmentation, features, self.normalizer, self.device)


def _export(network: nn.Module, corpus: CorpusFeatures, recipe: Recipe, normalizer: Normalizer) -> Model:
    """Rounds the weights, and makes a model without calibration."""
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
    """Fits the temperature on the development utterances, each scored like a recording."""
    logits, truth = pool_logits(corpus, fold.dev, model), list_truth(corpus, fold.dev)
    temperature = fit_temperature(logits, truth)
    return replace(model, temperature=temperature), score_logits(logits / temperature, truth)


def describe_run(trained: TrainedModel, device: torch.device) -> dict[str, Any]:
    """Epochs, development scores and duration of a training, JSON-ready, for ``model.json``."""
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
