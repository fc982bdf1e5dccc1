"""Decides whether the two sides of a stereo recording are one signal or two."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from sercli.audio.signal import Signal

Moments = npt.NDArray[np.float64]

SAME = 0.9  # correlation from which the sides are one signal; lossy codecs leave dual mono above 0.99
DIFFERENT = 0.5  # correlation below which the sides are clearly two signals
SILENT = 1e-4  # peak below which a block is skipped
ENOUGH, ENOUGH_DIFFERENT = 600.0, 30.0  # seconds of sound to measure; the second if the sides clearly differ
LONGEST_WAIT = 3_600.0  # seconds of recording to search for sound


def correlate_sides(blocks: Iterable[tuple[Signal, int]]) -> float | None:
    """Computes the Pearson correlation of the two sides over the first minutes of sound.

    Args:
        blocks: Blocks of shape ``(n_samples, 2)`` with their sample rates (Hz).

    Returns:
        The correlation, -1 to 1, or None if either side is silent.
    """
    count, passed, total = 0, 0, np.zeros(2)
    products = np.zeros((2, 2))
    for block, rate in blocks:
        passed += len(block)
        if passed >= LONGEST_WAIT * rate:
            break
        if np.abs(block).max() < SILENT:
            continue
        wide = block.astype(np.float64)
        count += len(wide)
        total += wide.sum(axis=0)
        products += wide.T @ wide
        correlation = _correlate(count, total, products)
        clear = correlation is not None and abs(correlation) < DIFFERENT
        if count >= (ENOUGH_DIFFERENT if clear else ENOUGH) * rate:
            break
    return _correlate(count, total, products)


def _correlate(count: int, total: Moments, products: Moments) -> float | None:
    if not count:
        return None
    covariance = products / count - np.outer(total, total) / count**2
    powers = np.diag(covariance)
    if powers.min() < SILENT**2:
        return None
    return float(covariance[0, 1] / np.sqrt(powers[0] * powers[1]))
