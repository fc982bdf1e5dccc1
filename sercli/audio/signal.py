"""Types of signals."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Signal = npt.NDArray[np.float32]
"""Samples in shape ``(n_samples,)`` when mono, ``(n_samples, channels)`` otherwise; full scale is 1."""

Blocks = Iterable[tuple[Signal, int]]
"""Consecutive blocks of shape ``(n_samples, channels)`` with their sample rate (Hz)."""

BLOCK = 1 << 16  # samples per channel decoded at a time, so that memory never follows what a damaged header claims
