"""Networks `crnn` and `compact` (recipe `default`): 2-D convolutions, BiLSTM with residual path, attentive statistics.

The structure follows Poongodai et al. 2025: convolution with skip connections, recurrence and attention. The changes
improve recognition of unseen speakers in published studies: convolutions over time and frequency that reduce the time
resolution by only 4 (`crnn`) or 8 (`compact`), a residual path around the recurrence (Krasnoproshin & Vashkevich 2026),
and the weighted std beside the weighted mean (Okabe, Koshinaka & Shinoda 2018, "Attentive Statistics Pooling").
"""

import itertools
import math

import torch
from torch import Tensor, nn

from sercli.models.blocks import (
    AttentionPooling,
    BidirectionalLSTM,
    Network,
    frame_mask,
    join_activations,
    mean_activation,
)
from sercli.models.config import NetworkConfig

STEM_STRIDE = (4, 4)  # bands and frames; each block then halves the bands


class SpectralBlock(nn.Module):
    """Two 3×3 convolutions with batch normalization, ReLU and dropout, and a skip connection.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        bands: Input bands.
        stride: Downsampling factors of bands and frames.
        dropout: Rate of channels dropped between the convolutions in training.
    """

    def __init__(self, inputs: int, outputs: int, *, bands: int, stride: tuple[int, int], dropout: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.pool = nn.AvgPool2d(stride, ceil_mode=True)
        self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.activation = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout2d(dropout)
        self.stride = stride
        self._has_whole_windows = bands % stride[0] == 0

    def forward(self, spectra: Tensor, mask: Tensor) -> Tensor:
        """Maps ``(batch, inputs, bands, n_frames)`` to fewer bands and frames, zero in the padding.

        Args:
            spectra: Input, zero in the padding; the number of frames is a multiple of the stride.
            mask: Valid frames after the stride, shape ``(batch, 1, 1, n_frames)``.
        """
        hidden = self.dropout(self.activation(self.first_norm(self.first(spectra)))) * mask
        added: Tensor = self.second_norm(self.second(hidden)) + self._skip(spectra)
        masked: Tensor = self.activation(added) * mask
        return masked

    def _skip(self, spectra: Tensor) -> Tensor:
        if self.training or not self._has_whole_windows:
            skipped: Tensor = self.skip(self.pool(spectra))
            return skipped
        # Mean and 1×1 convolution as one convolution, which takes ONNX Runtime half the time.
        kernel = (self.skip.get_parameter("0.weight") / math.prod(self.stride)).expand(-1, -1, *self.stride)
        normed: Tensor = self.skip[1](nn.functional.conv2d(spectra, kernel, stride=self.stride))
        return normed


class ConvolutionalRecurrentNetwork(Network):
    """Computes logits from a log-mel spectrogram.

    Args:
        config: Sizes. `NetworkConfig.kernel_size` is the width of the first convolution (frames),
            `NetworkConfig.dense_size` the frame size of the recurrence, half of `NetworkConfig.dropout` the dropout
            rate of the blocks; `NetworkConfig.pool` is not used.
        n_features: Bands of the spectrogram.
        n_labels: Number of logits.
        frame_stride: Number of frames that the second block merges.
    """

    def __init__(self, config: NetworkConfig, n_features: int, n_labels: int, *, frame_stride: int = 1) -> None:
        super().__init__()
        stages = [STEM_STRIDE, *((2, frame_stride if number == 1 else 1) for number in range(len(config.channels)))]
        self.strides = tuple(frames for _, frames in stages)
        widths = [config.channels[0], *config.channels]
        kernel, size = (2 * STEM_STRIDE[0] + 1, config.kernel_size), config.dense_size
        self.stem = nn.Sequential(
            nn.Conv2d(1, widths[0], kernel, stages[0], padding=(kernel[0] // 2, kernel[1] // 2), bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        self.blocks = nn.ModuleList()
        bands = math.ceil(n_features / stages[0][0])
        for (inputs, outputs), stride in zip(itertools.pairwise(widths), stages[1:], strict=True):
            self.blocks.append(SpectralBlock(inputs, outputs, bands=bands, stride=stride, dropout=config.dropout / 2))
            bands = math.ceil(bands / stride[0])
        self.project = nn.Sequential(
            nn.Linear(widths[-1] * bands, size), nn.LayerNorm(size), nn.GELU(), nn.Dropout(config.dropout)
        )
        self.recurrence = BidirectionalLSTM(size, config.lstm_size)
        self.join = nn.Linear(2 * config.lstm_size, size)
        self.norm = nn.Sequential(nn.LayerNorm(size), nn.Dropout(config.dropout))
        self.attention = AttentionPooling(size, config.attention_size)
        self.head = nn.Sequential(nn.Dropout(config.dense_dropout), nn.Linear(2 * size, n_labels))

    def attend(self, features: Tensor, n_frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Computes logits, attention and embedding; each attention step spans as many frames as the strides merge."""
        # Pad to whole groups of frames, so that an utterance's last group is the same alone and in a batch.
        padding = -features.shape[2] % math.prod(self.strides)
        spectra = nn.functional.pad(features, (0, padding))[:, None]
        if spectra.device.type != "mps":
            spectra = spectra.contiguous(memory_format=torch.channels_last)
        activations = []
        for stride, stage in zip(self.strides, [self.stem, *self.blocks], strict=True):
            n_frames = (n_frames + stride - 1).div(stride, rounding_mode="floor")
            mask = frame_mask(n_frames, spectra.shape[3] // stride)[:, None, None]
            spectra = stage(spectra) * mask if stage is self.stem else stage(spectra, mask)
            activations.append(mean_activation(spectra, n_frames))
        frames = self.project(spectra.permute(0, 3, 1, 2).flatten(2))
        # Single precision, because the recurrence accumulates at every step.
        with torch.autocast(features.device.type, enabled=False):
            frames = frames.float()
            frames = self.norm(frames + self.join(self.recurrence(frames, n_frames)))
            pooled, weights = self.attention.statistics(frames, n_frames)
            return self.head(pooled), weights, join_activations(activations[1:])
