"""The network of Poongodai et al. 2025, and its ablations.

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
    frame_mask,
    join_activations,
    mean_activation,
)
from sercli.models.config import NetworkConfig


class PaperNetwork(Network):
    """Convolutions with skip connections, BiLSTM, attention and dense layers; each of the first three can be left out.

    Args:
        config: Layer sizes.
        n_features: Rows of the feature matrix.
        n_labels: Number of logits.
        convolution: Whether to use convolutional blocks.
        recurrence: Whether to use a BiLSTM.
        attention: Whether to use attention; otherwise the mean over time.
    """

    def __init__(
        self,
        config: NetworkConfig,
        n_features: int,
        n_labels: int,
        *,
        convolution: bool = True,
        recurrence: bool = True,
        attention: bool = True,
    ) -> None:
        super().__init__()
        widths = [n_features, *config.channels] if convolution else [n_features]
        self.blocks = nn.ModuleList(
            ResidualBlock(inputs, outputs, kernel_size=config.kernel_size, dropout=config.dropout, pool=config.pool)
            for inputs, outputs in itertools.pairwise(widths)
        )
        self.recurrence = BidirectionalLSTM(widths[-1], config.lstm_size) if recurrence else None
        size = 2 * config.lstm_size if recurrence else widths[-1]
        self.attention = AttentionPooling(size, config.attention_size) if attention else None
        self.head = build_head(size, config, n_labels)

    def attend(self, features: Tensor, n_frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Computes logits, attention and embedding; an attention step spans ``pool ** len(blocks)`` frames."""
        activations = [] if len(self.blocks) else [mean_activation(features, n_frames)]
        for block in self.blocks:
            features, n_frames = block(features, n_frames)
            activations.append(mean_activation(features, n_frames))
        states = features.transpose(1, 2)
        if self.recurrence is not None:
            states = self.recurrence(states, n_frames)
        if self.attention is not None:
            pooled, weights = self.attention(states, n_frames)
        else:
            weights = frame_mask(n_frames, states.shape[1]) / n_frames[:, None]
            pooled = (states * weights[:, :, None]).sum(dim=1)
        return self.head(pooled), weights, join_activations(activations)
