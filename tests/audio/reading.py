"""Recordings of known samples, and reading them block by block."""

from pathlib import Path

import numpy as np

from sercli.audio.decode import AudioReader
from sercli.audio.signal import BLOCK, Signal
from tests.headers import aiff, au, caf, rf64, w64, wav

SAMPLES = np.random.default_rng(0).integers(-20_000, 20_000, 16_000).astype("<i2")
PCM = SAMPLES.tobytes()
SIZE = len(PCM)
# The samples in a file of every kind, with a correct header.
FILES = {
    "WAV": wav(PCM),
    "RF64": rf64(PCM, SIZE),
    "W64": w64(PCM),
    "AIFF": aiff(PCM),
    "AU": au(PCM),
    "CAF": caf(PCM),
}


def read(path: Path) -> tuple[Signal, int, tuple[str, ...]]:
    """Returns the signal in shape ``(n_samples, channels)``, its rate in Hz and the warnings."""
    reader, rate = AudioReader(path), 0
    blocks: list[Signal] = []
    for block, rate in reader:  # noqa: B007 - of the last block
        assert 0 < len(block) <= BLOCK
        assert block.dtype == np.float32
        assert block.shape[1] == (blocks[0] if blocks else block).shape[1]
        blocks.append(block)
    return np.concatenate(blocks), rate, reader.warnings
