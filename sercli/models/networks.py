"""Registry of networks."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import nn

from sercli.config import look_up
from sercli.models.blocks import Ensemble
from sercli.models.config import NetworkConfig
from sercli.models.crnn import ConvolutionalRecurrentNetwork
from sercli.models.paper import PaperNetwork

NETWORKS: dict[str, Callable[[NetworkConfig, int, int], nn.Module]] = {
    "crnn": ConvolutionalRecurrentNetwork,
    "compact": partial(ConvolutionalRecurrentNetwork, frame_stride=2),
    "paper": PaperNetwork,
    "cnn": partial(PaperNetwork, recurrence=False, attention=False),
    "lstm": partial(PaperNetwork, convolution=False, attention=False),
    "cnn-lstm": partial(PaperNetwork, attention=False),
}


def build_network(config: NetworkConfig, n_features: int, n_labels: int) -> nn.Module:
    """Builds a network with fresh weights from torch's global generator.

    Every network maps features ``(batch, n_features, n_frames)`` and lengths ``(batch,)`` to logits
    ``(batch, n_labels)``.

    Raises:
        UsageError: If there is no network of that name.
    """
    make = look_up("network", config.name, NETWORKS)
    if config.members > 1:
        single = replace(config, members=1)
        return Ensemble([build_network(single, n_features, n_labels) for _ in range(config.members)])
    return make(config, n_features, n_labels)
