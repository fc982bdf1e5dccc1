"""What a signal is."""

import numpy as np
import numpy.typing as npt

Signal = npt.NDArray[np.float32]
"""Samples in shape ``(n_samples,)`` when mono, ``(n_samples, channels)`` otherwise; full scale is 1."""

BLOCK = 1 << 16  # frames decoded at a time, so that memory never follows what a damaged header claims
