"""One training from data to calibrated network, with its checkpoint, for train and evaluate alike."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from sercli.metrics import Labels, Probabilities
from sercli.models.networks import build_network
from sercli.models.normaliser import Normaliser
from sercli.splits import Fold
from sercli.training.calibration import fit_temperature, to_probabilities
from sercli.training.checkpoint import load_checkpoint, save_checkpoint
from sercli.training.data import CorpusFeatures
from sercli.training.loop import EpochRecord, TrainingResult, compute_logits, fit
from sercli.training.recipes import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained network and what goes with it.

    Attributes:
        network: with the weights of its best epoch.
        normaliser: fitted on the training utterances.
        temperature: fitted on the development utterances.
        result: how the training went.
        seconds: that it took, this time.
    """

    network: nn.Module
    normaliser: Normaliser
    temperature: float
    result: TrainingResult
    seconds: float


def train_fold(
    corpus: CorpusFeatures,
    fold: Fold,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    resume: bool = False,
    on_epoch: Callable[[EpochRecord], None] = lambda _: None,
) -> Trained:
    """Trains one network on a fold's training side, watched on its development side.

    Args:
        corpus: the utterances that the fold divides.
        fold: who trains and who is looked at; its test side is not touched.
        recipe: how.
        seed: of weights, order and dropout.
        device: to work on.
        checkpoint: file to keep the state in after each epoch.
        resume: go on from that file if it is there.
        on_epoch: called after each epoch, when its checkpoint is safe.

    Raises:
        ModelError: if the checkpoint is damaged or of another training.
    """
    began = time.monotonic()
    normaliser = corpus.fit_normaliser(fold.train)
    train = corpus.batches(fold.train, normaliser, copies=recipe.training.copies, device=device)
    dev = corpus.batches(fold.dev, normaliser, device=device)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_network(recipe.network, len(normaliser.mean)).to(device)
    identity = identify_training(corpus, fold, recipe, seed)
    state = load_checkpoint(checkpoint, identity) if resume and checkpoint and checkpoint.exists() else None

    def keep(record: EpochRecord, state_now: Callable[..., object]) -> None:
        if checkpoint:
            save_checkpoint(checkpoint, state_now(), identity)  # type: ignore[arg-type]
        on_epoch(record)

    result = fit(network, train, dev, recipe.training, seed=seed, resume=state, on_epoch=keep)
    temperature = fit_temperature(compute_logits(network, dev).numpy(), dev.truth.cpu().numpy())
    return Trained(
        network=network,
        normaliser=normaliser,
        temperature=temperature,
        result=result,
        seconds=time.monotonic() - began,
    )


def score_members(
    corpus: CorpusFeatures, members: tuple[int, ...], trained: Trained, device: torch.device
) -> tuple[Labels, Probabilities]:
    """Truth and calibrated probabilities, in shapes ``(n,)`` and ``(n, 8)``, of utterances without copies."""
    batches = corpus.batches(members, trained.normaliser, device=device)
    logits = compute_logits(trained.network, batches).numpy()
    truth: Labels = batches.truth.cpu().numpy()
    return truth, to_probabilities(logits, trained.temperature)


def identify_training(corpus: CorpusFeatures, fold: Fold, recipe: Recipe, seed: int) -> str:
    """Sixteen hex digits that are equal for the same recordings, labels, copies, features, division, recipe and seed.

    The greatest number of epochs is left out, so that a training can be resumed to go further.
    """
    training = {**recipe.training.to_dict(), "max_epochs": None}
    content = {
        "recipe": {**recipe.to_dict(), "training": training},
        "seed": seed,
        "features": corpus.parameters.fingerprint,
        "sides": [[corpus.describe(member) for member in side] for side in (fold.train, fold.dev, fold.test)],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
