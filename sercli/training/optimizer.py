"""Optimizer: AdamW, optionally with Muon for weight matrices."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sercli.errors import CheckpointError
from sercli.training.checkpoint import Weights
from sercli.training.muon import Muon
from sercli.training.recipes import TrainConfig


class Optimizer:
    """AdamW (Loshchilov & Hutter 2019) for all parameters that Muon does not train.

    Muon (Jordan et al. 2024) trains weight matrices, and convolution kernels as matrices with one row per output
    channel, except those of the layers named `head`. Weight decay applies to all parameters except biases and
    normalization layers.

    Args:
        network: Network to train.
        config: Learning rates and weight decay.
    """

    def __init__(self, network: nn.Module, config: TrainConfig) -> None:
        named = dict(network.named_parameters())
        vectors = [name for name, parameter in named.items() if parameter.ndim <= 1]
        matrices = [name for name in named if name not in vectors]
        self._muon_names = [name for name in matrices if config.muon and not name.startswith("head.")]
        decayed = [name for name in matrices if name not in self._muon_names]
        self._adam_names = [*decayed, *vectors]
        self._adam = torch.optim.AdamW(
            [
                {"params": [named[name] for name in decayed], "weight_decay": config.weight_decay},
                {"params": [named[name] for name in vectors], "weight_decay": 0.0},
            ]
        )
        self._muon_factor = config.muon
        self._muon = (
            Muon([named[name] for name in self._muon_names], weight_decay=config.weight_decay)
            if self._muon_names
            else None
        )
        self.learning_rate = config.learning_rate

    @property
    def learning_rate(self) -> float:
        """Learning rate of AdamW; that of Muon is `TrainConfig.muon` times as high."""
        return float(self._adam.param_groups[0]["lr"])

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        for group in self._adam.param_groups:
            group["lr"] = rate
        for group in self._muon.param_groups if self._muon else ():
            group["lr"] = rate * self._muon_factor

    @torch.no_grad()
    def step(self) -> None:
        """Updates the parameters from their gradients."""
        self._adam.step()
        if self._muon:
            self._muon.step()

    def state(self) -> Weights:
        """Copies the state of both optimizers, with keys ``parameter.key``."""
        return {
            f"{names[number]}.{key}": torch.as_tensor(value).detach().clone()
            for optimizer, names in self._parts()
            for number, entries in optimizer.state_dict()["state"].items()
            for key, value in entries.items()
        }

    def restore(self, state: Weights) -> None:
        """Restores a state returned by `state`.

        Raises:
            CheckpointError: If it belongs to another network.
        """
        known = {*self._adam_names, *self._muon_names}
        entries: dict[str, dict[str, Tensor]] = {}
        for name, tensor in state.items():
            parameter, _, key = name.rpartition(".")
            if parameter not in known:
                msg = f"the checkpoint is of another network: unknown parameter {parameter!r}; train with --restart"
                raise CheckpointError(msg)
            entries.setdefault(parameter, {})[key] = tensor
        for optimizer, names in self._parts():
            numbered = {number: entries[name] for number, name in enumerate(names) if name in entries}
            optimizer.load_state_dict({**optimizer.state_dict(), "state": numbered})

    def _parts(self) -> Iterator[tuple[torch.optim.Optimizer, list[str]]]:
        yield self._adam, self._adam_names
        if self._muon:
            yield self._muon, self._muon_names
