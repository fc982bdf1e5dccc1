"""Augmentation of log-mel spectrograms in batches, on the device where the network is.

What a recording would be like if the speaker were quicker or had a shorter vocal tract, if it came through a
telephone, another microphone or noise: each is done to the power of the mel bands, so that nothing has to be
decoded, computed or stored again, and every epoch hears something new.
"""

from dataclasses import dataclass

import librosa
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sercli.audio.codecs import TELEPHONE_RATE
from sercli.config import Config
from sercli.errors import UsageError
from sercli.features.frontend import AMIN, TOP_DB, FeatureConfig
from sercli.labels import EMOTIONS
from sercli.models.blocks import frame_mask
from sercli.models.normalizer import Normalizer

SHORTEST = 8  # frames that are left of an utterance, however fast it is played
EQUALISER_POINTS = 5  # bends of the curve that stands for microphone and room
EQUALISER_DB = 4.0  # deviation of their gains
NARROW_SHARE = 0.7  # of the altered utterances are cut to the telephone's band, and as many get noise
NARROW_HIGH = (3_000.0, 3_900.0)  # Hz, where the band ends; or at half the telephone's sample rate
NARROW_LOW = (80.0, 350.0)  # Hz, where it begins; or nowhere
TELEPHONE_NYQUIST = TELEPHONE_RATE / 2  # Hz
HIGH_SLOPE, LOW_SLOPE = 200.0, 18.0  # dB per octave outside of the band: a resampler's, and a line's
NOISE_SNR = (8.0, 35.0)  # dB under the louder frames
# Power of the frequency that a band's noise goes with, beside its width, which grows with the frequency above 1 kHz: in
# a hertz from brownish (-1.5) to white below, and from pinkish (-0.5) to bluish (1.2) above. Codec noise likewise.
NOISE_SLOPE = (-1.5, 0.2)
CODEC_SNR = (30.0, 40.0)  # dB; G.711 has about 37 whatever the level (ITU-T G.712)


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig(Config):
    """How far training utterances are altered, anew in every epoch.

    Attributes:
        speed: range of the logarithm of the playing speed, either way.
        warp: range of the logarithm of the factor on all frequencies, either way (Jaitly & Hinton 2013, "VTLP").
        channel: share of the utterances that go through a made-up microphone; `NARROW_SHARE` of as many through a
            telephone and through noise.
        frequency_mask: bands blotted out, at most, and at most a quarter of them (Park et al. 2019, "SpecAugment").
        time_mask: frames blotted out, at most, and at most a quarter of the utterance (the same).
        mixup: parameter of the beta distribution that two utterances are mixed by; 0 for none (Zhang et al. 2018).
    """

    speed: float = 0.0
    warp: float = 0.0
    channel: float = 0.0
    frequency_mask: int = 0
    time_mask: int = 0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for name in ("speed", "warp"):
            self._require(condition=0 <= getattr(self, name) <= 1, name=name, expected="0 to 1")
        self._require(condition=0 <= self.channel <= 1, name="channel", expected="0 to 1")
        for name in ("frequency_mask", "time_mask", "mixup"):
            self._require(condition=getattr(self, name) >= 0, name=name, expected="0 or more")


