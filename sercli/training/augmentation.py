"""Augmentation of batches of log-mel spectrograms, on the network's device.

Simulates other playing speeds, vocal tract lengths, microphones, rooms, noise and telephones on the power of the mel
bands. No audio is decoded or stored again, and the augmentation differs from epoch to epoch.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sercli.audio.degradation import TELEPHONE_RATE
from sercli.errors import UsageError
from sercli.features.filters import mel_frequencies
from sercli.features.frontend import AMIN, TOP_DB, FeatureConfig
from sercli.models.blocks import frame_mask
from sercli.models.normalizer import Normalizer
from sercli.training.recipes import AugmentConfig

CROP_LENGTH = (1.0, 3.0)  # seconds
MIN_FRAMES = 8  # shortest utterance after a change of speed
EQUALIZER_POINTS = 5  # knots of the random frequency response of microphone and room
EQUALIZER_DB = 4.0  # std of the gain at each knot
REVERBERATION_TIME = (0.2, 1.0)  # seconds in which the sound decays by 60 dB
DIRECT_TO_REVERBERANT = (-3.0, 10.0)  # dB
NOISE_SHARE = 0.7  # share of degraded utterances with noise
TELEPHONE_SHARE = 0.7  # share of degraded utterances through a telephone, independent of the noise
TELEPHONE_NYQUIST = TELEPHONE_RATE / 2  # Hz
UPPER_CUTOFF = (3_000.0, 3_900.0)  # Hz; half of the telephones use TELEPHONE_NYQUIST instead
LOWER_CUTOFF = (80.0, 350.0)  # Hz; half of the telephones have none
UPPER_ROLLOFF, LOWER_ROLLOFF = 200.0, 18.0  # dB per octave: a resampling filter, and an analog line
NOISE_SNR = (8.0, 35.0)  # dB, relative to the utterance's 80th percentile of frame power
# Exponent of the frequency in the noise's power per hertz: 0 is white, -1 pink, -2 brown.
NOISE_SLOPE = (-1.5, 0.2)
BABBLE_VOICES = 5  # utterances that make up the babble
CODEC_SNR = (30.0, 40.0)  # dB; G.711 has about 37 at any level (ITU-T G.712)


class SpectralAugmentation:
    """Augments batches of normalized log-mel spectrograms.

    Args:
        config: Strength of each augmentation.
        features: Parameters of the front end; only log-mel is supported.
        normalizer: Normalization of the batches.
        device: Device of the batches.

    Raises:
        UsageError: If the features are anything but log-mel.
    """

    def __init__(self, config: AugmentConfig, features: FeatureConfig, normalizer: Normalizer, device: torch.device):
        if features.names != ("logmel",):
            msg = f"augmentation works on logmel alone, found the features {', '.join(features.names)}"
            raise UsageError(msg)
        self.config = config
        self._mean = torch.from_numpy(normalizer.mean).to(device)[:, None]
        self._std = torch.from_numpy(normalizer.std).to(device)[:, None]
        edges = mel_frequencies(features.n_mels + 2, features.fmin, features.fmax)
        self._hertz = torch.tensor(edges[1:-1], dtype=torch.float32, device=device)
        # The front end's bands are normalized to unit area ("slaney"), so a band holds power per hertz. Adjacent bands
        # overlap by half, so half the base of each triangle is the bandwidth that it accounts for.
        self._bandwidths = torch.tensor((edges[2:] - edges[:-2]) / 2, dtype=torch.float32, device=device)
        self._hop = features.hop_length / features.sample_rate

    def __call__(
        self, batch: Tensor, n_frames: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Augments a batch.

        Args:
            batch: Normalized features in shape ``(batch, n_mels, n_frames)``, zero beyond each utterance's length.
            n_frames: Length of each utterance in shape ``(batch,)``.
            targets: Probability of each label in shape ``(batch, n_labels)``.
            generator: Random generator on the CPU.

        Returns:
            Augmented features, lengths and targets; the number of frames may differ from the input's.
        """
        config, draw = self.config, _Random(len(batch), generator, batch.device)
        if config.crop:
            batch, n_frames = self._crop(batch, n_frames, draw)
        if config.speed or config.warp:
            batch, n_frames = self._change_speed_and_pitch(batch, n_frames, draw)
        if config.degraded:
            degraded = draw.chosen(config.degraded).nonzero()[:, 0]
            if len(degraded):
                draw_degraded = _Random(len(degraded), generator, batch.device)
                batch, n_frames = self._degrade(batch, n_frames, degraded, draw_degraded)
        batch = _mask_bands_and_frames(batch, n_frames, config, draw)
        if config.mixup:
            batch, n_frames, targets = _mix(batch, n_frames, targets, config.mixup, draw)
        return batch, n_frames, targets

    def _crop(self, batch: Tensor, n_frames: Tensor, draw: "_Random") -> tuple[Tensor, Tensor]:
        """Reduces some utterances to a random piece."""
        longest = (draw.between(*CROP_LENGTH) / self._hop).long()
        lengths = torch.where(draw.chosen(self.config.crop).bool(), n_frames.minimum(longest), n_frames)
        start = (draw.between(0, 1) * (n_frames - lengths + 1)).long()
        steps = torch.arange(int(lengths.max()), device=batch.device)
        frames = (start[:, None] + steps).clamp(max=batch.shape[2] - 1)
        return _take_frames(batch, frames) * frame_mask(lengths, len(steps))[:, None], lengths

    def _change_speed_and_pitch(self, batch: Tensor, n_frames: Tensor, draw: "_Random") -> tuple[Tensor, Tensor]:
        """Interpolates linearly in time and in frequency, by independent factors.

        As products of matrices: on the CPU a quarter of the time of `torch.nn.functional.grid_sample`.
        """
        bands, total = batch.shape[1:]
        speed = draw.between(-self.config.speed, self.config.speed).exp()
        factor = draw.between(-self.config.warp, self.config.warp).exp()
        lengths = (n_frames / speed).round().clamp(min=MIN_FRAMES).long()
        steps = torch.arange(int(lengths.max()), device=batch.device)
        in_time = _interpolation(torch.minimum(steps * speed[:, None], n_frames[:, None] - 1.0), total)
        in_frequency = _interpolation(self._locate_bands(self._hertz * factor[:, None]), bands).transpose(1, 2)
        # Of decibels rather than normalized values, since each band has its own normalization.
        offset = (in_frequency @ self._mean - self._mean) / self._std
        scaled = in_frequency * self._std[:, 0] / self._std
        return torch.baddbmm(offset, scaled, batch @ in_time), lengths

    def _locate_bands(self, hertz: Tensor) -> Tensor:
        """Returns fractional band numbers of frequencies (Hz), clamped to the first and last band."""
        upper = torch.searchsorted(self._hertz, hertz).clamp(1, len(self._hertz) - 1)
        low, high = self._hertz[upper - 1], self._hertz[upper]
        return (upper - 1 + (hertz - low) / (high - low)).clamp(0, len(self._hertz) - 1)

    def _degrade(self, batch: Tensor, n_frames: Tensor, degraded: Tensor, draw: "_Random") -> tuple[Tensor, Tensor]:
        """Applies a frequency response, a room, noise and a telephone to some utterances, and keeps their mean power.

        Args:
            batch: Normalized features, shape ``(batch, n_mels, n_frames)``.
            n_frames: Frames of each utterance, shape ``(batch,)``.
            degraded: Indices of the degraded utterances, shape ``(n,)``.
            draw: Random values for these.

        Returns:
            The batch, and the lengths of its utterances; noisy ones may be longer than before.
        """
        clean = self._to_clean_power(batch[degraded], n_frames[degraded])
        lengths, mean = n_frames[degraded], self._total_power(clean).sum(dim=1) / n_frames[degraded]
        power = self._equalize(clean, draw)
        spoken = frame_mask(lengths, power.shape[2])
        speech = self._total_power(power).masked_fill(~spoken, torch.nan).nanquantile(0.8, dim=1)
        slope, snr = draw.between(*NOISE_SLOPE)[:, None], draw.between(*NOISE_SNR)
        noisy = draw.chosen(NOISE_SHARE)
        if self.config.noise_margin:
            power, lengths = self._add_margins(power, lengths, noisy, draw)
        if self.config.reverberation:
            power = self._reverberate(power, draw)
        noise = self._make_noise(power.shape, slope, draw)
        if self.config.babble:
            noise = self._replace_by_babble(noise, self._to_clean_power(batch, n_frames), n_frames, draw)
        power = power + noise * (speech * _to_power(-snr) * noisy)[:, None, None]
        mask = frame_mask(lengths, power.shape[2])[:, None]
        power = self._pass_telephone(power, draw) * mask
        changed = (self._total_power(power).sum(dim=1) / lengths).clamp(min=AMIN)
        decibels = 10 * (power * (mean / changed)[:, None, None]).clamp(min=AMIN).log10()
        top = decibels.masked_fill(~mask, -torch.inf).amax(dim=(1, 2), keepdim=True)
        altered = (decibels.maximum(top - TOP_DB) - self._mean) / self._std
        batch = F.pad(batch, (0, altered.shape[2] - batch.shape[2]))
        return batch.index_copy(0, degraded, altered), n_frames.index_copy(0, degraded, lengths)

    def _to_clean_power(self, batch: Tensor, n_frames: Tensor) -> Tensor:
        """Returns the power per hertz of normalized features, zero beyond each length."""
        return _to_power(batch * self._std + self._mean) * frame_mask(n_frames, batch.shape[2])[:, None]

    def _total_power(self, power: Tensor) -> Tensor:
        """Sums the power of each frame over all frequencies: ``(batch, n_mels, n_frames)`` to ``(batch, n_frames)``."""
        return torch.einsum("bmt,m->bt", power, self._bandwidths)

    def _equalize(self, power: Tensor, draw: "_Random") -> Tensor:
        knots = draw.normal(EQUALIZER_POINTS)[:, None] * EQUALIZER_DB
        curve = F.interpolate(knots, power.shape[1], mode="linear", align_corners=True)[:, 0]
        return power * _to_power(curve)[:, :, None]

    def _add_margins(self, power: Tensor, n_frames: Tensor, noisy: Tensor, draw: "_Random") -> tuple[Tensor, Tensor]:
        """Adds silence before and after noisy utterances, mostly little; returns the power and the new lengths.

        Noise keeps the ends of a recording from being trimmed, so that a network hears it alone.
        """
        longest = noisy * (self.config.noise_margin / self._hop)
        before, after = ((draw.between(0, 1).square() * longest).long() for _ in range(2))
        lengths = n_frames + before + after
        total = max(int(lengths.max()), power.shape[2])
        frames = torch.arange(total, device=power.device) - before[:, None]
        inside = (frames >= 0) & (frames < n_frames[:, None])
        return _take_frames(power, frames.clamp(0, power.shape[2] - 1)) * inside[:, None], lengths

    def _reverberate(self, power: Tensor, draw: "_Random") -> Tensor:
        """Adds exponentially decaying echoes, whose power fluctuates as that of noise."""
        seconds, ratio = draw.between(*REVERBERATION_TIME), draw.between(*DIRECT_TO_REVERBERANT)
        rooms = draw.chosen(self.config.reverberation).nonzero()[:, 0]
        decay = (-6 * math.log(10) * self._hop / seconds[rooms])[:, None, None]  # per frame, natural logarithm
        steps = torch.arange(power.shape[2], device=power.device)
        delay = (steps - steps[:, None]).clamp(min=0)
        echoes = (delay * decay).exp() * (delay > 0)
        # The echoes of a single frame sum to the reverberant power.
        share = (-decay).expm1() * _to_power(-ratio[rooms])[:, None, None]
        echo = power[rooms] @ (echoes * share)
        return power.index_add(0, rooms, echo * draw.exponential(echo.shape))

    def _make_noise(self, shape: torch.Size, slope: Tensor, draw: "_Random") -> Tensor:
        """Makes Gaussian noise whose power per hertz follows a power of the frequency, with a mean power of 1."""
        spectrum = (self._hertz / 500.0) ** slope
        spectrum = spectrum / (spectrum @ self._bandwidths)[:, None]
        return spectrum[:, :, None] * draw.exponential(shape)

    def _replace_by_babble(self, noise: Tensor, voices: Tensor, n_frames: Tensor, draw: "_Random") -> Tensor:
        """Replaces some of the noise by the sum of random utterances, each repeated from a random frame on.

        Args:
            noise: Shape ``(n, n_mels, total)``.
            voices: Power of all utterances, shape ``(batch, n_mels, n_frames)``.
            n_frames: Frames of all utterances, shape ``(batch,)``.
            draw: Random values.
        """
        chosen = draw.chosen(self.config.babble).nonzero()[:, 0]
        steps = torch.arange(noise.shape[2], device=noise.device)
        babble = noise.new_zeros(len(chosen), *noise.shape[1:])
        for _ in range(BABBLE_VOICES):
            speaker = (draw.between(0, 1) * len(voices)).long()[chosen]
            lengths = n_frames[speaker][:, None]
            start = (draw.between(0, 1)[chosen, None] * lengths).long()
            voice = _take_frames(voices[speaker], (start + steps) % lengths)
            babble += voice / self._total_power(voice).mean(dim=1).clamp(min=AMIN)[:, None, None]
        return noise.index_copy(0, chosen, babble / BABBLE_VOICES)

    def _pass_telephone(self, power: Tensor, draw: "_Random") -> Tensor:
        """Limits the band, and adds a codec's quantization noise, which is white and follows the level."""
        chosen, hertz = draw.chosen(TELEPHONE_SHARE), self._hertz
        high = draw.either(TELEPHONE_NYQUIST, draw.between(*UPPER_CUTOFF))[:, None]
        low = draw.either(1.0, draw.between(*LOWER_CUTOFF))[:, None]
        above, below = (hertz / high).log2().clamp(min=0), (low / hertz).log2().clamp(min=0)
        loss = (above * UPPER_ROLLOFF + below * LOWER_ROLLOFF) * chosen[:, None]
        power = power * _to_power(-loss)[:, :, None]
        passed = (hertz < TELEPHONE_NYQUIST).float()
        white = passed / (passed @ self._bandwidths)
        noise = self._total_power(power) * (_to_power(-draw.between(*CODEC_SNR)) * chosen)[:, None]
        return power + white[:, None] * noise[:, None]


