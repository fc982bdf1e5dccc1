"""The one front end: a batch of signals in, feature matrices out, everything from one spectrum.

Definitions are those of librosa 0.10 and later (McFee et al. 2015, "librosa: Audio and Music Signal Analysis
in Python"); the filter banks come from `librosa.filters`. Two parameters are fixed where librosa would guess
them from each signal: chroma takes the tuning as 0 (A4 = 440 Hz), and tonnetz is computed from this chroma
rather than from a constant-Q one, so that both need no spectrum of their own.
"""

import itertools
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy.fft import dct, rfft
from torch import Tensor, nn

from sercli.audio.signal import Signal
from sercli.config import FeatureConfig
from sercli.errors import UsageError

AMIN = 1e-10  # least power that is turned into dB, as in librosa.power_to_db
TOP_DB = 80.0  # dB under a signal's maximum at which its spectra are cut, as in librosa.power_to_db
CONTRAST_FMIN = 200.0  # Hz, upper edge of the lowest contrast band, as in librosa.feature.spectral_contrast
CONTRAST_BANDS = 6  # octaves above it
CONTRAST_QUANTILE = 0.02  # share of the bins of a band that make its peak and its valley
CEPSTRAL = frozenset({"logmel", "mfcc", "delta", "delta2"})
DERIVED = frozenset({"delta", "delta2"})
TONAL = frozenset({"chroma", "tonnetz"})
ZERO_CROSSING_FLOOR = 1e-10  # amplitudes up to this count as zero, as in librosa.zero_crossings


