"""Training loop; an interrupted training resumes exactly where it stopped.

Epochs are ranked by development UAR, not loss: with few training speakers the loss rises after about two epochs, as
wrong answers grow more confident, while recall improves for ten more. Temperature scaling corrects the confidence
afterwards.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sercli.errors import CheckpointError, ModelError
from sercli.metrics import Labels, accuracy, unweighted_average_recall
from sercli.training.augmentation import SpectralAugmentation, smooth_labels
from sercli.training.checkpoint import Checkpoint, Weights
from sercli.training.data import Batches
from sercli.training.optimizer import Optimizer
from sercli.training.recipes import TeacherConfig, TrainConfig

CYCLE_RISE = 0.2  # fraction of the one-cycle schedule with a rising learning rate
EXCLUDED = -1e4  # logit of a label excluded from a softmax
SCORE_BATCH = 64  # segments per batch when scoring


@dataclass(frozen=True, slots=True, kw_only=True)
class DevScores:
    """Scores of development segments, or of whole utterances.

    Attributes:
        loss: Mean cross-entropy (nats).
        accuracy: Accuracy, 0 to 1.
        uar: Unweighted average recall, 0 to 1.
    """

    loss: float
    accuracy: float
    uar: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """Metrics of one epoch.

    Attributes:
        epoch: Number of the epoch, from 1.
        train_loss: Mean cross-entropy during training, over segments and copies (nats).
        train_accuracy: Accuracy during training, 0 to 1.
        dev_loss: Mean cross-entropy of the development segments after the epoch (nats).
        dev_accuracy: Accuracy of the development segments, 0 to 1.
        dev_uar: Unweighted average recall of the development segments, 0 to 1.
        learning_rate: Learning rate of the last step.
        seconds: Duration of the epoch (s).
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
class Teacher:
    """Teacher network for distillation.

    Attributes:
        network: Trained network in evaluation mode, on the device of the batches.
        config: Distillation temperature and weight.
    """

    network: nn.Module
    config: TeacherConfig

    def blend(self, loss: Tensor, logits: Tensor, features: Tensor, n_frames: Tensor, allowed: Tensor) -> Tensor:
        """Adds the distillation loss: cross-entropy with the teacher's probabilities on the same batch.

        Args:
            loss: Loss from the labels.
            logits: Logits of the student, shape ``(batch, n_labels)``.
            features: Features of the batch, as the student saw them.
            n_frames: Frames of each utterance, shape ``(batch,)``.
            allowed: Mask of both softmaxes, as in `masked_cross_entropy`.
        """
        temperature = self.config.temperature
        with torch.no_grad(), autocast(features.device):
            taught = self.network(features, n_frames)
        soft = _mask(taught.float() / temperature, allowed).softmax(dim=1)
        # Squared, so that the gradient does not shrink with the temperature (Hinton, Vinyals & Dean 2015).
        distance = masked_cross_entropy(logits / temperature, soft, allowed) * temperature**2
        return loss.lerp(distance, self.config.weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """Result of training one network; the network has the weights of `best_epoch`.

    Attributes:
        best_epoch: Epoch whose weights were kept; see `find_best`.
        history: Metrics of all epochs.
        interrupted: Whether Ctrl-C ended the training early.
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
    teacher: Teacher | None = None,
    on_epoch: Callable[[EpochRecord, Callable[[], Checkpoint]], None] = lambda *_: None,
) -> FitResult:
    """Trains a network with cross-entropy.

    Order, augmentation and dropout of an epoch depend only on the seed and its number, so that a resumed training ends
    with the same weights as an uninterrupted one.

    Args:
        network: Network on the device of the batches; trained in place.
        train: Training utterances.
        dev: Development utterances.
        config: Schedule, learning rates and early stopping.
        seed: Seed of order, augmentation and dropout.
        resume: Checkpoint to resume from.
        augment: Augmentation of training batches.
        teacher: Teacher for distillation.
        on_epoch: Called after each epoch with its metrics and a function that makes a checkpoint.

    Raises:
        CheckpointError: If the checkpoint belongs to another network.
        ModelError: If the training diverges.
    """
    run = _Run(network, train, dev, config, seed=seed, augment=augment, teacher=teacher)
    if resume:
        run.restore(resume)
    interrupted = False
    with torch.random.fork_rng():
        try:
            while not run.done:
                on_epoch(run.train_epoch(), run.make_checkpoint)
        except KeyboardInterrupt:
            interrupted = True
            if not run.history:
                raise
    network.load_state_dict(run.best)
    return FitResult(best_epoch=run.best_epoch, history=tuple(run.history), interrupted=interrupted)


def find_best(history: Sequence[EpochRecord], schedule: str) -> EpochRecord:
    """Returns the epoch to keep: the last one for ``one-cycle``, else the one with the highest development UAR.

    Ties are broken by the lower development loss, then by the earlier epoch.
    """
    if schedule == "one-cycle":
        return history[-1]
    return min(history, key=lambda record: (-record.dev_uar, record.dev_loss, record.epoch))


class _Run:
    """Training of one network: its optimizer, and history and best weights so far."""

    def __init__(
        self,
        network: nn.Module,
        train: Batches,
        dev: Batches,
        config: TrainConfig,
        *,
        seed: int,
        augment: SpectralAugmentation | None,
        teacher: Teacher | None,
    ) -> None:
        self._network, self._train, self._dev, self._config = network, train, dev, config
        self._seed, self._augment, self._teacher = seed, augment, teacher
        self._optimizer = Optimizer(network, config)
        self.history: list[EpochRecord] = []
        self.best = _copy(network)

    @property
    def best_epoch(self) -> int:
        return find_best(self.history, self._config.schedule).epoch

    @property
    def done(self) -> bool:
        if not self.history:
            return False
        stalled = len(self.history) - self.best_epoch
        return len(self.history) >= self._config.max_epochs or stalled >= self._config.patience

    def restore(self, checkpoint: Checkpoint) -> None:
        try:
            self.history = [EpochRecord(**record) for record in checkpoint.history]
        except TypeError as reason:
            msg = f"cannot resume from this checkpoint: its history is damaged ({reason}); train with --restart"
            raise CheckpointError(msg) from None
        self.best = checkpoint.best
        self._optimizer.restore(checkpoint.optimizer)
        self._optimizer.learning_rate = checkpoint.learning_rate
        try:
            for weights in (checkpoint.best, checkpoint.weights):
                self._network.load_state_dict(weights)
        except RuntimeError:
            msg = "cannot resume from this checkpoint: it is of another network or recipe; train with --restart"
            raise CheckpointError(msg) from None

    def make_checkpoint(self) -> Checkpoint:
        return Checkpoint(
            weights=_copy(self._network),
            best=self.best,
            optimizer=self._optimizer.state(),
            learning_rate=self._optimizer.learning_rate,
            history=tuple(asdict(record) for record in self.history),
        )

    def train_epoch(self) -> EpochRecord:
        """Trains and scores the network, and keeps its weights if they are the best."""
        start, number = time.monotonic(), len(self.history) + 1
        epoch_seed = _seed_epoch(self._seed, number)
        torch.manual_seed(epoch_seed)
        train_loss, train_accuracy = self._train_batches(number, torch.Generator().manual_seed(epoch_seed))
        scores = score_logits(compute_logits(self._network, self._dev).numpy(), self._dev.truth.cpu().numpy())
        # Weights are saved in half precision.
        finite = all(bool(parameter.half().isfinite().all()) for parameter in self._network.parameters())
        if not (finite and np.isfinite((train_loss, scores.loss)).all()):
            msg = f"the training diverged in epoch {number}: check the features, or lower training.learning_rate"
            raise ModelError(msg)
        record = EpochRecord(
            epoch=number,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            dev_loss=scores.loss,
            dev_accuracy=scores.accuracy,
            dev_uar=scores.uar,
            learning_rate=self._optimizer.learning_rate,
            seconds=time.monotonic() - start,
        )
        self.history.append(record)
        if self.best_epoch == number:
            self.best = _copy(self._network)
        elif (number - self.best_epoch) % self._config.plateau_patience == 0:
            self._optimizer.learning_rate *= self._config.plateau_factor
        return record

    def _train_batches(self, number: int, generator: torch.Generator) -> tuple[float, float]:
        """Trains on all batches; returns the mean loss and the accuracy."""
        network, optimizer, config = self._network, self._optimizer, self._config
        network.train()
        steps = self._train.count_batches(config.batch_size)
        losses: list[Tensor] = []  # sums, on the device, so that steps do not wait for each other
        correct: list[Tensor] = []
        count = 0
        for step, (features, n_frames, truth, allowed) in enumerate(self._train.shuffled(config.batch_size, generator)):
            if config.schedule == "one-cycle":
                optimizer.learning_rate = config.learning_rate * one_cycle(
                    (number - 1 + step / steps) / config.max_epochs
                )
            network.zero_grad()
            allowed = allowed if config.masked else torch.ones_like(allowed)
            # Both labels, because mixup combines two utterances.
            targets = torch.cat([smooth_labels(truth, config.label_smoothing, allowed), allowed.float()], dim=1)
            if self._augment:
                features, n_frames, targets = self._augment(features, n_frames, targets, generator)
            with autocast(features.device):
                logits = network(features, n_frames).float()
            targets, allowed = targets.chunk(2, dim=1)
            loss = masked_cross_entropy(logits, targets, allowed)
            if self._teacher:
                loss = self._teacher.blend(loss, logits, features, n_frames, allowed)
            loss.backward()  # type: ignore[no-untyped-call]
            if config.max_gradient:
                nn.utils.clip_grad_norm_(network.parameters(), config.max_gradient)
            optimizer.step()
            losses.append(loss.detach() * len(truth))
            correct.append((logits.argmax(dim=1) == truth).sum())
            count += len(truth)
        return float(torch.stack(losses).sum()) / count, int(torch.stack(correct).sum()) / count


def _copy(network: nn.Module) -> Weights:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def masked_cross_entropy(logits: Tensor, targets: Tensor, allowed: Tensor) -> Tensor:
    """Computes the mean cross-entropy, with each softmax restricted to the allowed labels.

    Args:
        logits: Logits, shape ``(batch, n_labels)``.
        targets: Target probabilities, shape ``(batch, n_labels)``; zero for labels that are not allowed.
        allowed: Mask, shape ``(batch, n_labels)``; greater than zero for allowed labels.
    """
    return nn.functional.cross_entropy(_mask(logits, allowed), targets)


def _mask(logits: Tensor, allowed: Tensor) -> Tensor:
    # Not minus infinity, which times a target of zero would be NaN.
    return logits.masked_fill(allowed <= 0, EXCLUDED)


def one_cycle(progress: float) -> float:
    """Computes the learning rate of the one-cycle schedule relative to its peak: a cosine up, then a cosine down.

    Constants as in `torch.optim.lr_scheduler.OneCycleLR`, after Smith & Topin 2019, "Super-Convergence", with a shorter
    rise.

    Args:
        progress: Progress of the training, 0 to 1.
    """
    rise, start, end = CYCLE_RISE, 1 / 25, 1 / 250_000
    low, height = (start, progress / rise) if progress < rise else (end, 1 - (progress - rise) / (1 - rise))
    return low + (1 - low) * (1 - math.cos(math.pi * height)) / 2


def autocast(device: torch.device) -> torch.autocast:
    """Returns a context for bfloat16 if the hardware supports it (CUDA, AMX, AVX-512), else for single precision.

    With bfloat16 an epoch takes three quarters of the time.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda" or _has_bfloat16(device))


def _has_bfloat16(device: torch.device) -> bool:
    """Whether the device is a CPU that multiplies in bfloat16; False for old versions of torch, which cannot tell."""
    capabilities: Callable[[], dict[str, object]] = getattr(torch.cpu, "get_capabilities", dict)
    return device.type == "cpu" and any(capabilities().get(name) for name in ("amx_bf16", "avx512_bf16"))


def score_logits(logits: npt.NDArray[np.floating], truth: Labels) -> DevScores:
    """Scores logits of shape ``(n, n_labels)`` against true label indices, shape ``(n,)``."""
    prediction: Labels = logits.argmax(axis=1)
    loss = nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(truth))
    return DevScores(
        loss=float(loss), accuracy=accuracy(truth, prediction), uar=unweighted_average_recall(truth, prediction)
    )


@torch.inference_mode()
def compute_logits(network: nn.Module, batches: Batches) -> Tensor:
    """Computes the logits of all segments, in order, on the CPU, shape ``(n, n_labels)``."""
    network.eval()
    order: list[int] = []
    logits: list[Tensor] = []
    for numbers, features, n_frames in batches.in_order(SCORE_BATCH):
        order += numbers
        logits.append(network(features, n_frames).float().cpu())
    return torch.cat(logits)[torch.tensor(order).argsort()]


def _seed_epoch(seed: int, epoch: int) -> int:
    """Derives the seed of an epoch; 63 bits, as torch requires."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)
