"""Preprocessing of one segment: DC removed, denoised if wanted, silence trimmed, level normalized, in this order."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from sercli.audio.signal import Signal
from sercli.config import AudioConfig
from sercli.errors import AudioError

TRIM_FRAME = 2_048  # samples per frame that silence is judged on, as in librosa.effects.trim
TRIM_HOP = 512  # samples between such frames, as in librosa.effects.trim
SILENCE = 1e-4  # peak amplitude (-80 dB full scale) below which a recording holds no sound
DENOISE_FRAME = 1_024  # samples of a frame of noisereduce
AMIN = 1e-5  # least amplitude that is turned into dB, as in librosa.amplitude_to_db


def to_mono(signal: Signal) -> Signal:
    """Mean over channels of a signal in shape ``(n_samples, channels)``; a mono one passes through."""
    if signal.ndim == 1:
        return signal
    return signal[:, 0] if signal.shape[1] == 1 else signal.mean(axis=1, dtype=np.float32)


def resample(signal: Signal, source_rate: int, target_rate: int) -> Signal:
    """Resamples with soxr at its quality HQ; at least one sample stays.

    Args:
        signal: in shape ``(n_samples,)``.
        source_rate: sample rate it has, in Hz.
        target_rate: sample rate wanted, in Hz.
    """
    if source_rate == target_rate:
        return signal
    resampled: Signal = soxr.resample(signal, source_rate, target_rate, quality="HQ")
    return resampled if len(resampled) else signal[:1]


def find_sound(signal: Signal, trim_db: float) -> npt.NDArray[np.bool_]:
    """Which frames are within `trim_db` of the loudest, as librosa.effects judges them.

    Returns:
        one truth value per `TRIM_HOP` samples, frames centred.
    """
    # A frame is four hops, so that the energy of each hop is summed once.
    hops = np.add.reduceat(np.square(signal, dtype=np.float64), np.arange(0, len(signal), TRIM_HOP))
    padded = np.pad(hops, 2)
    energy = (padded[:-3] + padded[1:-2] + padded[2:-1] + padded[3:])[: 1 + len(signal) // TRIM_HOP]
    power = np.maximum(energy / TRIM_FRAME, AMIN**2)
    loud: npt.NDArray[np.bool_] = 10 * np.log10(power / power.max()) > -trim_db
    return loud


def find_ends(signal: Signal, trim_db: float) -> tuple[int, int]:
    """First sample of sound and the one after the last: the definition of librosa.effects.trim with its frames."""
    frames = np.flatnonzero(find_sound(signal, trim_db))
    return int(frames[0]) * TRIM_HOP, min(len(signal), (int(frames[-1]) + 1) * TRIM_HOP)


def normalize_level(signal: Signal, level_db: float) -> Signal:
    """Scales to an RMS of `level_db` dB relative to full scale; silence stays as it is."""
    rms = float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))
    return signal if rms == 0 else (signal * np.float32(10 ** (level_db / 20) / rms)).astype(np.float32)


def denoise(signal: Signal, sample_rate: int) -> Signal:
    """Reduces stationary noise by spectral gating (Sainburg, Thielk & Gentner 2020; library noisereduce).

    What is shorter than one of its frames stays as it is.
    """
    if len(signal) < DENOISE_FRAME:
        return signal
    # noisereduce is slow to import and rarely wanted.
    from noisereduce import reduce_noise

    cleaned: Signal = reduce_noise(y=signal, sr=sample_rate, stationary=True).astype(np.float32)
    return cleaned


def is_silent(signal: Signal) -> bool:
    """Whether nothing in the signal rises over `SILENCE`."""
    return not len(signal) or float(np.abs(signal).max()) < SILENCE


@dataclass(frozen=True, slots=True)
class Prepared:
    """A segment ready for feature extraction.

    Attributes:
        signal: shape ``(n_samples,)``; empty if the segment is silent.
        start: first sample of it in the segment that was given.
        stop: the sample after its last one.
    """

    signal: Signal
    start: int
    stop: int


def prepare(signal: Signal, config: AudioConfig) -> Prepared:
    """Preprocesses one segment; training and prediction both come through here.

    Args:
        signal: mono, shape ``(n_samples,)``, at ``config.sample_rate``.
        config: parameters.

    Raises:
        AudioError: if the samples are too large to compute with.
    """
    if not np.isfinite(signal).all():
        msg = "holds samples too large to compute with: its level is far beyond full scale"
        raise AudioError(msg)
    if not len(signal):
        return Prepared(signal, 0, 0)
    centered = signal - signal.mean(dtype=np.float64).astype(np.float32)
    if is_silent(centered):
        return Prepared(signal[:0], 0, 0)
    if config.denoise:
        centered = denoise(centered, config.sample_rate)
    start, stop = find_ends(centered, config.trim_db)
    return Prepared(normalize_level(centered[start:stop], config.level_db), start, stop)


def preprocess(signal: Signal, sample_rate: int, config: AudioConfig) -> Signal:
    """The whole way from decoded samples of one segment to the signal for feature extraction.

    Args:
        signal: shape ``(n_samples,)`` or ``(n_samples, channels)``, at least one sample.
        sample_rate: of `signal`, in Hz.
        config: parameters.

    Returns:
        Mono signal, shape ``(n_samples,)``, at ``config.sample_rate``; empty if the recording is silent.

    Raises:
        AudioError: if the samples are too large to compute with.
    """
    with np.errstate(over="ignore"):
        return prepare(resample(to_mono(signal), sample_rate, config.sample_rate), config).signal
