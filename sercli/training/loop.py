"""Training a network, one epoch after another, so that a killed run goes on exactly where it was.

Where epochs are compared, it is by the UAR of the development utterances. Their loss is no guide here: with few
training speakers it starts to rise after some two epochs, since wrong answers grow more certain, while recall goes
on rising for ten more; the certainty is put right by the temperature afterwards.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from sercli.errors import CheckpointError, ModelError
from sercli.metrics import Labels, accuracy, unweighted_average_recall
from sercli.training.augmentation import SpectralAugmentation, smooth
from sercli.training.checkpoint import Checkpoint, Weights
from sercli.training.data import Batches
from sercli.training.optimiser import Optimiser
from sercli.training.recipes import TrainConfig

CYCLE_RISE = 0.2  # share of the one-cycle schedule in which the learning rate rises
SCORE_BATCH = 64  # utterances per batch when nothing is learned


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """What an epoch brought.

    Attributes:
        epoch: from 1.
        train_loss: mean cross-entropy over training utterances and copies, while learning, in nats.
        train_accuracy: 0 to 1, likewise.
        dev_loss: mean cross-entropy over development utterances, in nats.
        dev_accuracy: 0 to 1.
        dev_uar: 0 to 1.
        learning_rate: of the epoch's last step.
        seconds: that it took.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    dev_loss: float
    dev_accuracy: float
    dev_uar: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What training leaves; the network then has the weights of the epoch that was kept.

    Attributes:
        best_epoch: the one whose weights were kept: with the highest development UAR, of equals that with the
            least loss, or the last one, as `TrainConfig.schedule` says.
        history: all epochs.
        interrupted: whether Ctrl-C ended it before its time.
    """

    best_epoch: int
    history: tuple[EpochRecord, ...]
    interrupted: bool


def fit(
    network: nn.Module,
    train: Batches,
    dev: Batches,
    config: TrainConfig,
    *,
    seed: int,
    resume: Checkpoint | None = None,
    augment: SpectralAugmentation | None = None,
    on_epoch: Callable[[EpochRecord, Callable[[], Checkpoint]], None] = lambda *_: None,
) -> TrainingResult:
    """Trains with cross-entropy, as long as the schedule says.

    The order of utterances, their augmentation and the dropout of an epoch depend on the seed and the epoch's
    number alone, so that a run resumed from a checkpoint ends with the weights of one that was never stopped.

    Args:
        network: on the device of the batches; trained in place.
        train: what it learns from.
        dev: what stops it.
        config: how.
        seed: of order and dropout.
        resume: where an earlier run was.
        augment: alters each batch that is learned from.
        on_epoch: called after each epoch with its record and a function that makes a checkpoint.

    Raises:
        CheckpointError: if the checkpoint belongs to another network.
        ModelError: if the loss is no longer a number.
    """
    optimiser = Optimiser(network, config)
    progress = _Progress(network, optimiser, config, resume)
    interrupted = False
    with torch.random.fork_rng():
        try:
            while not progress.done:
                epoch = _Epoch(number=progress.next_epoch, seed=seed, config=config, augment=augment)
                record = epoch.run(network, optimiser, train, dev)
                progress.note(record)
                on_epoch(record, progress.checkpoint)
        except KeyboardInterrupt:
            interrupted = True
            if not progress.history:
                raise
    network.load_state_dict(progress.best)
    return TrainingResult(best_epoch=progress.best_epoch, history=tuple(progress.history), interrupted=interrupted)


def find_best(history: Sequence[EpochRecord], schedule: str) -> EpochRecord:
    """The epoch that is kept: with the highest development UAR, of equals with the least loss, then the first.

    With the schedule ``one-cycle`` it is the last one.
    """
    if schedule == "one-cycle":
        return history[-1]
    return min(history, key=lambda record: (-record.dev_uar, record.dev_loss, record.epoch))


class _Progress:
    """Best weights so far, learning rate and history."""

    def __init__(
        self,
        network: nn.Module,
        optimiser: Optimiser,
        config: TrainConfig,
        resume: Checkpoint | None,
    ) -> None:
        self._network, self._optimiser, self._config = network, optimiser, config
        self.best = _copy(network)
        self.history: list[EpochRecord] = []
        if resume:
            self.history = _parse_history(resume)
            self.best = resume.best
            _restore(network, optimiser, resume)

    @property
    def next_epoch(self) -> int:
        return len(self.history) + 1

    @property
    def best_epoch(self) -> int:
        return find_best(self.history, self._config.schedule).epoch

    @property
    def done(self) -> bool:
        if not self.history:
            return False
        stalled = len(self.history) - self.best_epoch
        return len(self.history) >= self._config.max_epochs or stalled >= self._config.patience

    def note(self, record: EpochRecord) -> None:
        self.history.append(record)
        if self.best_epoch == record.epoch:
            self.best = _copy(self._network)
        elif (record.epoch - self.best_epoch) % self._config.plateau_patience == 0:
            self._optimiser.learning_rate *= self._config.plateau_factor

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            weights=_copy(self._network),
            best=self.best,
            optimiser=self._optimiser.state(),
            learning_rate=self._optimiser.learning_rate,
            history=tuple(asdict(record) for record in self.history),
        )


def _parse_history(checkpoint: Checkpoint) -> list[EpochRecord]:
    try:
        return [EpochRecord(**record) for record in checkpoint.history]
    except TypeError as reason:
        msg = f"the checkpoint's history cannot be read ({reason}); train with --restart"
        raise CheckpointError(msg) from None


def _copy(network: nn.Module) -> Weights:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _restore(network: nn.Module, optimiser: Optimiser, checkpoint: Checkpoint) -> None:
    optimiser.restore(checkpoint.optimiser)
    optimiser.learning_rate = checkpoint.learning_rate
    try:
        for weights in (checkpoint.best, checkpoint.weights):
            network.load_state_dict(weights)
    except RuntimeError:
        msg = "the checkpoint is of another network or recipe; train with --restart"
        raise CheckpointError(msg) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Epoch:
    """One pass over the training utterances."""

    number: int
    seed: int
    config: TrainConfig
    augment: SpectralAugmentation | None

    def run(self, network: nn.Module, optimiser: Optimiser, train: Batches, dev: Batches) -> EpochRecord:
        began = time.monotonic()
        torch.manual_seed(_mix(self.seed, self.number))
        generator = torch.Generator().manual_seed(_mix(self.seed, self.number))
        network.train()
        batches = train.shuffled(self.config.batch_size, generator)
        steps = train.count_batches(self.config.batch_size)
        loss_sum, correct, seen = 0.0, 0, 0
        for step, (features, n_frames, truth) in enumerate(batches):
            self._set_learning_rate(optimiser, step / steps)
            network.zero_grad()
            targets = smooth(truth, self.config.label_smoothing)
            if self.augment:
                features, n_frames, targets = self.augment(features, n_frames, targets, generator)
            with autocast(features.device):
                logits = network(features, n_frames)
            loss = nn.functional.cross_entropy(logits.float(), targets)
            loss.backward()  # type: ignore[no-untyped-call]
            if self.config.max_gradient:
                nn.utils.clip_grad_norm_(network.parameters(), self.config.max_gradient)
            optimiser.step()
            loss_sum += float(loss.detach()) * len(truth)
            correct += int((logits.argmax(dim=1) == truth).sum())
            seen += len(truth)
        if not np.isfinite(loss_sum):
            msg = f"the training loss is no longer a number in epoch {self.number}: features or learning rate are off"
            raise ModelError(msg)
        return replace(
            score_dev(network, dev),
            epoch=self.number,
            train_loss=loss_sum / seen,
            train_accuracy=correct / seen,
            learning_rate=optimiser.learning_rate,
            seconds=time.monotonic() - began,
        )

    def _set_learning_rate(self, optimiser: Optimiser, share: float) -> None:
        if self.config.schedule != "one-cycle":
            return
        share_done = (self.number - 1 + share) / self.config.max_epochs
        optimiser.learning_rate = one_cycle(share_done) * self.config.learning_rate


def one_cycle(share: float) -> float:
    """Learning rate at a point of the training, as a share of the highest: cosines up and down.

    The constants are those of `torch.optim.lr_scheduler.OneCycleLR`, after Smith & Topin 2019, "Super-Convergence",
    but for the shorter rise.

    Args:
        share: of the training that is done, 0 to 1.
    """
    rise, start, end = CYCLE_RISE, 1 / 25, 1 / 250_000
    low, done = (start, share / rise) if share < rise else (end, 1 - (share - rise) / (1 - rise))
    return low + (1 - low) * (1 - math.cos(math.pi * done)) / 2


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 for matrices and convolutions where the hardware multiplies it, else single precision.

    That is CUDA's tensor cores and Intel's AMX, with which an epoch takes three quarters of the time.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda" or _cpu_multiplies(device))


def _cpu_multiplies(device: torch.device) -> bool:
    """Whether the device is a CPU with matrix units for bfloat16; of older torch, which cannot tell, it is denied."""
    capabilities: Callable[[], dict[str, object]] = getattr(torch.cpu, "get_capabilities", dict)
    return device.type == "cpu" and bool(capabilities().get("amx_bf16", False))


def score_dev(network: nn.Module, dev: Batches) -> EpochRecord:
    """A record with the development scores filled in."""
    logits = compute_logits(network, dev)
    truth: Labels = dev.truth.cpu().numpy()
    prediction: Labels = logits.argmax(dim=1).numpy()
    return EpochRecord(
        epoch=0,
        train_loss=0.0,
        train_accuracy=0.0,
        dev_loss=float(nn.functional.cross_entropy(logits, dev.truth.cpu())),
        dev_accuracy=accuracy(truth, prediction),
        dev_uar=unweighted_average_recall(truth, prediction),
        learning_rate=0.0,
        seconds=0.0,
    )


@torch.inference_mode()
def compute_logits(network: nn.Module, batches: Batches) -> Tensor:
    """Logits of every utterance, on the CPU, in shape ``(n, 8)``, in the order of the utterances."""
    network.eval()
    order: list[int] = []
    found: list[Tensor] = []
    for numbers, features, n_frames in batches.in_order(SCORE_BATCH):
        order += numbers
        found.append(network(features, n_frames).float().cpu())
    logits = torch.cat(found)
    return logits[torch.tensor(order).argsort()]


def _mix(seed: int, epoch: int) -> int:
    """A seed for one epoch; 63 bits, as torch takes them."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)
