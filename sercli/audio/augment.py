"""Augmented copies of training utterances: pitch shift and time stretch of the waveform."""

import importlib.metadata
import warnings
from dataclasses import dataclass

import numpy as np

from sercli.audio.signal import Signal

PITCH_RANGE = 2.0  # semitones, either way
STRETCH_RANGE = (0.85, 1.15)  # playing speed as a factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Alteration:
    """How a copy differs from its original.

    Attributes:
        semitones: pitch shift; 0 leaves the pitch.
        speed: factor on the playing speed without change of pitch; 1 leaves the tempo.
    """

    semitones: float = 0.0
    speed: float = 1.0

    def __str__(self) -> str:
        """As in ``pitch+1.25`` or ``speed0.930``."""
        return f"pitch{self.semitones:+.2f}" if self.semitones else f"speed{self.speed:.3f}"


def augmentation_version() -> str:
    """Names what decides the samples of augmented copies, as in ``librosa1-soxr1``.

    Librosa 1 stretches and shifts differently from 0.11, and soxr resamples what is shifted: copies of different
    major versions (before 1.0, minor versions) must not be mixed in one store.
    """
    return "-".join(name + _shorten_version(importlib.metadata.version(name)) for name in ("librosa", "soxr"))


def _shorten_version(version: str) -> str:
    major, minor = version.split(".")[:2]
    return major if major != "0" else f"0.{minor}"


def draw_alterations(sha256: str, copies: int, seed: int) -> list[Alteration]:
    """The alterations of one utterance's copies: pitch and tempo in turns, drawn evenly over their ranges.

    Args:
        sha256: of the utterance's file; each utterance has draws of its own, whatever its place in the index.
        copies: how many.
        seed: of the draws.
    """
    generator = np.random.default_rng([seed, int(sha256[:16], 16)])
    drawn = []
    for number in range(copies):
        if number % 2 == 0:
            semitones = round(float(generator.uniform(-PITCH_RANGE, PITCH_RANGE)), 2)
            drawn.append(Alteration(semitones=semitones or PITCH_RANGE))
        else:
            drawn.append(Alteration(speed=round(float(generator.uniform(*STRETCH_RANGE)), 3)))
    return drawn


def alter(signal: Signal, sample_rate: int, alteration: Alteration) -> Signal:
    """Applies an alteration with librosa.effects (phase vocoder; the pitch shift resamples with soxr).

    Measured on RAVDESS at 16 kHz, librosa takes about as long per clip as Signalsmith Stretch through
    python-stretch (8 to 12 ms), so the library that is here anyway does it.

    Args:
        signal: mono, in shape ``(n_samples,)``.
        sample_rate: in Hz.
        alteration: what to do.
    """
    # Only featurize with copies needs this module of librosa, which is slow to import.
    from librosa import effects

    altered = signal
    with warnings.catch_warnings():
        # Of librosa 1.0 about calls of its own.
        warnings.filterwarnings("ignore", r"The `\w+` parameter is deprecated", FutureWarning)
        if alteration.semitones:
            altered = effects.pitch_shift(altered, sr=sample_rate, n_steps=alteration.semitones, res_type="soxr_hq")
        if alteration.speed != 1.0:
            altered = effects.time_stretch(altered, rate=alteration.speed)
    return np.asarray(altered, dtype=np.float32)
