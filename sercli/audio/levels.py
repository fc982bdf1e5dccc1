"""Level, clipping, noise and silence of a whole recording, without voice activity detection."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sercli.audio.decode import AudioReader
from sercli.audio.preprocess import SILENCE
from sercli.audio.quality import FULL_SCALE, Vector

LEVEL_FRAME_SECONDS = 0.03
PAUSE_DB = 40.0  # frames that are this much quieter than the loud ones are pauses
SILENT_DB = 20 * math.log10(SILENCE)  # peak of a recording without sound
QUIETEST_DB = -120.0  # level of digital silence


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Measurements of a recording; levels in dB full scale.

    Attributes:
        peak: Highest sample.
        level: Mean power of the loud frames, those within `PAUSE_DB` of the 95th percentile.
        snr: 95th minus 10th percentile of the frame levels (dB); also low for a recording without pauses.
        clipped: Share of samples at full scale, 0 to 1.
        silence: Share of frames that are pauses, 0 to 1.
    """

    peak: float
    level: float
    snr: float
    clipped: float
    silence: float

    @property
    def is_silent(self) -> bool:
        """Whether there is no sound at all."""
        return self.peak <= SILENT_DB


def measure_levels(path: Path) -> Levels:
    """Decodes a recording in bounded memory and measures it.

    Raises:
        AudioError: If it cannot be decoded.
    """
    peak, clipped, samples = 0.0, 0, 0
    powers: list[Vector] = []
    rest: Vector = np.zeros(0, np.float32)
    for block, rate in AudioReader(path):
        size = np.abs(block)
        peak = max(peak, float(size.max(initial=0)))
        clipped += int(np.count_nonzero(size >= FULL_SCALE))
        samples += size.size
        power = np.concatenate([rest, np.square(block, dtype=np.float64).mean(axis=1)])
        frame = max(1, round(LEVEL_FRAME_SECONDS * rate))
        whole = len(power) // frame * frame
        powers.append(power[:whole].reshape(-1, frame).mean(axis=1))
        rest = power[whole:]
    if len(rest):
        powers.append(rest.mean(keepdims=True))
    decibels = _to_decibels(np.concatenate(powers))
    loud = float(np.percentile(decibels, 95))
    pauses = decibels < loud - PAUSE_DB
    return Levels(
        peak=max(QUIETEST_DB, 20 * math.log10(max(peak, 1e-12))),
        level=float(_to_decibels(np.mean(10 ** (decibels[~pauses] / 10), keepdims=True))[0]),
        snr=loud - float(np.percentile(decibels, 10)),
        clipped=clipped / samples,
        silence=float(pauses.mean()),
    )


def _to_decibels(power: Vector) -> Vector:
    return 10 * np.log10(np.maximum(power, 10 ** (QUIETEST_DB / 10)))
