"""Checks that a model answers here as it did where it was trained, by a made signal."""

import numpy as np

from sercli.audio.preprocess import preprocess
from sercli.audio.signal import Signal
from sercli.features.frontend import extract_features
from sercli.models.model import Model, Probabilities

SECONDS = 2.0
TOLERANCE = 1e-3  # of each probability; processors and library versions round differently


def make_signal(sample_rate: int) -> Signal:
    """A buzz that glides and swells like a voice, shape ``(n_samples,)``; the same on every machine."""
    time = np.arange(round(SECONDS * sample_rate)) / sample_rate
    pitch = 140 + 40 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    buzz = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 20))
    signal: Signal = (0.1 * buzz * np.sin(np.pi * 2.5 * time) ** 2).astype(np.float32)
    return signal


def answer(model: Model) -> Probabilities:
    """Probabilities of the made signal, shape ``(n_labels,)``."""
    signal = preprocess(make_signal(model.audio.sample_rate), model.audio).signal
    return model.predict_proba([extract_features(signal, model.features)], [SECONDS])


def measure_difference(model: Model, expected: list[float]) -> float:
    """The largest difference between a probability and the one that was kept, 0 to 1; 1 if their numbers differ."""
    actual = answer(model)
    return float(np.abs(actual - np.array(expected)).max()) if len(actual) == len(expected) else 1.0
