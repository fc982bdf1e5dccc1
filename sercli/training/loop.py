"""Training a network, one epoch after another, so that a killed run goes on exactly where it was.

Epochs are compared by the UAR of the development utterances. Their loss is no guide here: with few training
speakers it starts to rise after some two epochs, since wrong answers grow more certain, while recall goes on
rising for ten more; the certainty is put right by the temperature afterwards.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from sercli.errors import ModelError
from sercli.metrics import Labels, accuracy, unweighted_average_recall
from sercli.training.checkpoint import Checkpoint, Weights
from sercli.training.data import Batches
from sercli.training.recipes import TrainConfig

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
        learning_rate: that the epoch was trained with.
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
    """What training leaves; the network then has the weights of the best epoch.

    Attributes:
        best_epoch: the one with the highest development UAR; of equals, that with the least loss.
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
    on_epoch: Callable[[EpochRecord, Callable[[], Checkpoint]], None] = lambda *_: None,
) -> TrainingResult:
    """Trains with Adam and cross-entropy until the development UAR stops rising.

    The order of utterances and the dropout of an epoch depend on the seed and the epoch's number alone, so
    that a run resumed from a checkpoint ends with the weights of one that was never stopped.

    Args:
        network: on the device of the batches; trained in place.
        train: what it learns from.
        dev: what stops it.
        config: how.
        seed: of order and dropout.
        resume: where an earlier run was.
        on_epoch: called after each epoch with its record and a function that makes a checkpoint.

    Raises:
        ModelError: if the checkpoint belongs to another network, or the loss is no longer a number.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    progress = _Progress(network, optimiser, config, resume)
    interrupted = False
    with torch.random.fork_rng():
        try:
            while not progress.done:
                record = _run_epoch(network, optimiser, train, dev, config, seed, progress.next_epoch)
                progress.note(record)
                on_epoch(record, progress.checkpoint)
        except KeyboardInterrupt:
            interrupted = True
            if not progress.history:
                raise
    network.load_state_dict(progress.best)
    return TrainingResult(best_epoch=progress.best_epoch, history=tuple(progress.history), interrupted=interrupted)


def find_best(history: Sequence[EpochRecord]) -> EpochRecord:
    """The epoch with the highest development UAR; of equals that with the least loss, then the first."""
    return min(history, key=lambda record: (-record.dev_uar, record.dev_loss, record.epoch))


class _Progress:
    """Best weights so far, learning rate and history."""

    def __init__(
        self,
        network: nn.Module,
        optimiser: torch.optim.Adam,
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
        return find_best(self.history).epoch

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
            for group in self._optimiser.param_groups:
                group["lr"] *= self._config.plateau_factor

    def checkpoint(self) -> Checkpoint:
        names = [name for name, _ in self._network.named_parameters()]
        state = self._optimiser.state_dict()["state"]
        return Checkpoint(
            weights=_copy(self._network),
            best=self.best,
            optimiser={
                f"{names[number]}.{key}": torch.as_tensor(value).detach().clone()
                for number, entries in state.items()
                for key, value in entries.items()
            },
            learning_rate=float(self._optimiser.param_groups[0]["lr"]),
            history=tuple(asdict(record) for record in self.history),
        )


def _parse_history(checkpoint: Checkpoint) -> list[EpochRecord]:
    try:
        return [EpochRecord(**record) for record in checkpoint.history]
    except TypeError as reason:
        msg = f"the checkpoint's history cannot be read ({reason}); train without --resume"
        raise ModelError(msg) from None


def _copy(network: nn.Module) -> Weights:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _restore(network: nn.Module, optimiser: torch.optim.Adam, checkpoint: Checkpoint) -> None:
    names = [name for name, _ in network.named_parameters()]
    entries: dict[int, dict[str, Tensor]] = {}
    for name, tensor in checkpoint.optimiser.items():
        parameter, _, key = name.rpartition(".")
        if parameter not in names:
            msg = f"the checkpoint is of another network: it has {parameter!r}; train without --resume"
            raise ModelError(msg)
        entries.setdefault(names.index(parameter), {})[key] = tensor
    try:
        for weights in (checkpoint.best, checkpoint.weights):
            network.load_state_dict(weights)
    except RuntimeError:
        msg = "the checkpoint is of another network or recipe; train without --resume"
        raise ModelError(msg) from None
    state = optimiser.state_dict()
    state["state"] = entries
    state["param_groups"][0]["lr"] = checkpoint.learning_rate
    optimiser.load_state_dict(state)


def _run_epoch(
    network: nn.Module,
    optimiser: torch.optim.Adam,
    train: Batches,
    dev: Batches,
    config: TrainConfig,
    seed: int,
    epoch: int,
) -> EpochRecord:
    began = time.monotonic()
    learning_rate = float(optimiser.param_groups[0]["lr"])
    torch.manual_seed(_mix(seed, epoch))
    generator = torch.Generator().manual_seed(_mix(seed, epoch))
    network.train()
    loss_sum, correct, seen = 0.0, 0, 0
    for features, n_frames, truth in train.shuffled(config.batch_size, generator):
        optimiser.zero_grad(set_to_none=True)
        logits = network(features, n_frames)
        loss = nn.functional.cross_entropy(logits, truth)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        loss_sum += float(loss.detach()) * len(truth)
        correct += int((logits.argmax(dim=1) == truth).sum())
        seen += len(truth)
    if not np.isfinite(loss_sum):
        msg = f"the training loss is no longer a number in epoch {epoch}: the features or the learning rate are off"
        raise ModelError(msg)
    record = score_dev(network, dev)
    return replace(
        record,
        epoch=epoch,
        train_loss=loss_sum / seen,
        train_accuracy=correct / seen,
        learning_rate=learning_rate,
        seconds=time.monotonic() - began,
    )


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
