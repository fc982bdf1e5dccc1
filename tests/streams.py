"""Encoded streams made frame by frame: with gaps, several tracks, and parts that were joined."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream

from tests.sounds import Samples, make_tone

Sound = tuple[float, Samples]
"""A time stamp in seconds, and the samples in shape ``(n_samples, channels)`` that begin there."""


def write_tracks(
    path: Path,
    container: str,
    codec: str,
    rate: int,
    tracks: Sequence[Sequence[Sound]],
    options: dict[str, str] | None = None,
) -> Path:
    """Writes tracks of sounds with time stamps; nothing is stored for the time between them."""
    with av.open(str(path), "w", format=container, options=options or {}) as output:
        streams = []
        for sounds in tracks:
            layout = "stereo" if sounds[0][1].shape[1] == 2 else "mono"
            stream = output.add_stream(codec, rate=rate, layout=layout)
            assert isinstance(stream, AudioStream)
            stream.bit_rate = 64_000
            stream.codec_context.open()
            streams.append(stream)
        for stream, sounds in zip(streams, tracks, strict=True):
            for start, samples in sounds:
                _encode(output, stream, rate, start, samples)
            output.mux(stream.encode(None))
    return path


def _encode(
    output: "av.container.OutputContainer", stream: AudioStream, rate: int, start: float, samples: Samples
) -> None:
    context = stream.codec_context
    size = context.frame_size or 1_024
    layout = "stereo" if samples.shape[1] == 2 else "mono"
    for at in range(0, len(samples) - size + 1, size):
        part = np.ascontiguousarray(samples[at : at + size].T, np.float32)
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
        frame.sample_rate = rate
        converted = av.AudioResampler(context.format, layout, rate).resample(frame)
        for ready in converted:
            ready.pts = round(start * rate) + at
            output.mux(stream.encode(ready))


def tone(seconds: float, rate: int, channels: int = 1, frequency: float = 440.0) -> Samples:
    return make_tone(seconds=seconds, sample_rate=rate, channels=channels, frequency=frequency)


def clear_end_of_stream(content: bytes) -> bytes:
    """Takes the mark of the end from the last page of an Ogg stream, and mends its checksum (RFC 3533)."""
    data = bytearray(content)
    start = data.rfind(b"OggS")
    data[start + 5] &= ~4
    data[start + 22 : start + 26] = bytes(4)
    crc = 0
    for byte in data[start:]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C1_1DB7 if crc & 0x8000_0000 else crc << 1) & 0xFFFF_FFFF
    data[start + 22 : start + 26] = crc.to_bytes(4, "little")
    return bytes(data)
