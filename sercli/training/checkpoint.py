"""Where a training is, in one file that appears whole: weights, best weights, optimiser, history."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from sercli.errors import CheckpointError
from sercli.files import one_line, write_by_rename

Weights = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """State of a training after an epoch.

    Attributes:
        weights: of the network now.
        best: of the network after its best epoch.
        optimiser: what it remembers, as ``parameter.key``.
        learning_rate: of the epoch to come.
        history: the epochs so far, as dicts of `sercli.training.loop.EpochRecord`.
    """

    weights: Weights
    best: Weights
    optimiser: Weights
    learning_rate: float
    history: tuple[dict[str, Any], ...]


def save_checkpoint(path: Path, checkpoint: Checkpoint, identity: str) -> None:
    """Writes a checkpoint by rename.

    Args:
        path: of the safetensors file.
        checkpoint: what to write.
        identity: names the training it belongs to; asked for again by `load_checkpoint`.
    """
    tensors = {
        f"{part}/{name}": tensor.contiguous().cpu()
        for part in ("weights", "best", "optimiser")
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
        CheckpointError: if it is damaged, or belongs to another training.
    """
    parts: dict[str, Weights] = {"weights": {}, "best": {}, "optimiser": {}}
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata()
            found = metadata["identity"]
            learning_rate = float.fromhex(metadata["learning_rate"])
            history = tuple(json.loads(metadata["history"]))
            for name in file.keys():  # noqa: SIM118 - no dict
                part, _, rest = name.partition("/")
                parts[part][rest] = file.get_tensor(name)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, OSError) as reason:
        msg = f"{path} cannot be read ({one_line(reason)}): train with --restart"
        raise CheckpointError(msg) from None
    if found != identity:
        msg = f"{path} belongs to another training: found {found}, expected {identity}; train with --restart"
        raise CheckpointError(msg)
    return Checkpoint(**parts, learning_rate=learning_rate, history=history)
