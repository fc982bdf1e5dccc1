"""Augmented copies of training utterances: pitch shift and time stretch of the waveform."""

import importlib.metadata
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from sercli.audio.signal import Signal
from sercli.caches import find_numba_cache
from sercli.locks import run_once

PITCH_RANGE = 2.0  # largest pitch shift in either direction (semitones)
STRETCH_RANGE = (0.85, 1.15)  # range of the speed factor
LIBRARIES = ("librosa", "soxr")  # libraries that determine the samples of augmented copies


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How an augmented copy differs from its original.

    Attributes:
        semitones: Pitch shift; 0 keeps the pitch.
        speed: Factor on the playing speed at the same pitch; 1 keeps the tempo.
    """

    semitones: float = 0.0
    speed: float = 1.0

    def __str__(self) -> str:
        """Name of the copy, such as ``pitch+1.25`` or ``speed0.930``."""
        return f"pitch{self.semitones:+.2f}" if self.semitones else f"speed{self.speed:.3f}"


@lru_cache(maxsize=1)
def augmentation_version() -> str:
    """Names the library versions that determine augmented samples, as in ``librosa1-soxr1``.

    Librosa 1 stretches and shifts differently from 0.11, and soxr resamples after a pitch shift. Copies made with
    different major versions (before 1.0, minor versions) must not be mixed in one store.
    """
    return "-".join(name + _shorten_version(importlib.metadata.version(name)) for name in LIBRARIES)


def _shorten_version(version: str) -> str:
    major, minor = version.split(".")[:2]
    return major if major != "0" else f"0.{minor}"


def name_copy(augmentation: Augmentation) -> str:
    """Names an augmented copy, as in ``pitch+1.25 (librosa0.11-soxr1)``."""
    return f"{augmentation} ({augmentation_version()})"


def draw_augmentations(sha256: str, copies: int, seed: int) -> list[Augmentation]:
    """Draws the augmentations of an utterance's copies: alternately pitch and tempo, uniform over their ranges.

    The draws depend only on the content of the utterance, not on its place in the index. More copies begin with the
    same draws as fewer.

    Args:
        sha256: Hash of the utterance's file.
        copies: Number of copies.
        seed: Seed of the draws.
    """
    generator = np.random.default_rng([seed, int(sha256[:16], 16)])
    drawn = []
    for number in range(copies):
        if number % 2 == 0:
            semitones = round(float(generator.uniform(-PITCH_RANGE, PITCH_RANGE)), 2)
            drawn.append(Augmentation(semitones=semitones or PITCH_RANGE))
        else:
            drawn.append(Augmentation(speed=round(float(generator.uniform(*STRETCH_RANGE)), 3)))
    return drawn


def augment(signal: Signal, sample_rate: int, augmentation: Augmentation) -> Signal:
    """Applies an augmentation with librosa.effects (phase vocoder; the pitch shift resamples with soxr).

    Args:
        signal: Mono signal in shape ``(n_samples,)``.
        sample_rate: Sample rate (Hz).
        augmentation: Augmentation to apply.
    """
    _compile_librosa()
    return _apply(signal, sample_rate, augmentation)


@lru_cache(maxsize=1)
def _compile_librosa() -> None:
    """Has numba compile what librosa uses, in one process at a time.

    Processes that compile the same functions at the same time can leave a cache that crashes whoever loads it (numba
    issue 10128).
    """
    import librosa  # loads no functions yet

    versions = "-".join(f"{name}{importlib.metadata.version(name)}" for name in ("librosa", "numba", "llvmlite"))
    folder = find_numba_cache(Path(librosa.__file__).parent)
    signal = np.zeros(2_048, np.float32)
    run_once(folder / f"sercli-{versions}", lambda: _apply(signal, 16_000, Augmentation(semitones=1.0, speed=1.1)))


def _apply(signal: Signal, sample_rate: int, augmentation: Augmentation) -> Signal:
    # Slow to import, and only needed for augmented copies.
    from librosa import effects

    augmented = signal
    with warnings.catch_warnings():
        # librosa 1.0 warns about its own calls.
        warnings.filterwarnings("ignore", r"The `\w+` parameter is deprecated", FutureWarning)
        if augmentation.semitones:
            augmented = effects.pitch_shift(
                augmented, sr=sample_rate, n_steps=augmentation.semitones, res_type="soxr_hq"
            )
        if augmentation.speed != 1.0:
            augmented = effects.time_stretch(augmented, rate=augmentation.speed)
    return np.asarray(augmented, dtype=np.float32)