class SpectralAugmentation:
    """Alters batches of normalised log-mel spectrograms.

    Utterances that are normalised by their speaker are altered as if the others' normalisation were theirs: in decibels
    that are off by what tells the speaker from the average, after the enrolment rather than before it.

    Args:
        config: what to do.
        features: what the front end computes; only log-mel.
        normalizer: of the features.
        device: of the batches.

    Raises:
        UsageError: if the features are not log-mel alone.
    """

    def __init__(self, config: AugmentConfig, features: FeatureConfig, normalizer: Normalizer, device: torch.device):
        if features.names != ("logmel",):
            msg = f"augmentation works on logmel alone, found the features {', '.join(features.names)}"
            raise UsageError(msg)
        self.config = config
        self._mean = torch.from_numpy(normalizer.mean).to(device)[:, None]
        self._deviation = torch.from_numpy(normalizer.std).to(device)[:, None]
        edges = librosa.mel_frequencies(features.n_mels + 2, fmin=features.fmin, fmax=features.fmax)
        self._hertz = torch.tensor(edges[1:-1], dtype=torch.float32, device=device)
        self._widths = torch.tensor(edges[2:] - edges[:-2], dtype=torch.float32, device=device)

    def __call__(
        self, batch: Tensor, n_frames: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Alters a batch.

        Args:
            batch: normalised, in shape ``(batch, n_mels, n_frames)``, zero beyond each length.
            n_frames: of each utterance, in shape ``(batch,)``.
            targets: probabilities of the emotions, in shape ``(batch, 8)``.
            generator: of the draws, on the CPU.

        Returns:
            all three anew; batch and lengths may be longer or shorter.
        """
        config, draw = self.config, _Draw(len(batch), generator, batch.device)
        if config.speed or config.warp or config.channel:
            decibels = batch * self._deviation + self._mean
            if config.speed or config.warp:
                decibels, n_frames = self._play(decibels, n_frames, draw)
            if config.channel:
                decibels = self._transmit(decibels, n_frames, draw)
            batch = (decibels - self._mean) / self._deviation
        batch = batch * frame_mask(n_frames, batch.shape[2])[:, None]
        batch = _blot_out(batch, n_frames, config, draw)
        if config.mixup:
            batch, n_frames, targets = _mix(batch, n_frames, targets, config.mixup, draw)
        return batch, n_frames, targets

    def _play(self, decibels: Tensor, n_frames: Tensor, draw: "_Draw") -> tuple[Tensor, Tensor]:
        """Another playing speed and other frequencies, drawn apart; bilinear in time and band."""
        count, bands, total = decibels.shape
        speed = draw.between(-self.config.speed, self.config.speed).exp()
        factor = draw.between(-self.config.warp, self.config.warp).exp()
        lengths = (n_frames / speed).round().clamp(min=SHORTEST).long()
        steps = torch.arange(int(lengths.max()), device=decibels.device)
        frames = torch.minimum(steps * speed[:, None], n_frames[:, None] - 1.0)
        sources = self._find_bands(self._hertz * factor[:, None])
        shape = (count, bands, len(steps))
        grid = torch.stack(
            [
                (frames / max(total - 1, 1) * 2 - 1)[:, None].expand(shape),
                (sources / max(bands - 1, 1) * 2 - 1)[:, :, None].expand(shape),
            ],
            dim=3,
        )
        played = F.grid_sample(decibels[:, None], grid, padding_mode="border", align_corners=True)
        return played[:, 0], lengths

    def _find_bands(self, hertz: Tensor) -> Tensor:
        """Where frequencies lie among the bands' centres, as positions that need not be whole."""
        upper = torch.searchsorted(self._hertz, hertz).clamp(1, len(self._hertz) - 1)
        low, high = self._hertz[upper - 1], self._hertz[upper]
        return (upper - 1 + (hertz - low) / (high - low)).clamp(0, len(self._hertz) - 1)

    def _transmit(self, decibels: Tensor, n_frames: Tensor, draw: "_Draw") -> Tensor:
        """Another microphone, noise, a telephone's band and codec; the level is put back afterwards."""
        share, hertz = self.config.channel, self._hertz
        mask = frame_mask(n_frames, decibels.shape[2])[:, None]
        power = (10 ** (decibels / 10)) * mask
        before = power.sum(dim=(1, 2))
        curve = F.interpolate(
            draw.normal(EQUALISER_POINTS)[:, None] * EQUALISER_DB, len(hertz), mode="linear", align_corners=True
        )[:, 0]
        power = power * _gain(curve * draw.chosen(share)[:, None])
        slope = draw.between(*NOISE_SLOPE)[:, None]
        spectrum = self._widths * (hertz / 500.0) ** slope
        loud = power.sum(dim=1).quantile(0.8, dim=1)
        level = loud * 10 ** (-draw.between(*NOISE_SNR) / 10) * draw.chosen(share * NARROW_SHARE)
        noise = (spectrum / spectrum.sum(dim=1, keepdim=True) * level[:, None])[:, :, None]
        power = power + noise * draw.exponential(power.shape)
        narrow = draw.chosen(share * NARROW_SHARE)
        high = draw.either(TELEPHONE_NYQUIST, draw.between(*NARROW_HIGH))[:, None]
        low = draw.either(1.0, draw.between(*NARROW_LOW))[:, None]
        beyond = (hertz / high).log2().clamp(min=0) * HIGH_SLOPE + (low / hertz).log2().clamp(min=0) * LOW_SLOPE
        power = power * _gain(-beyond * narrow[:, None])
        within = self._widths * (hertz < TELEPHONE_NYQUIST)
        codec = 10 ** (-draw.between(*CODEC_SNR) / 10) * narrow
        power = power + codec[:, None, None] * power.sum(dim=1, keepdim=True) * (within / within.sum())[:, None]
        power = power * (before / (power * mask).sum(dim=(1, 2)).clamp(min=AMIN))[:, None, None]
        altered = 10 * power.clamp(min=AMIN).log10()
        top = altered.masked_fill(~mask, -torch.inf).amax(dim=(1, 2), keepdim=True)
        return altered.maximum(top - TOP_DB)


def _gain(decibels: Tensor) -> Tensor:
    """Factors on power, in shape ``(batch, n_mels, 1)``, of gains in dB, in shape ``(batch, n_mels)``."""
    return (10 ** (decibels / 10))[:, :, None]


def _blot_out(batch: Tensor, n_frames: Tensor, config: AugmentConfig, draw: "_Draw") -> Tensor:
    for axis, widest, extent in ((1, config.frequency_mask, batch.shape[1]), (2, config.time_mask, n_frames)):
        if not widest:
            continue
        size = torch.as_tensor(extent, device=batch.device)
        width = torch.minimum((draw.between(0, 1) * (widest + 1)).floor(), (size // 4).float())
        start = (draw.between(0, 1) * (size - width + 1)).floor()
        places = torch.arange(batch.shape[axis], device=batch.device)
        blot = (places >= start[:, None]) & (places < (start + width)[:, None])
        batch = batch.masked_fill(blot[:, :, None] if axis == 1 else blot[:, None], 0.0)
    return batch


def _mix(
    batch: Tensor, n_frames: Tensor, targets: Tensor, parameter: float, draw: "_Draw"
) -> tuple[Tensor, Tensor, Tensor]:
    share, partner = draw.beta(parameter), draw.permutation()
    share = max(share, 1 - share)
    mixed = share * batch + (1 - share) * batch[partner]
    return mixed, torch.maximum(n_frames, n_frames[partner]), share * targets + (1 - share) * targets[partner]


def smooth(truth: Tensor, smoothing: float) -> Tensor:
    """Targets in shape ``(batch, 8)`` of emotions in shape ``(batch,)``, with label smoothing (Szegedy et al. 2016)."""
    return F.one_hot(truth, len(EMOTIONS)).float() * (1 - smoothing) + smoothing / len(EMOTIONS)


class _Draw:
    """Draws for each utterance of a batch; made on the CPU, but for noise, which is as large as the batch."""

    def __init__(self, count: int, generator: torch.Generator, device: torch.device) -> None:
        self._count, self._generator, self._device = count, generator, device

    def between(self, low: float, high: float) -> Tensor:
        return (torch.rand(self._count, generator=self._generator) * (high - low) + low).to(self._device)

    def chosen(self, share: float) -> Tensor:
        """1 for this share of the utterances, else 0."""
        return (self.between(0, 1) < share).float()

    def either(self, first: float, second: Tensor) -> Tensor:
        """One or the other, each for half of the utterances."""
        return torch.where(self.chosen(0.5).bool(), first, second)

    def normal(self, size: int) -> Tensor:
        return torch.randn(self._count, size, generator=self._generator).to(self._device)

    def exponential(self, shape: torch.Size) -> Tensor:
        """As the power of a band of Gaussian noise is distributed."""
        on_device = torch.Generator(self._device).manual_seed(self._seed())
        # By the logarithm: on the CPU four times faster than Tensor.exponential_.
        return -torch.rand(shape, generator=on_device, device=self._device).neg_().log1p_()

    def beta(self, parameter: float) -> float:
        return float(np.random.default_rng(self._seed()).beta(parameter, parameter))

    def _seed(self) -> int:
        return int(torch.randint(2**62, (1,), generator=self._generator))

    def permutation(self) -> Tensor:
        return torch.randperm(self._count, generator=self._generator).to(self._device)