class FrontEnd(nn.Module):
    """Turns mono signals into the features that a configuration names.

    Args:
        config: what to compute; `FeatureConfig.sizes` tells the rows of the result.
    """

    _window: Tensor
    _mel: Tensor
    _cosines: Tensor
    _derivatives: Tensor
    _chroma: Tensor
    _tones: Tensor

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        rate, n_fft = config.sample_rate, config.n_fft
        self._keep("window", torch.hann_window(n_fft, periodic=True, dtype=torch.float64))
        # Only what is wanted: some of it takes long to load, and much memory.
        names = set(config.names)
        if names & CEPSTRAL:
            # Here, since processes that only score features do without it.
            import librosa.filters

            mel = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=config.n_mels, fmin=config.fmin, fmax=config.fmax)
            self._keep("mel", torch.from_numpy(mel))
            self._keep("cosines", _dct_matrix(config.n_mfcc, config.n_mels))
        if names & DERIVED:
            self._keep("derivatives", _edge_filters(config.delta_width))
        if names & TONAL:
            import librosa.filters

            chroma = librosa.filters.chroma(sr=rate, n_fft=n_fft, tuning=0.0, n_chroma=config.n_chroma)
            self._keep("chroma", torch.from_numpy(chroma.astype(np.float32)))
            self._keep("tones", _tonal_centroids(config.n_chroma))
        self._bands = _contrast_bands(rate, n_fft) if "contrast" in names else []

    def _keep(self, name: str, tensor: Tensor) -> None:
        self.register_buffer(f"_{name}", tensor, persistent=False)

    def count_frames(self, n_samples: int) -> int:
        """Frames of a signal of so many samples, as librosa counts them with centred frames."""
        return 1 + n_samples // self.config.hop_length

    def extract(self, signal: Signal) -> Signal:
        """Features of one signal in shape ``(n_samples,)``, as a matrix ``(n_features, n_frames)``.

        Raises:
            UsageError: if the signal has no samples.
        """
        features, _ = self([torch.from_numpy(np.ascontiguousarray(signal, dtype=np.float32))])
        matrix: Signal = features[0].cpu().numpy()
        return matrix

    @torch.inference_mode()
    def forward(self, signals: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Features of a batch of signals of any lengths; each gets what it would get alone.

        Args:
            signals: tensors in shape ``(n_samples,)`` at the configured sample rate.

        Returns:
            features in shape ``(batch, n_features, n_frames)``, zero beyond each signal's frames, and the
            number of frames of each signal, in shape ``(batch,)``.

        Raises:
            UsageError: if a signal has no samples.
        """
        lengths = [len(signal) for signal in signals]
        if not lengths or min(lengths) == 0:
            msg = "features of a signal without samples: expected at least one sample"
            raise UsageError(msg)
        device = self._window.device
        batch = nn.utils.rnn.pad_sequence([signal.to(device) for signal in signals], batch_first=True)
        frames = torch.tensor([self.count_frames(length) for length in lengths], device=device)
        mask = torch.arange(self.count_frames(max(lengths)), device=device) < frames[:, None]
        features = torch.cat(list(self._compute(batch, mask, frames, lengths)), dim=1)
        return features.masked_fill(~mask[:, None], 0.0), frames

    def _compute(self, batch: Tensor, mask: Tensor, frames: Tensor, lengths: list[int]) -> list[Tensor]:
        names, config = set(self.config.names), self.config
        found: dict[str, Tensor] = {}
        if names - {"rms", "zcr"}:
            power = self.power(batch)
            bins_first = power.transpose(1, 2)
            found |= self._cepstra(bins_first, mask, frames, names) | self._tones_of(bins_first, names)
            if "contrast" in names:
                found["contrast"] = self._contrast(power, mask)
        if "rms" in names:
            found["rms"] = self._rms(batch)
        if "zcr" in names:
            found["zcr"] = self._zero_crossings(batch, lengths)
        return [found[name] for name in config.names]

    def power(self, batch: Tensor) -> Tensor:
        """Power spectrum in shape ``(batch, n_frames, 1 + n_fft / 2)`` of frames centred over zero padding.

        The transform is in double precision, as librosa's is: quiet bins next to loud ones lie under the
        rounding noise of a single-precision one. On the CPU scipy's is several times faster than torch's.
        """
        half = self.config.n_fft // 2
        frames = F.pad(batch, (half, half)).unfold(1, self.config.n_fft, self.config.hop_length) * self._window
        spectrum = _transform_on_cpu(frames) if frames.device.type == "cpu" else torch.fft.rfft(frames)
        return (spectrum.real.square() + spectrum.imag.square()).float()

    def _cepstra(self, power: Tensor, mask: Tensor, frames: Tensor, names: set[str]) -> dict[str, Tensor]:
        if not names & CEPSTRAL:
            return {}
        logmel = _to_db(self._mel @ power, mask)
        if not (names - {"logmel"}) & CEPSTRAL:
            return {"logmel": logmel}
        mfcc = (self._cosines @ logmel.double()).float()
        found = {"logmel": logmel, "mfcc": mfcc}
        if names & DERIVED:
            found["delta"], found["delta2"] = self._derive(mfcc, frames)
        return found

    def _tones_of(self, power: Tensor, names: set[str]) -> dict[str, Tensor]:
        if not names & TONAL:
            return {}
        energy = self._chroma @ power
        chroma = _divide(energy, energy.amax(dim=1, keepdim=True))
        return {"chroma": chroma, "tonnetz": self._tones @ _divide(chroma, chroma.sum(dim=1, keepdim=True))}

    def _derive(self, features: Tensor, frames: Tensor) -> Tensor:
        """Savitzky-Golay derivatives of orders 1 and 2, as librosa.feature.delta with its mode "interp".

        A signal shorter than the filter, which librosa refuses, is lengthened by its last frame.

        Returns:
            tensor in shape ``(2, batch, rows, n_frames)``.
        """
        width, half, filters = self.config.delta_width, self.config.delta_width // 2, self._derivatives
        batch, rows, total = features.shape
        steps = torch.arange(max(total, width), device=features.device)
        held = features.gather(2, steps.minimum(frames[:, None] - 1)[:, None].expand(batch, rows, -1))
        derived = held.new_empty(batch, rows, 2, held.shape[2])
        derived[..., half : held.shape[2] - half] = (held.unfold(2, width, 1) @ filters[:, half].T).transpose(2, 3)
        # Both ends: the derivative of the polynomial fitted to the first, or last, `width` frames.
        head = held[:, :, :width] @ filters[:, :half].flatten(0, 1).T
        derived[..., :half] = head.view(batch, rows, 2, half)
        last = frames.clamp(min=width)[:, None] - width + torch.arange(width, device=features.device)
        end = held.gather(2, last[:, None].expand(batch, rows, -1))
        tail = (end @ filters[:, half + 1 :].flatten(0, 1).T).view(batch, rows, 2, half)
        derived.scatter_(3, last[:, None, None, half + 1 :].expand_as(tail), tail)
        return derived[..., :total].permute(2, 0, 1, 3)

    def _contrast(self, power: Tensor, mask: Tensor) -> Tensor:
        magnitude = power.sqrt()
        peaks, valleys = [], []
        for start, stop, count in self._bands:
            band = _sort_bins(magnitude[:, :, start:stop])
            peaks.append(band[:, :, -count:].mean(dim=2))
            valleys.append(band[:, :, :count].mean(dim=2))
        return _to_db(torch.stack(peaks, dim=1), mask) - _to_db(torch.stack(valleys, dim=1), mask)

    def _rms(self, batch: Tensor) -> Tensor:
        half, hop = self.config.n_fft // 2, self.config.hop_length
        energy = F.pad(batch.double().square(), (half, half)).unfold(1, self.config.n_fft, hop).mean(dim=2)
        return energy.sqrt().float()[:, None]

    def _zero_crossings(self, batch: Tensor, lengths: list[int]) -> Tensor:
        half, hop, n_fft = self.config.n_fft // 2, self.config.hop_length, self.config.n_fft
        negative = batch < -ZERO_CROSSING_FLOOR
        crossings = F.pad((negative[:, 1:] != negative[:, :-1]).to(torch.int32), (1, 0))
        for row, length in enumerate(lengths):
            crossings[row, length:] = 0
        summed = F.pad(crossings.cumsum(1), (half + 1, 0))
        summed = torch.cat([summed, summed[:, -1:].expand(-1, half)], dim=1)
        # A frame's first sample never counts, since it has no neighbour before it in the frame.
        count = summed[:, n_fft:] - summed[:, 1 : 1 - n_fft]
        return (count[:, ::hop].float() / n_fft)[:, None]


def _sort_bins(band: Tensor) -> Tensor:
    """Ascending along the last axis; on the CPU by numpy, whose vectorised sort is ten times torch's."""
    if band.device.type == "cpu":
        return torch.from_numpy(np.sort(band.numpy(), axis=2))
    return band.sort(dim=2).values


def _transform_on_cpu(frames: Tensor) -> Tensor:
    return torch.from_numpy(rfft(frames.numpy()))


@lru_cache(maxsize=4)
def get_front_end(config: FeatureConfig) -> FrontEnd:
    """The front end of a configuration, on the CPU; made once in each process."""
    return FrontEnd(config)


def _to_db(power: Tensor, mask: Tensor) -> Tensor:
    """librosa.power_to_db with ref 1: cut at `TOP_DB` under the maximum of each signal's own frames."""
    decibels = 10.0 * power.clamp(min=AMIN).log10()
    top = decibels.masked_fill(~mask[:, None], -torch.inf).amax(dim=(1, 2), keepdim=True)
    return decibels.maximum(top - TOP_DB)


def _divide(chroma: Tensor, size: Tensor) -> Tensor:
    """librosa.util.normalize: frames whose norm is next to nothing stay as they are."""
    return chroma / size.masked_fill(size < torch.finfo(chroma.dtype).tiny, 1.0)


def _dct_matrix(n_mfcc: int, n_mels: int) -> Tensor:
    """Orthonormal DCT-II, first `n_mfcc` rows, in shape ``(n_mfcc, n_mels)``; double, as sums of dB are large."""
    return torch.from_numpy(dct(np.eye(n_mels), axis=0, type=2, norm="ortho")[:n_mfcc])


def _edge_filters(width: int) -> Tensor:
    """Derivatives at each of `width` frames of the polynomial fitted to them, orders 1 and 2.

    Returns:
        tensor in shape ``(2, width, width)``: order, position, weight of each frame.
    """
    from scipy.signal import savgol_coeffs  # slow to import

    filters = [
        [savgol_coeffs(width, order, deriv=order, pos=position, use="dot") for position in range(width)]
        for order in (1, 2)
    ]
    return torch.tensor(np.asarray(filters), dtype=torch.float32)


def _tonal_centroids(n_chroma: int) -> Tensor:
    """Circles of fifths, minor and major thirds (Harte, Sandler & Gasser 2006), in shape ``(6, n_chroma)``."""
    pitches = np.linspace(0, 12, num=n_chroma, endpoint=False)
    scale = np.asarray([7.0 / 6, 7.0 / 6, 3.0 / 2, 3.0 / 2, 2.0 / 3, 2.0 / 3])
    angles = np.multiply.outer(scale, pitches)
    angles[::2] -= 0.5  # sine becomes cosine of the same angle
    radii = np.array([1.0, 1.0, 1.0, 1.0, 0.5, 0.5])
    return torch.from_numpy((radii[:, None] * np.cos(np.pi * angles)).astype(np.float32))


def _contrast_bands(sample_rate: int, n_fft: int) -> list[tuple[int, int, int]]:
    """First bin, bin after the last, and bins per peak and valley, of each octave band.

    The bounds follow librosa.feature.spectral_contrast: each band but the lowest takes one bin below its
    edge, each but the highest leaves out its last bin, the highest goes up to half the sample rate.
    """
    edges = np.concatenate([[0.0], CONTRAST_FMIN * 2.0 ** np.arange(CONTRAST_BANDS + 1)])
    if edges[-2] >= sample_rate / 2:
        msg = f"spectral contrast needs a sample rate over {2 * edges[-2]:.0f} Hz, found {sample_rate} Hz"
        raise UsageError(msg)
    frequencies = np.linspace(0, sample_rate / 2, 1 + n_fft // 2)
    bands = []
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = np.flatnonzero((frequencies >= low) & (frequencies <= high))
        start, stop = int(inside[0]), int(inside[-1]) + 1
        if number > 0:
            start -= 1
        if number == CONTRAST_BANDS:
            stop = len(frequencies)
        # librosa counts the quantile before it drops the last bin.
        count = int(max(np.rint(CONTRAST_QUANTILE * (stop - start)), 1))
        bands.append((start, stop - (number < CONTRAST_BANDS), count))
    return bands
