"""Decides which channels of a recording are scored: each side of a call, or their mean."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sercli.audio.preprocess import SILENCE, to_mono
from sercli.audio.signal import Blocks, Signal
from sercli.config import AUTO, MIX, SPLIT

Moments = npt.NDArray[np.float64]

SAME = 0.9  # correlation from which the sides are one signal; lossy codecs leave dual mono above 0.99
DIFFERENT = 0.5  # correlation below which the sides are clearly two signals
ENOUGH, ENOUGH_DIFFERENT = 600.0, 30.0  # seconds of sound to measure; the second if the sides clearly differ
LONGEST_WAIT = 3_600.0  # seconds of recording to search for sound


@dataclass(frozen=True, slots=True)
class Route:
    """Maps the channels of a file to the channels that are scored."""

    mode: str
    inverted: bool = False  # one signal with opposite signs, whose mean would be silence

    def names(self, channels: int) -> tuple[str, ...]:
        """Returns the names of the scored channels of a file with this number of channels."""
        return tuple(str(number + 1) for number in range(channels)) if self.mode == SPLIT else (MIX,)

    def apply(self, block: Signal) -> Signal:
        """Maps a block, shape ``(n_samples, channels)``, to the scored channels, shape ``(n_scored, n_samples)``."""
        if self.mode == SPLIT:
            return np.ascontiguousarray(block.T)
        return np.ascontiguousarray(block[:, 0] if self.inverted else to_mono(block))[None]


def find_route(read: Callable[[], Blocks], mode: str, channels: int) -> Route:
    """Decides which channels of a file are scored.

    Args:
        read: Decodes the file from its start.
        mode: One of `CHANNEL_MODES`; ``auto`` splits stereo files whose sides differ, such as calls.
        channels: Number of channels of the file.
    """
    if channels != 2 or mode == SPLIT:
        return Route(SPLIT if mode == SPLIT and channels > 1 else MIX)
    correlation = correlate_sides(read())
    if mode == AUTO and (correlation is None or abs(correlation) < SAME):
        return Route(SPLIT)
    return Route(MIX, inverted=correlation is not None and correlation <= -SAME)


def correlate_sides(blocks: Blocks) -> float | None:
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
        if np.abs(block).max() < SILENCE:
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
    if powers.min() < SILENCE**2:
        return None
    return float(covariance[0, 1] / np.sqrt(powers[0] * powers[1]))
