"""Whether the two sides of a stereo recording are one signal or two."""

from collections.abc import Iterable

import numpy as np

from sercli.audio.signal import Signal

SAME = 0.9  # correlation from which on both sides are taken for one; lossy codecs leave dual mono over 0.99
SILENT = 1e-4  # peak under which a block tells nothing
ENOUGH = 600.0  # seconds of sound that are listened to
LONGEST_WAIT = 3_600.0  # seconds of recording in which they should begin and end


def correlate_sides(blocks: Iterable[tuple[Signal, int]]) -> float | None:
    """Pearson correlation of the two sides, −1 to 1, over at most the first ten minutes in which anything sounds.

    Args:
        blocks: in shape ``(n_samples, 2)``, with the sample rate in Hz.

    Returns:
        None where one side, or both, is silent.
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
        if count >= ENOUGH * rate:
            break
    if not count:
        return None
    covariance = products / count - np.outer(total, total) / count**2
    powers = np.diag(covariance)
    if powers.min() < SILENT**2:
        return None
    return float(covariance[0, 1] / np.sqrt(powers[0] * powers[1]))
