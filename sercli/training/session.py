"""One training from data to calibrated network, with its checkpoint, for train and evaluate alike."""

import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sercli.corpora.registry import CORPORA
from sercli.errors import CheckpointError
from sercli.features.parameters import StoreParameters
from sercli.metrics import Probabilities
from sercli.models.blocks import Ensemble
from sercli.models.folder import Model, collect_versions, round_weights
from sercli.models.networks import build_network
from sercli.models.normaliser import Normaliser
from sercli.splits.fold import Fold
from sercli.training.augmentation import AugmentConfig, SpectralAugmentation
from sercli.training.calibration import fit_temperature, to_probabilities
from sercli.training.checkpoint import load_checkpoint, save_checkpoint
from sercli.training.data import Batches, CorpusFeatures
from sercli.training.loop import EpochRecord, TrainingResult, compute_logits, fit, score_dev
from sercli.training.recipes import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained network and what goes with it.

    Attributes:
        network: with the weights of its best epoch; an ensemble of such networks where the recipe wants one.
        normaliser: fitted on the training utterances.
        temperature: fitted on the development utterances.
        result: how the training went; of an ensemble, that of its first member.
        histories: the epochs of each member.
        dev: how the network does on the development utterances.
    """

    network: nn.Module
    normaliser: Normaliser
    temperature: float
    result: TrainingResult
    histories: tuple[tuple[EpochRecord, ...], ...]
    dev: EpochRecord

    def tabulate_epochs(self) -> list[dict[str, Any]]:
        """A row for each epoch, JSON-ready; of an ensemble with the column ``member`` before its record, from 1."""
        several = len(self.histories) > 1
        return [
            {**({"member": number} if several else {}), **asdict(record)}
            for number, history in enumerate(self.histories, start=1)
            for record in history
        ]

    def to_model(self, recipe: Recipe, parameters: StoreParameters, facts: Mapping[str, Any]) -> Model:
        """The model folder's content.

        Args:
            recipe: that trained it.
            parameters: of the store that it was trained on.
            facts: how it came about.
        """
        return Model(
            network=self.network,
            network_config=recipe.network,
            audio=parameters.audio,
            features=parameters.features.select(recipe.features),
            normaliser=self.normaliser,
            temperature=self.temperature,
            facts=facts,
        )


def train_fold(
    corpus: CorpusFeatures,
    fold: Fold,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    resume: bool = False,
    half: bool = False,
    on_epoch: Callable[[int, EpochRecord], None] = lambda *_: None,
) -> Trained:
    """Trains a network on a fold's training side, watched on its development side.

    The members of an ensemble are trained one after the other, with seeds of their own, and keep their states in
    files of their own.

    Args:
        corpus: the utterances that the fold divides.
        fold: who trains and who is looked at; its test side is not touched.
        recipe: how.
        seed: of weights, order and dropout.
        device: to work on.
        checkpoint: file to keep the state in after each epoch.
        resume: go on from that file if it is there.
        half: round the weights to half precision in the end, for a small model folder.
        on_epoch: called after each epoch, when its checkpoint is safe, with the member's number from 0.

    Raises:
        CheckpointError: if the checkpoint is damaged, of another training, or of more epochs than are wanted.
        ModelError: if the loss is no longer a number.
    """
    normaliser = corpus.fit_normaliser(fold.train)
    dev = corpus.batches(fold.dev, normaliser, device=device)
    single = recipe.join(1)
    identity = identify_checkpoint(corpus, fold, recipe, seed)
    members: list[nn.Module] = []
    results: list[TrainingResult] = []
    for number in range(recipe.network.members):
        path = name_checkpoint(checkpoint, number) if checkpoint else None
        try:
            network, result = _train_member(
                corpus,
                fold,
                single,
                normaliser,
                dev,
                seed=seed_member(seed, number),
                device=device,
                checkpoint=path,
                identity=identity,
                resume=resume,
                on_epoch=partial(on_epoch, number),
            )
        except KeyboardInterrupt:
            if not members:
                raise
            results[-1] = replace(results[-1], interrupted=True)  # in the first epoch of a later member
            break
        members.append(network)
        results.append(result)
        if result.interrupted:
            break
    network = members[0] if recipe.network.members == 1 else Ensemble(_complete(members, recipe))
    if half:
        round_weights(network)
    temperature = fit_temperature(compute_logits(network, dev).numpy(), dev.truth.cpu().numpy())
    return Trained(
        network=network,
        normaliser=normaliser,
        temperature=temperature,
        result=replace(results[0], interrupted=results[-1].interrupted),
        histories=tuple(result.history for result in results),
        dev=score_dev(network, dev),
    )


def seed_member(seed: int, number: int) -> int:
    """The seed of a member of an ensemble; of the first it is the ensemble's own."""
    return seed if number == 0 else int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def name_checkpoint(path: Path, number: int) -> Path:
    """The file in which a member of an ensemble keeps its state; of the first it is the one given."""
    return path if number == 0 else path.with_name(f"{path.stem}-{number}{path.suffix}")


def remove_checkpoints(path: Path) -> None:
    """Removes the files that `train_fold` has kept the state in, of however many members."""
    path.unlink(missing_ok=True)
    for of_member in path.parent.glob(f"{path.stem}-*{path.suffix}"):
        of_member.unlink()


