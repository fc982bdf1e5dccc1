"""Networks by name; quick to import."""

import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from sercli.models.config import NetworkConfig

NETWORKS: Mapping[str, tuple[str, Mapping[str, int]]] = {
    "crnn": ("sercli.models.crnn:ConvolutionalRecurrentNetwork", {}),
    "compact": ("sercli.models.crnn:ConvolutionalRecurrentNetwork", {"frame_stride": 2}),
    "paper": ("sercli.models.paper:PaperNetwork", {}),
    "cnn": ("sercli.models.paper:PaperNetwork", {"recurrence": False, "attention": False}),
    "lstm": ("sercli.models.paper:PaperNetwork", {"convolution": False, "attention": False}),
    "cnn-lstm": ("sercli.models.paper:PaperNetwork", {"attention": False}),
}
"""Module and class of each network, and further arguments of its constructor."""


def build_network(config: "NetworkConfig", n_features: int, n_labels: int) -> "nn.Module":
    """Builds a network with fresh weights from torch's global generator.

    Every network maps features ``(batch, n_features, n_frames)`` and lengths ``(batch,)`` to logits
    ``(batch, n_labels)``.
    """
    if config.members > 1:
        from sercli.models.blocks import Ensemble

        single = replace(config, members=1)
        return Ensemble([build_network(single, n_features, n_labels) for _ in range(config.members)])
    path, arguments = NETWORKS[config.name]
    network: nn.Module = pkgutil.resolve_name(path)(config, n_features, n_labels, **arguments)
    return network
