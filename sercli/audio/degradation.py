"""Telephone degradation: 8 kHz and G.711 or GSM, with the codecs of libsndfile."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sercli.config import look_up

if TYPE_CHECKING:
    from sercli.audio.signal import Signal

TELEPHONE_RATE = 8_000  # Hz, sample rate of G.711 and GSM 06.10

DEGRADATIONS: Mapping[str, str] = {
    "telephone": "ULAW",  # ITU-T G.711 µ-law
    "gsm": "GSM610",  # GSM 06.10 full rate
}
"""libsndfile's name of the codec of each degradation."""


def degrade(signal: "Signal", sample_rate: int, name: str) -> "tuple[Signal, int]":
    """Encodes and decodes a signal with a telephone codec at 8 kHz.

    Args:
        signal: Shape ``(n_samples,)`` or ``(n_samples, channels)``; mixed to mono, clipped at full scale.
        sample_rate: Sample rate of `signal` (Hz).
        name: One of `DEGRADATIONS`.

    Returns:
        The mono signal, shape ``(n_samples * 8000 / sample_rate,)``, and its sample rate, `TELEPHONE_RATE`.

    Raises:
        UsageError: If there is no such degradation; the message lists the known ones.
    """
    import numpy as np  # slow to import, like the others, and help texts read this module
    import soundfile

    from sercli.audio.preprocess import resample, to_mono

    codec = look_up("degradation", name, DEGRADATIONS)
    narrow = resample(to_mono(signal), sample_rate, TELEPHONE_RATE)
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(narrow, -1.0, 1.0), TELEPHONE_RATE, format="WAV", subtype=codec)
    buffer.seek(0)
    decoded: Signal = soundfile.read(buffer, dtype="float32")[0]
    # GSM encodes blocks of 20 ms and pads the last one.
    return decoded[: len(narrow)], TELEPHONE_RATE
