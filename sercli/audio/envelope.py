"""Peak envelope of a recording, for HTML pages."""

import numpy as np
import numpy.typing as npt

from sercli.audio.signal import Signal

POINTS = 200
LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
"""One character for each level of an envelope, from silence to the recording's peak."""

_SHORTEST = 64  # samples per bin at the beginning
_MAX_BINS = 16 * POINTS  # more are merged in pairs, so that memory does not grow with the recording


class EnvelopeMeter:
    """Follows the peaks of all channels of a recording as it streams by."""

    def __init__(self) -> None:
        self._width = _SHORTEST
        self._peaks = np.zeros((0, 1), np.float32)  # (n_bins, channels)
        self._rest = np.zeros((0, 1), np.float32)  # samples of the last, incomplete bin

    def add(self, block: Signal) -> None:
        """Takes the next samples, shape ``(n_samples, channels)``."""
        size = np.abs(block)
        channels = block.shape[1]
        if not len(self._peaks) and not len(self._rest):
            self._peaks = self._rest = np.zeros((0, channels), np.float32)
        size = np.concatenate([self._rest, size])
        count = len(size) // self._width
        full = size[: count * self._width].reshape(count, self._width, channels).max(axis=1)
        self._peaks = np.concatenate([self._peaks, full])
        self._rest = size[count * self._width :]
        while len(self._peaks) > _MAX_BINS:
            self._halve()

    def _halve(self) -> None:
        even = len(self._peaks) // 2 * 2
        odd = self._peaks[even:]  # the last bin of an odd number goes back to the samples that fill none
        self._peaks = self._peaks[:even].reshape(-1, 2, self._peaks.shape[1]).max(axis=1)
        self._rest = np.concatenate([np.repeat(odd, self._width, axis=0), self._rest])
        self._width *= 2

    def draw(self, channel: str) -> str:
        """Encodes the envelope of a channel as `POINTS` characters of `LEVELS`.

        Args:
            channel: Number of the channel, from 1, as text; anything else is the loudest of all channels.
        """
        peaks = np.concatenate([self._peaks, self._rest.max(axis=0, keepdims=True)]) if len(self._rest) else self._peaks
        if not len(peaks):
            return ""
        own = peaks[:, int(channel) - 1] if channel.isdecimal() else peaks.max(axis=1)
        edges = np.linspace(0, len(peaks), POINTS + 1)
        starts, stops = np.floor(edges[:-1]).astype(int), np.ceil(edges[1:]).astype(int)
        points = np.array([own[start:stop].max() for start, stop in zip(starts, stops, strict=True)])
        return _encode(points, float(peaks.max()))


def _encode(points: npt.NDArray[np.float32], peak: float) -> str:
    shares = np.nan_to_num(points / peak, posinf=0.0) if 0 < peak < np.inf else np.zeros(len(points))
    return "".join(LEVELS[level] for level in np.round(shares * (len(LEVELS) - 1)).astype(int))