def _take_frames(power: Tensor, frames: Tensor) -> Tensor:
    """Selects frames ``(batch, total)`` of ``(batch, n_mels, n_frames)``."""
    return power.gather(2, frames[:, None].expand(-1, power.shape[1], -1))


def _to_power(decibels: Tensor) -> Tensor:
    return (decibels * (math.log(10) / 10)).exp()  # several times faster than a power of 10


def _interpolation(positions: Tensor, size: int) -> Tensor:
    """Returns weights ``(batch, size, n)`` of linear interpolation at positions ``(batch, n)`` of `size` samples."""
    samples = torch.arange(size, device=positions.device)
    return (positions[:, None] - samples[:, None]).abs_().neg_().add_(1).clamp_(min=0)


def _mask_bands_and_frames(batch: Tensor, n_frames: Tensor, config: AugmentConfig, draw: "_Random") -> Tensor:
    """Applies SpecAugment with one mask of each kind; masks, and frames beyond each length, get the mean, 0."""
    bands, frames = batch.shape[1:]
    kept_frames = frame_mask(n_frames, frames)
    if config.time_mask:
        kept_frames = kept_frames & ~_draw_mask(config.time_mask, n_frames, frames, draw)
    batch = batch * kept_frames[:, None]
    if config.frequency_mask:
        batch.mul_(~_draw_mask(config.frequency_mask, torch.full_like(n_frames, bands), bands, draw)[:, :, None])
    return batch


