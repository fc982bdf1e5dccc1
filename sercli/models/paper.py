"""The network of Poongodai et al. 2025.

"Speech Emotion Recognition using Convolutional Neural Networks with Attention Mechanisms": convolutions with batch
normalization, GELU, pooling, dropout and skip connections, a bidirectional LSTM, attention over time, layer
normalization and dense layers. The paper names the layers; the sizes are ours.
"""

import itertools

from torch import Tensor, nn

from sercli.models.blocks import (
    AttentionPooling,
    BidirectionalLSTM,
    Network,
    ResidualBlock,
    build_head,
    join_activations,
    mean_activation,
)
from sercli.models.config import NetworkConfig


class PaperNetwork(Network):
    """Convolutions with skip connections, BiLSTM, attention and dense layers.

    Args:
        config: Layer sizes.
        n_features: Rows of the feature matrix.
        n_labels: Number of logits.
    """

    def __init__(self, config: NetworkConfig, n_features: int, n_labels: int) -> None:
        super().__init__()
        widths = [n_features, *config.channels]
        self.blocks = nn.ModuleList(
            ResidualBlock(inputs, outputs, kernel_size=config.kernel_size, dropout=config.dropout, pool=config.pool)
            for inputs, outputs in itertools.pairwise(widths)
        )
        self.recurrence = BidirectionalLSTM(widths[-1], config.lstm_size)
        self.attention = AttentionPooling(2 * config.lstm_size, config.attention_size)
        self.head = build_head(2 * config.lstm_size, config, n_labels)

    def attend(self, features: Tensor, n_frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Computes logits, attention and embedding; an attention step spans ``pool ** len(channels)`` frames."""
        activations = []
        for block in self.blocks:
            features, n_frames = block(features, n_frames)
            activations.append(mean_activation(features, n_frames))
        states = self.recurrence(features.transpose(1, 2), n_frames)
        pooled, weights = self.attention(states, n_frames)
        return self.head(pooled), weights, join_activations(activations)
