"""Preprocessing of one segment, in this order: DC removal, optional denoising, trimming, level normalization."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from sercli.audio.signal import Signal
from sercli.config import AudioConfig
from sercli.errors import AudioError

TRIM_FRAME = 2_048  # frame length for trimming (samples), as in librosa.effects.trim
TRIM_HOP = 512  # frame hop for trimming (samples), as in librosa.effects.trim
SILENCE = 1e-4  # peak amplitude (-80 dB full scale) below which a recording is silent
DENOISE_FRAME = 1_024  # frame length of noisereduce (samples)
AMIN = 1e-5  # amplitude floor for dB conversion, as in librosa.amplitude_to_db


def to_mono(signal: Signal) -> Signal:
    """Averages the channels of a signal in shape ``(n_samples, channels)``; returns a mono signal as it is."""
    if signal.ndim == 1:
        return signal
    return signal[:, 0] if signal.shape[1] == 1 else signal.mean(axis=1, dtype=np.float32)


def resample(signal: Signal, source_rate: int, target_rate: int) -> Signal:
    """Resamples with soxr at its quality HQ; returns at least one sample.

    Args:
        signal: Signal in shape ``(n_samples,)``.
        source_rate: Current sample rate (Hz).
        target_rate: New sample rate (Hz).
    """
    if source_rate == target_rate:
        return signal
    resampled: Signal = soxr.resample(signal, source_rate, target_rate, quality="HQ")
    return resampled if len(resampled) else signal[:1]


class StreamResampler:
    """Streaming resampler: soxr at its quality HQ.

    Args:
        source_rate: Input sample rate (Hz).
        target_rate: Output sample rate (Hz).
        channels: Number of signals resampled in parallel.
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int = 1) -> None:
        self._stream = (
            soxr.ResampleStream(source_rate, target_rate, channels, dtype="float32", quality="HQ")
            if source_rate != target_rate
            else None
        )
        self._count = 0

    def __call__(self, signals: Signal, *, last: bool) -> Signal:
        """Resamples the next block, shape ``(channels, n_samples)``; with `last`, flushes what was held back."""
        if self._stream is None:
            return signals
        interleaved = np.ascontiguousarray(signals.T)
        if interleaved.shape[1] == 1:
            resampled = self._stream.resample_chunk(interleaved[:, 0], last=last)[None]
        else:
            resampled = self._stream.resample_chunk(interleaved, last=last).T
        self._count += resampled.shape[1]
        # Keep one sample of a very short recording, so that it counts as short rather than empty.
        return signals[:, :1] if last and not self._count else resampled


def find_loud_frames(signal: Signal, trim_db: float) -> npt.NDArray[np.bool_]:
    """Finds the frames within `trim_db` of the loudest, like librosa.effects.

    Returns:
        One bool per `TRIM_HOP` samples, frames centered.
    """
    # A frame is four hops, so the energy of each hop is computed once.
    hops = np.add.reduceat(np.square(signal, dtype=np.float64), np.arange(0, len(signal), TRIM_HOP))
    padded = np.pad(hops, 2)
    energy = (padded[:-3] + padded[1:-2] + padded[2:-1] + padded[3:])[: 1 + len(signal) // TRIM_HOP]
    power = np.maximum(energy / TRIM_FRAME, AMIN**2)
    loud: npt.NDArray[np.bool_] = 10 * np.log10(power / power.max()) > -trim_db
    return loud


def find_trim_bounds(signal: Signal, trim_db: float) -> tuple[int, int]:
    """Returns the first sample of sound and the one after the last, like librosa.effects.trim."""
    frames = np.flatnonzero(find_loud_frames(signal, trim_db))
    return int(frames[0]) * TRIM_HOP, min(len(signal), (int(frames[-1]) + 1) * TRIM_HOP)


def normalize_level(signal: Signal, level_db: float) -> Signal:
    """Scales to an RMS of `level_db` dB relative to full scale; leaves silence unchanged."""
    rms = float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))
    return signal if rms == 0 else (signal * np.float32(10 ** (level_db / 20) / rms)).astype(np.float32)


def denoise(signal: Signal, sample_rate: int) -> Signal:
    """Reduces stationary noise by spectral gating (Sainburg, Thielk & Gentner 2020; library noisereduce).

    A signal shorter than one frame is returned unchanged.
    """
    if len(signal) < DENOISE_FRAME:
        return signal
    # noisereduce is slow to import and rarely used.
    from noisereduce import reduce_noise

    cleaned: Signal = reduce_noise(y=signal, sr=sample_rate, stationary=True).astype(np.float32)
    return cleaned


def is_silent(signal: Signal) -> bool:
    """Whether no sample reaches `SILENCE`."""
    return not len(signal) or float(np.abs(signal).max()) < SILENCE


@dataclass(frozen=True, slots=True)
class Preprocessed:
    """A segment ready for feature extraction.

    Attributes:
        signal: Preprocessed signal, shape ``(n_samples,)``; empty if the segment is silent.
        start: First sample kept of the input segment.
        stop: The sample after the last one kept.
    """

    signal: Signal
    start: int
    stop: int


def preprocess(signal: Signal, config: AudioConfig) -> Preprocessed:
    """Preprocesses one segment; used by training and prediction.

    Args:
        signal: Mono signal, shape ``(n_samples,)``, at ``config.sample_rate``.
        config: Preprocessing parameters.

    Raises:
        AudioError: If the samples are too large to compute with.
    """
    if not np.isfinite(signal).all():
        msg = "contains samples far beyond full scale"
        raise AudioError(msg)
    if not len(signal):
        return Preprocessed(signal, 0, 0)
    centered = signal - signal.mean(dtype=np.float64).astype(np.float32)
    if is_silent(centered):
        return Preprocessed(signal[:0], 0, 0)
    if config.denoise:
        centered = denoise(centered, config.sample_rate)
    start, stop = find_trim_bounds(centered, config.trim_db)
    return Preprocessed(normalize_level(centered[start:stop], config.level_db), start, stop)
