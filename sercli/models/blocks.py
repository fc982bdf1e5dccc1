"""Building blocks of the networks.

In evaluation mode, none of them depends on padding after an utterance's last frame; in training mode, batch
normalization includes it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sercli.models.config import NetworkConfig

LEAST_VARIANCE = 1e-5
EMBEDDED_BLOCKS = 2


def frame_mask(n_frames: Tensor, total: int) -> Tensor:
    """Masks the frames that belong to each utterance.

    Args:
        n_frames: Frames of each utterance, shape ``(batch,)``.
        total: Frames of the padded batch.

    Returns:
        Bools in shape ``(batch, total)``.
    """
    return torch.arange(total, device=n_frames.device) < n_frames[:, None]


class Network(nn.Module):
    """Base of all networks: computes logits, and attention weights for explanation."""

    def attend(self, features: Tensor, n_frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Computes logits, attention and embedding of a batch.

        Args:
            features: Normalized features, shape ``(batch, n_features, n_frames)``, zero in the padding.
            n_frames: Frames of each segment, shape ``(batch,)``.

        Returns:
            Logits, shape ``(batch, n_labels)``, the weight of each time step, shape ``(batch, n_steps)``, and the mean
            activation of the channels of the first blocks, shape ``(batch, size)``; see `join_activations`.
        """
        raise NotImplementedError

    def forward(self, features: Tensor, n_frames: Tensor) -> Tensor:
        """Computes the logits of a batch, shape ``(batch, n_labels)``; arguments as for `attend`."""
        return self.attend(features, n_frames)[0]


def mean_activation(activations: Tensor, n_frames: Tensor) -> Tensor:
    """Averages over the frames of each segment, and over its bands if there are any, shape ``(batch, channels)``.

    Args:
        activations: Zero beyond each length, shape ``(batch, channels, n_frames)`` or ``(batch, channels, bands,
            n_frames)``.
        n_frames: Frames of each segment, shape ``(batch,)``.
    """
    bands = activations.shape[2] if activations.dim() == 4 else 1
    return activations.flatten(2).sum(dim=2) / (bands * n_frames[:, None])


def join_activations(activations: Sequence[Tensor]) -> Tensor:
    """Concatenates the mean activations of the first two blocks, which reflect the sound most and the emotion least."""
    return torch.cat(list(activations[:EMBEDDED_BLOCKS]), dim=1)


