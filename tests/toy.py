"""A toy corpus in the naming of RAVDESS, whose emotions can be heard and whose speakers differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sercli.labels import EMOTIONS
from tests.sounds import Samples, write_sound

MAX_TAKES = 4  # of neutral: two statements, two repetitions; RAVDESS has no strong neutral


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How an emotion sounds: factor on the speaker's f0, level, modulation in Hz, tilt in dB per octave."""

    pitch: float
    level: float
    modulation: float
    tilt: float


MANNERS: dict[str, Manner] = {
    "neutral": Manner(pitch=1.0, level=0.20, modulation=3.0, tilt=-9.0),
    "calm": Manner(pitch=0.9, level=0.12, modulation=2.0, tilt=-12.0),
    "happy": Manner(pitch=1.5, level=0.35, modulation=6.0, tilt=-6.0),
    "sad": Manner(pitch=0.8, level=0.08, modulation=1.5, tilt=-15.0),
    "angry": Manner(pitch=1.3, level=0.60, modulation=8.0, tilt=-2.0),
    "fearful": Manner(pitch=1.8, level=0.25, modulation=11.0, tilt=-8.0),
    "disgust": Manner(pitch=0.7, level=0.28, modulation=4.0, tilt=-4.0),
    "surprised": Manner(pitch=2.1, level=0.40, modulation=4.5, tilt=-5.0),
}

TOY_RECIPE = """features = ["logmel"]

[network]
name = "cnn"
channels = [4]
dense_size = 8

[training]
max_epochs = 2
copies = 0
"""
"""Recipe file of a network that trains in a second."""


def make_ravdess(
    folder: Path,
    *,
    speakers: int = 6,
    emotions: Sequence[str] = ("neutral", "happy", "sad", "angry"),
    takes: int = 2,
    seconds: float = 0.6,
    sample_rate: int = 16_000,
    seed: int = 0,
    suffix: str = ".wav",
) -> Path:
    """Writes ``Actor_NN/03-01-EE-01-SS-RR-NN`` for every speaker, emotion and take; returns the folder.

    Odd speakers are male with a low voice, even ones female with a high one, as in RAVDESS.
    """
    if not 1 <= takes <= MAX_TAKES:
        msg = f"takes should be 1 to {MAX_TAKES}, found {takes}"
        raise ValueError(msg)
    rng = np.random.default_rng(seed)
    for speaker in range(1, speakers + 1):
        pitch = (110.0 if speaker % 2 else 200.0) * rng.uniform(0.9, 1.1)
        for emotion in emotions:
            for take in range(takes):
                code = f"03-01-{EMOTIONS.index(emotion) + 1:02}-01-{take // 2 + 1:02}-{take % 2 + 1:02}"
                sound = make_utterance(rng, MANNERS[emotion], pitch=pitch, seconds=seconds, sample_rate=sample_rate)
                write_sound(folder / f"Actor_{speaker:02}/{code}-{speaker:02}{suffix}", sound, sample_rate)
    return folder


def make_utterance(
    rng: np.random.Generator, manner: Manner, *, pitch: float, seconds: float, sample_rate: int
) -> Samples:
    """A harmonic sound in the manner of an emotion, each time a little different; ``(n_samples,)``."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    f0 = pitch * manner.pitch * rng.uniform(0.95, 1.05)
    glide = f0 * (1 + 0.04 * np.sin(2 * np.pi * rng.uniform(1, 2) * time + rng.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(glide) / sample_rate
    sound = np.zeros_like(time)
    for harmonic in range(1, int(min(4_000, sample_rate / 2.5) / (1.05 * f0)) + 1):
        sound += 10 ** (manner.tilt * np.log2(harmonic) / 20) * np.sin(harmonic * phase)
    beat = manner.modulation * rng.uniform(0.9, 1.1)
    sound *= 1 + 0.6 * np.sin(2 * np.pi * beat * time + rng.uniform(0, 6))
    level = manner.level * rng.uniform(0.9, 1.1) / np.abs(sound).max()
    noisy: Samples = level * sound + 0.001 * rng.standard_normal(len(time))
    return noisy
