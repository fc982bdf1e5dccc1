"""Probabilities that mean what they say: one temperature, fitted on development utterances."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from sercli.metrics import Labels, Probabilities

TEMPERATURES = (0.05, 20.0)  # beyond these nothing sensible is left to calibrate


def fit_temperature(logits: npt.NDArray[np.floating], truth: Labels) -> float:
    """The temperature that gives development utterances the least cross-entropy (Guo et al. 2017).

    Args:
        logits: in shape ``(n, 8)``.
        truth: in shape ``(n,)``.
    """
    rows = np.arange(len(truth))
    wide = logits.astype(np.float64)

    def cross_entropy(log_temperature: float) -> float:
        scaled = wide / np.exp(log_temperature)
        return float(-log_softmax(scaled, axis=1)[rows, truth].mean())

    found = minimize_scalar(cross_entropy, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def to_probabilities(logits: npt.NDArray[np.floating], temperature: float) -> Probabilities:
    """Softmax of logits in shape ``(n, 8)`` over a temperature."""
    probabilities: Probabilities = softmax(logits.astype(np.float64) / temperature, axis=1)
    return probabilities
