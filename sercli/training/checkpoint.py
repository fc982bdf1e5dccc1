"""Atomic training checkpoints: weights, best weights, optimizer state and history in one safetensors file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from sercli.errors import CheckpointError
from sercli.files import one_line, write_by_rename

CHECKPOINT_FILE = "checkpoint.safetensors"

Weights = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """State of a training run after an epoch.

    Attributes:
        weights: Weights of the network.
        best: Weights of the network after its best epoch.
        optimizer: State of the optimizer, with keys ``parameter.key``.
        learning_rate: Learning rate of the next epoch.
        history: Epochs so far, as dicts of `sercli.training.loop.EpochRecord`.
    """

    weights: Weights
    best: Weights
    optimizer: Weights
    learning_rate: float
    history: tuple[dict[str, Any], ...]


def save_checkpoint(path: Path, checkpoint: Checkpoint, identity: str) -> None:
    """Writes a checkpoint atomically.

    Args:
        path: safetensors file.
        checkpoint: State to write.
        identity: Identity of the training run; `load_checkpoint` must be given the same.
    """
    tensors = {
        f"{part}/{name}": tensor.contiguous().cpu()
        for part in ("weights", "best", "optimizer")
        for name, tensor in getattr(checkpoint, part).items()
    }
    metadata = {
        "identity": identity,
        "learning_rate": checkpoint.learning_rate.hex(),
        "history": json.dumps(checkpoint.history),
    }
    with write_by_rename(path, "wb") as stream:
        stream.write(safetensors.torch.save(tensors, metadata))


def load_checkpoint(path: Path, identity: str) -> Checkpoint:
    """Reads a checkpoint.

    Raises:
        CheckpointError: If it is damaged or belongs to another run.
    """
    parts: dict[str, Weights] = {"weights": {}, "best": {}, "optimizer": {}}
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata()
            actual = metadata["identity"]
            learning_rate = float.fromhex(metadata["learning_rate"])
            history = tuple(json.loads(metadata["history"]))
            for name in file.keys():  # noqa: SIM118 - not a dict
                part, _, rest = name.partition("/")
                parts[part][rest] = file.get_tensor(name)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, OSError) as reason:
        msg = f"cannot resume from {path}: it is damaged ({one_line(reason)}); train with --restart"
        raise CheckpointError(msg) from None
    if actual != identity:
        msg = (
            f"cannot resume from {path}: it is of a training run with other data or options; repeat the original "
            "command with --resume, or start over with --restart"
        )
        raise CheckpointError(msg)
    return Checkpoint(**parts, learning_rate=learning_rate, history=history)
