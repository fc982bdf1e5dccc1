"""Sound files made for tests: seeded, small, never stored."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from sercli.audio.decode import read_signal
from sercli.audio.preprocess import preprocess, resample, to_mono
from sercli.audio.signal import Signal
from sercli.config import AudioConfig

Samples = npt.NDArray[np.float64]
SAMPLES = Path(__file__).resolve().parents[1] / "samples"


def make_tone(
    *,
    seconds: float = 0.5,
    sample_rate: int = 16_000,
    channels: int = 1,
    frequency: float = 220.0,
    level: float = 0.3,
    seed: int = 0,
) -> Samples:
    """A sine with a little seeded noise, in shape ``(n_samples, channels)``; `frequency` in Hz."""
    rng = np.random.default_rng(seed)
    n_samples = round(seconds * sample_rate)
    sine = np.sin(2 * np.pi * frequency * np.arange(n_samples) / sample_rate)
    noise = rng.standard_normal((n_samples, channels))
    return level * (sine[:, None] + 0.01 * noise)


def write_tone(
    path: Path,
    seconds: float = 0.5,
    sample_rate: int = 16_000,
    channels: int = 1,
    frequency: float = 220.0,
    seed: int = 0,
    level: float = 0.3,
) -> Path:
    """Writes `make_tone` in the format of the path's suffix; tones of different seeds differ."""
    tone = make_tone(
        seconds=seconds,
        sample_rate=sample_rate,
        channels=channels,
        frequency=frequency,
        level=level,
        seed=seed,
    )
    return write_sound(path, tone, sample_rate)


def write_sound(path: Path, samples: Samples, sample_rate: int = 16_000, subtype: str | None = None) -> Path:
    """Writes samples in the format of the path's suffix, making its folder; returns the path.

    Args:
        path: the file to write.
        samples: in shape ``(n_samples,)`` or ``(n_samples, channels)``, full scale 1.
        sample_rate: in Hz.
        subtype: Subtype of libsndfile such as ``PCM_24``, or ``FLOAT`` for samples that are not finite.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A stream is handed over, not a name, since libsndfile cannot take every name that a file may have.
    with path.open("wb") as stream:
        soundfile.write(stream, samples, sample_rate, subtype=subtype, format=path.suffix[1:].upper())
    return path


def read_sample(name: str) -> Signal:
    """Reads a sample of the project, in shape ``(n_samples,)``, at 16 kHz."""
    signal, rate = read_signal(SAMPLES / name)
    assert (rate, signal.shape[1]) == (16_000, 1)
    return np.ascontiguousarray(signal[:, 0])


def preprocess_recording(signal: Signal, sample_rate: int, config: AudioConfig) -> Signal:
    """Mixes a decoded recording to mono, resamples and preprocesses it, as one segment."""
    with np.errstate(over="ignore"):
        return preprocess(resample(to_mono(signal), sample_rate, config.sample_rate), config).signal