def _draw_mask(widest: int, lengths: Tensor, total: int, draw: "_Random") -> Tensor:
    """Draws one run of True per utterance, at most a quarter of its length; shape ``(batch, total)``."""
    width = torch.minimum((draw.between(0, 1) * (widest + 1)).floor(), (lengths // 4).float())
    start = (draw.between(0, 1) * (lengths - width + 1)).floor()
    positions = torch.arange(total, device=lengths.device)
    return (positions >= start[:, None]) & (positions < (start + width)[:, None])


def _mix(
    batch: Tensor, n_frames: Tensor, targets: Tensor, parameter: float, draw: "_Random"
) -> tuple[Tensor, Tensor, Tensor]:
    share, partner = draw.beta(parameter), draw.permutation()
    share = max(share, 1 - share)
    mixed = share * batch + (1 - share) * batch[partner]
    return mixed, torch.maximum(n_frames, n_frames[partner]), share * targets + (1 - share) * targets[partner]


def smooth_labels(truth: Tensor, smoothing: float, allowed: Tensor) -> Tensor:
    """Computes one-hot targets with label smoothing (Szegedy et al. 2016) over the allowed labels.

    Args:
        truth: Label index of each utterance, shape ``(batch,)``.
        smoothing: Share of the target that is spread, 0 to 1.
        allowed: Labels to spread it over, bool, shape ``(batch, n_labels)``.
    """
    spread = allowed / allowed.sum(dim=1, keepdim=True)
    return F.one_hot(truth, allowed.shape[1]).float().lerp(spread, smoothing)


class _Random:
    """Random values for each utterance of a batch, drawn on the CPU except for the noise, which fills the batch."""

    def __init__(self, count: int, generator: torch.Generator, device: torch.device) -> None:
        self._count, self._generator, self._device = count, generator, device

    def between(self, low: float, high: float) -> Tensor:
        return (torch.rand(self._count, generator=self._generator) * (high - low) + low).to(self._device)

    def chosen(self, share: float) -> Tensor:
        """Draws 1 with this probability, else 0."""
        return (self.between(0, 1) < share).float()

    def either(self, first: float, second: Tensor) -> Tensor:
        """Draws one or the other with equal probability."""
        return torch.where(self.chosen(0.5).bool(), first, second)

    def normal(self, size: int) -> Tensor:
        return torch.randn(self._count, size, generator=self._generator).to(self._device)

    def exponential(self, shape: torch.Size) -> Tensor:
        """Draws exponential variates of mean 1, the distribution of the power of Gaussian noise."""
        on_device = torch.Generator(self._device).manual_seed(self._seed())
        # By the logarithm, which is four times faster than Tensor.exponential_ on the CPU.
        return -torch.rand(shape, generator=on_device, device=self._device).neg_().log1p_()

    def beta(self, parameter: float) -> float:
        return float(np.random.default_rng(self._seed()).beta(parameter, parameter))

    def _seed(self) -> int:
        return int(torch.randint(2**62, (1,), generator=self._generator))

    def permutation(self) -> Tensor:
        return torch.randperm(self._count, generator=self._generator).to(self._device)
