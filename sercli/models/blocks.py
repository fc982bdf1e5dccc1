"""Parts that networks are built from.

Once trained, all of them ignore what lies beyond each utterance's last frame; while training, batch normalisation
counts it in.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sercli.models.config import NetworkConfig

LEAST_VARIANCE = 1e-5


def frame_mask(n_frames: Tensor, total: int) -> Tensor:
    """Which frames belong to each utterance.

    Args:
        n_frames: frames of each utterance, in shape ``(batch,)``.
        total: frames of the padded batch.

    Returns:
        truth values in shape ``(batch, total)``.
    """
    return torch.arange(total, device=n_frames.device) < n_frames[:, None]


class Network(nn.Module):
    """Base of all networks: logits and, for explanation, the attention that led to them."""

    def attend(self, features: Tensor, n_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and attention of a batch.

        Args:
            features: normalized, shape ``(batch, n_features, n_frames)``, zero beyond each length.
            n_frames: frames of each segment, shape ``(batch,)``.

        Returns:
            Logits, shape ``(batch, n_labels)``, and the weight of each time step, shape ``(batch, n_steps)``.
        """
        raise NotImplementedError

    def forward(self, features: Tensor, n_frames: Tensor) -> Tensor:
        """Logits of a batch, shape ``(batch, n_labels)``; arguments as for `attend`."""
        return self.attend(features, n_frames)[0]


class ResidualBlock(nn.Module):
    """Two convolutions over time with batch normalisation, GELU and dropout, and a skip connection, then pooling.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        kernel_size: of both convolutions, in frames; odd.
        dropout: share of channels that training drops between the convolutions.
        pool: frames that the maximum is taken over; 1 leaves the resolution.
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
        # The last, partial group of frames is kept; what pads it never wins, since it is the lowest.
        hidden = hidden.masked_fill(~mask, -torch.inf)
        pooled = nn.functional.max_pool1d(hidden, self.pool, ceil_mode=True)
        lengths = (n_frames + self.pool - 1).div(self.pool, rounding_mode="floor")
        return pooled.masked_fill(~frame_mask(lengths, pooled.shape[2])[:, None], 0.0), lengths


class BidirectionalLSTM(nn.Module):
    """An LSTM in both directions over utterances of differing lengths.

    Two of one direction each, of which the second reads every utterance from its own end: unlike packed sequences,
    whole batches go through the fused kernels of the CPU, which train nearly three times as fast.

    Args:
        inputs: size of each frame.
        size: of the state in each direction; the output has twice as many.
    """

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.ahead = nn.LSTM(inputs, size, batch_first=True)
        self.back = nn.LSTM(inputs, size, batch_first=True)

    def forward(self, frames: Tensor, n_frames: Tensor) -> Tensor:
        """Maps ``(batch, n_frames, inputs)`` to ``(batch, n_frames, 2 * size)``, zero beyond each length."""
        total = frames.shape[1]
        mask = frame_mask(n_frames, total)
        steps = torch.arange(total, device=frames.device)
        # What lies beyond an utterance stays there, so that it is read last in both directions.
        order = torch.where(mask, n_frames[:, None] - 1 - steps, steps)[:, :, None]
        ahead, _ = self.ahead(frames)
        back, _ = self.back(_take(frames, order))
        return torch.cat([ahead, _take(back, order)], dim=2) * mask[:, :, None]


def _take(frames: Tensor, order: Tensor) -> Tensor:
    return frames.gather(1, order.expand(-1, -1, frames.shape[2]))


class AttentionPooling(nn.Module):
    """Additive attention over time (Bahdanau, Cho & Bengio 2015), with one learned query.

    Args:
        inputs: size of each frame.
        size: of the hidden layer that scores the frames.
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
        """Weighted mean and standard deviation, ``(batch, 2 * inputs)``, and the weights.

        Attentive statistics pooling (Okabe, Koshinaka & Shinoda 2018).
        """
        weights = self._weigh(frames, n_frames)
        mean = (weights * frames).sum(dim=1)
        variance = (weights * (frames - mean[:, None]).square()).sum(dim=1)
        # Far from zero, where the derivative of the root has no bound.
        return torch.cat([mean, variance.clamp(min=LEAST_VARIANCE).sqrt()], dim=1), weights[:, :, 0]

    def _weigh(self, frames: Tensor, n_frames: Tensor) -> Tensor:
        scores = self.score(torch.tanh(self.hidden(frames))).squeeze(2)
        scores = scores.masked_fill(~frame_mask(n_frames, frames.shape[1]), -torch.inf)
        weights: Tensor = scores.softmax(dim=1)[:, :, None]
        return weights


def build_head(inputs: int, config: NetworkConfig, n_labels: int) -> nn.Sequential:
    """Layer normalization and dense layers: from ``(batch, inputs)`` to the logits, ``(batch, n_labels)``."""
    return nn.Sequential(
        nn.LayerNorm(inputs),
        nn.Linear(inputs, config.dense_size),
        nn.GELU(),
        nn.Dropout(config.dense_dropout),
        nn.Linear(config.dense_size, n_labels),
    )


class Ensemble(nn.Module):
    """Networks that answer together: the mean of their logits.

    Args:
        members: which all map features ``(batch, n_features, n_frames)`` and lengths ``(batch,)`` to logits.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, features: Tensor, n_frames: Tensor) -> Tensor:
        """Mean logits in shape ``(batch, n_labels)``."""
        return torch.stack([member(features, n_frames) for member in self.members]).mean(dim=0)