class ResidualBlock(nn.Module):
    """Two convolutions over time with batch normalization, GELU, dropout and a skip connection, then max pooling.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        kernel_size: Width of both convolutions (frames); odd.
        dropout: Dropout rate between the convolutions.
        pool: Pooling factor (frames); 1 keeps the resolution.
    """

    def __init__(self, inputs: int, outputs: int, *, kernel_size: int, dropout: float, pool: int) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.first = nn.Conv1d(inputs, outputs, kernel_size, padding=padding, bias=False)
        self.first_norm = nn.BatchNorm1d(outputs)
        self.second = nn.Conv1d(outputs, outputs, kernel_size, padding=padding, bias=False)
        self.second_norm = nn.BatchNorm1d(outputs)
        self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.activation = nn.GELU()
        self.dropout = nn.Dropout(dropout)
        self.pool = pool

    def forward(self, frames: Tensor, n_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Maps ``(batch, inputs, n_frames)`` to ``(batch, outputs, n_frames / pool)`` and the new lengths."""
        mask = frame_mask(n_frames, frames.shape[2])[:, None]
        hidden = self.dropout(self.activation(self.first_norm(self.first(frames)))) * mask
        hidden = self.activation(self.second_norm(self.second(hidden)) + self.skip(frames)) * mask
        if self.pool == 1:
            return hidden, n_frames
        # The last, partial group of frames is kept; its padding is the minimum, so it never wins.
        hidden = hidden.masked_fill(~mask, -torch.inf)
        pooled = nn.functional.max_pool1d(hidden, self.pool, ceil_mode=True)
        lengths = (n_frames + self.pool - 1).div(self.pool, rounding_mode="floor")
        return pooled.masked_fill(~frame_mask(lengths, pooled.shape[2])[:, None], 0.0), lengths


class BidirectionalLSTM(nn.Module):
    """Bidirectional LSTM over utterances of different lengths.

    Two unidirectional LSTMs; the second reads each utterance reversed. Unlike packed sequences, whole batches use the
    CPU's fused kernels, which train nearly three times as fast.

    Args:
        inputs: Size of each frame.
        size: State size in each direction; the output is twice as large.
    """

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.ahead = nn.LSTM(inputs, size, batch_first=True)
        self.back = nn.LSTM(inputs, size, batch_first=True)

    def forward(self, frames: Tensor, n_frames: Tensor) -> Tensor:
        """Maps ``(batch, n_frames, inputs)`` to ``(batch, n_frames, 2 * size)``, zero in the padding."""
        total = frames.shape[1]
        mask = frame_mask(n_frames, total)
        steps = torch.arange(total, device=frames.device)
        # Padding stays in place, so that it is read last in both directions.
        order = torch.where(mask, n_frames[:, None] - 1 - steps, steps)[:, :, None]
        ahead, _ = self.ahead(frames)
        back, _ = self.back(_take(frames, order))
        return torch.cat([ahead, _take(back, order)], dim=2) * mask[:, :, None]


def _take(frames: Tensor, order: Tensor) -> Tensor:
    return frames.gather(1, order.expand(-1, -1, frames.shape[2]))


class AttentionPooling(nn.Module):
    """Additive attention over time (Bahdanau, Cho & Bengio 2015), with one learned query.

    Args:
        inputs: Size of each frame.
        size: Size of the hidden layer that scores the frames.
    """

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, size)
        self.score = nn.Linear(size, 1, bias=False)

    def forward(self, frames: Tensor, n_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Maps ``(batch, n_frames, inputs)`` to the weighted mean over time, ``(batch, inputs)``, and the weights."""
        weights = self._weigh(frames, n_frames)
        return (weights * frames).sum(dim=1), weights[:, :, 0]

    def statistics(self, frames: Tensor, n_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Computes the weighted mean and std, ``(batch, 2 * inputs)``, and the weights.

        Attentive statistics pooling (Okabe, Koshinaka & Shinoda 2018).
        """
        weights = self._weigh(frames, n_frames)
        mean = (weights * frames).sum(dim=1)
        variance = (weights * (frames - mean[:, None]).square()).sum(dim=1)
        # Keep away from zero, where the derivative of the square root is unbounded.
        return torch.cat([mean, variance.clamp(min=LEAST_VARIANCE).sqrt()], dim=1), weights[:, :, 0]

    def _weigh(self, frames: Tensor, n_frames: Tensor) -> Tensor:
        scores = self.score(torch.tanh(self.hidden(frames))).squeeze(2)
        scores = scores.masked_fill(~frame_mask(n_frames, frames.shape[1]), -torch.inf)
        weights: Tensor = scores.softmax(dim=1)[:, :, None]
        return weights


def build_head(inputs: int, config: NetworkConfig, n_labels: int) -> nn.Sequential:
    """Builds layer normalization and dense layers, from ``(batch, inputs)`` to logits ``(batch, n_labels)``."""
    return nn.Sequential(
        nn.LayerNorm(inputs),
        nn.Linear(inputs, config.dense_size),
        nn.GELU(),
        nn.Dropout(config.dense_dropout),
        nn.Linear(config.dense_size, n_labels),
    )


class Ensemble(nn.Module):
    """Ensemble of networks: returns the mean of their logits.

    Args:
        members: Networks that map features ``(batch, n_features, n_frames)`` and lengths ``(batch,)`` to logits.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, features: Tensor, n_frames: Tensor) -> Tensor:
        """Computes the mean logits, shape ``(batch, n_labels)``."""
        return torch.stack([member(features, n_frames) for member in self.members]).mean(dim=0)
