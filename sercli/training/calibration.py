"""Temperature scaling: calibrates probabilities with one number, fitted on development utterances."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from sercli.metrics import Labels, Probabilities

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0  # bounds of the search


def fit_temperature(logits: npt.NDArray[np.floating], truth: Labels) -> float:
    """Finds the temperature with the lowest cross-entropy (Guo et al. 2017).

    Args:
        logits: Logits of development utterances, shape ``(n, n_labels)``.
        truth: Label index of each utterance, shape ``(n,)``.
    """
    rows = np.arange(len(truth))
    logits = logits.astype(np.float64)

    def cross_entropy(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(-log_softmax(scaled, axis=1)[rows, truth].mean())

    bounds = np.log([MIN_TEMPERATURE, MAX_TEMPERATURE])
    return float(np.exp(minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x))


def to_probabilities(logits: npt.NDArray[np.floating], temperature: float) -> Probabilities:
    """Computes the softmax of logits of shape ``(n, n_labels)`` divided by a temperature."""
    probabilities: Probabilities = softmax(logits.astype(np.float64) / temperature, axis=1)
    return probabilities
