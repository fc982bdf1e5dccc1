"""Ablations of the paper's network: convolution only, recurrence only, or both without attention."""

import itertools

from torch import Tensor, nn

from sercli.models.blocks import (
    BidirectionalLSTM,
    Network,
    ResidualBlock,
    build_head,
    frame_mask,
    join_activations,
    mean_activation,
)
from sercli.models.config import NetworkConfig


class PlainNetwork(Network):
    """Convolutional blocks, a BiLSTM, or both in this order; then the mean over time and dense layers.

    Args:
        config: Layer sizes.
        n_features: Rows of the feature matrix.
        n_labels: Number of logits.
        convolution: Whether to use convolutional blocks.
        recurrence: Whether to use a BiLSTM.
    """

    def __init__(
        self, config: NetworkConfig, n_features: int, n_labels: int, *, convolution: bool, recurrence: bool
    ) -> None:
        super().__init__()
        widths = [n_features, *config.channels] if convolution else [n_features]
        self.blocks = nn.ModuleList(
            ResidualBlock(inputs, outputs, kernel_size=config.kernel_size, dropout=config.dropout, pool=config.pool)
            for inputs, outputs in itertools.pairwise(widths)
        )
        self.recurrence = BidirectionalLSTM(widths[-1], config.lstm_size) if recurrence else None
        size = 2 * config.lstm_size if recurrence else widths[-1]
        self.head = build_head(size, config, n_labels)

    def attend(self, features: Tensor, n_frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Computes logits and embedding; all steps have equal weights, since there is no attention."""
        activations = [] if len(self.blocks) else [mean_activation(features, n_frames)]
        for block in self.blocks:
            features, n_frames = block(features, n_frames)
            activations.append(mean_activation(features, n_frames))
        states = features.transpose(1, 2)
        if self.recurrence is not None:
            states = self.recurrence(states, n_frames)
        weights = frame_mask(n_frames, states.shape[1]) / n_frames[:, None]
        return self.head((states * weights[:, :, None]).sum(dim=1)), weights, join_activations(activations)
