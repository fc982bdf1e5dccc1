"""Self-test of a model: compares its output for a synthetic signal with the output stored when it was trained."""

import numpy as np

from sercli.audio.preprocess import preprocess
from sercli.audio.signal import Signal
from sercli.features.frontend import extract_features
from sercli.metrics import Probabilities
from sercli.models.model import Model

SECONDS = 2.0
TOLERANCE = 1e-3  # of each probability; processors and library versions round differently


def make_test_signal(sample_rate: int) -> Signal:
    """Makes a buzz that glides and swells like a voice, shape ``(n_samples,)``; the same on every machine."""
    time = np.arange(round(SECONDS * sample_rate)) / sample_rate
    pitch = 140 + 40 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    buzz = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 20))
    signal: Signal = (0.1 * buzz * np.sin(np.pi * 2.5 * time) ** 2).astype(np.float32)
    return signal


def score_test_signal(model: Model) -> Probabilities:
    """Returns the probabilities for the test signal, shape ``(n_labels,)``."""
    signal = preprocess(make_test_signal(model.audio.sample_rate), model.audio).signal
    return model.predict_proba([extract_features(signal, model.features)], [SECONDS])


def measure_difference(model: Model, expected: list[float]) -> float:
    """Returns the largest absolute difference from the stored probabilities; 1 if the number of labels differs."""
    actual = score_test_signal(model)
    return float(np.abs(actual - np.array(expected)).max()) if len(actual) == len(expected) else 1.0
