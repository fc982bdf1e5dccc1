"""What a telephone line does to a recording: 8 kHz and a speech codec, through the real codecs of libsndfile."""

import io
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import soundfile

from sercli.audio.preprocess import resample, to_mono
from sercli.audio.signal import Signal
from sercli.config import look_up

TELEPHONE_RATE = 8_000  # Hz, of G.711 and GSM 06.10


def pass_through_codec(signal: Signal, sample_rate: int, subtype: str) -> Signal:
    """Encodes a signal at 8 kHz as a telephone would, and decodes it again.

    Args:
        signal: in shape ``(n_samples,)`` or ``(n_samples, channels)``; what exceeds full scale is clipped.
        sample_rate: of `signal`, in Hz.
        subtype: of libsndfile: ``ULAW`` and ``ALAW`` are ITU-T G.711, ``GSM610`` is GSM 06.10 full rate.

    Returns:
        mono signal in shape ``(n_samples * 8000 / sample_rate,)`` at `TELEPHONE_RATE`.
    """
    narrow = resample(to_mono(signal), sample_rate, TELEPHONE_RATE)
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(narrow, -1.0, 1.0), TELEPHONE_RATE, format="WAV", subtype=subtype)
    buffer.seek(0)
    decoded: Signal = soundfile.read(buffer, dtype="float32")[0]
    # GSM works on blocks of 20 ms and pads the last one.
    return decoded[: len(narrow)]


CHANNELS: Mapping[str, Callable[[Signal, int], Signal]] = {
    "telephone": partial(pass_through_codec, subtype="ULAW"),
    "gsm": partial(pass_through_codec, subtype="GSM610"),
}
"""Channels that test recordings can be passed through, by name; all of them end at `TELEPHONE_RATE`."""


def apply_channel(signal: Signal, sample_rate: int, name: str) -> tuple[Signal, int]:
    """Passes a signal through a named channel; with the name ``""`` it stays as it is.

    Returns:
        the signal, and its sample rate in Hz.

    Raises:
        UsageError: if there is no such channel.
    """
    if not name:
        return signal, sample_rate
    return get_channel(name)(signal, sample_rate), TELEPHONE_RATE


def get_channel(name: str) -> Callable[[Signal, int], Signal]:
    """The channel of that name, from signal and sample rate to the signal at `TELEPHONE_RATE`.

    Raises:
        UsageError: if there is none; the message lists those there are.
    """
    return look_up("channel", name, CHANNELS)