def _complete(members: Sequence[nn.Module], recipe: Recipe) -> list[nn.Module]:
    """As many members as there should be, also when the training was interrupted before the last."""
    # Copies, since a model folder holds no tensor twice.
    return [*members, *(copy.deepcopy(members[n % len(members)]) for n in range(recipe.network.members - len(members)))]


def _train_member(
    corpus: CorpusFeatures,
    fold: Fold,
    recipe: Recipe,
    normaliser: Normaliser,
    dev: Batches,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None,
    identity: str,
    resume: bool,
    on_epoch: Callable[[EpochRecord], None],
) -> tuple[nn.Module, TrainingResult]:
    config = recipe.training
    train = corpus.batches(fold.train, normaliser, copies=config.copies, enrolled=config.enrolled > 0, device=device)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_network(recipe.network, len(normaliser.mean))
    # Channels last: a third faster on the CPU for 2-D convolutions, and what tensor cores want; no matter to others.
    network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = load_checkpoint(checkpoint, identity) if resume and checkpoint and checkpoint.exists() else None
    if state and len(state.history) > config.max_epochs:
        msg = (
            f"{checkpoint} has been trained for {len(state.history)} epochs already, more than the "
            f"{config.max_epochs} asked for; give as many, or train with --restart"
        )
        raise CheckpointError(msg)

    def keep(record: EpochRecord, state_now: Callable[..., object]) -> None:
        if checkpoint:
            save_checkpoint(checkpoint, state_now(), identity)  # type: ignore[arg-type]
        on_epoch(record)

    augment = None
    if recipe.augmentation != AugmentConfig():
        features = corpus.parameters.features.select(recipe.features)
        augment = SpectralAugmentation(recipe.augmentation, features, normaliser, device)
    return network, fit(network, train, dev, config, seed=seed, resume=state, augment=augment, on_epoch=keep)


def score_utterances(
    corpus: CorpusFeatures, members: Sequence[int], model: Model, device: torch.device, *, enrolled: bool = False
) -> Probabilities:
    """Calibrated probabilities, in shape ``(n, 8)``, of utterances without copies.

    Args:
        corpus: with the features that the model was trained on.
        members: positions in its index.
        model: its network on the device.
        device: to work on.
        enrolled: whether utterances are normalised by speaker, from all that each says among these.
    """
    batches = corpus.batches(members, model.normaliser, enrolled=enrolled, device=device)
    if enrolled:
        batches = batches.by_speaker()
    return to_probabilities(compute_logits(model.network, batches).numpy(), model.temperature)


def identify_training(corpus: CorpusFeatures, fold: Fold, recipe: Recipe, seed: int) -> str:
    """Sixteen hex digits, equal for the same recordings, labels, features, division, recipe and seed.

    The same copies, too, where the recipe trains on copies, and the same speakers where it enrols them.
    """
    config = recipe.training
    content = {
        "recipe": recipe.to_dict(),
        "seed": seed,
        "features": corpus.parameters.fingerprint,
        "sides": [
            [corpus.describe(member, copies=config.copies, enrolled=config.enrolled > 0) for member in side]
            for side in (fold.train, fold.dev, fold.test)
        ],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def identify_checkpoint(corpus: CorpusFeatures, fold: Fold, recipe: Recipe, seed: int) -> str:
    """As `identify_training`, but the same for any number of epochs where the schedule does not follow from it.

    So a training can be resumed to go further.
    """
    return identify_training(corpus, fold, recipe.limit(1) if recipe.training.schedule == "plateau" else recipe, seed)


def describe_training(
    corpus: CorpusFeatures,
    fold: Fold,
    recipe: Recipe,
    trained: Trained,
    *,
    seed: int,
    device: torch.device,
    command: str,
) -> dict[str, Any]:
    """How a model came about, JSON-ready, for its folder.

    Args:
        corpus: the utterances that the fold divides.
        fold: who trained and who was looked at.
        recipe: how.
        trained: what came of it.
        seed: of weights, order and dropout.
        device: that did the work.
        command: that asked for it.
    """
    history = trained.result.history
    best = history[trained.result.best_epoch - 1]
    return {
        "recipe": recipe.to_dict(),
        "training_data": _describe_data(corpus, fold),
        "training": {
            "members": recipe.network.members,
            "epochs": len(history),
            "epochs_of_members": [len(each) for each in trained.histories],
            "best_epoch": best.epoch,
            "dev_uar": trained.dev.dev_uar,
            "dev_accuracy": trained.dev.dev_accuracy,
            "interrupted": trained.result.interrupted,
            "device": str(device),
            "seconds": round(sum(record.seconds for each in trained.histories for record in each), 3),
        },
        "seed": seed,
        "versions": collect_versions(),
        "command": command,
    }


def _describe_data(corpus: CorpusFeatures, fold: Fold) -> dict[str, Any]:
    described = {}
    used = [corpus.index.utterances[number] for number in (*fold.train, *fold.dev)]
    dev, train = ({corpus.index.utterances[number].speaker for number in side} for side in (fold.dev, fold.train))
    for name in sorted({utterance.corpus for utterance in used}):
        members = [utterance for utterance in used if utterance.corpus == name]
        known = CORPORA.get(name)
        described[name] = {
            "utterances": len(members),
            "speakers": len({u.speaker for u in members}),
            "dev_speakers": sorted((dev - train) & {u.speaker for u in members}),
            "sha256": hashlib.sha256("".join(sorted(u.sha256 for u in members)).encode()).hexdigest(),
            "licence": known.license if known else "",
            "citation": known.citation if known else "",
        }
    return described
