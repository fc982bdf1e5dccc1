"""Sound files of every kind that sercli reads, made from a signal."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import soundfile

from tests.sounds import Samples


def _by_soundfile(container: str, subtype: str | None = None) -> Callable[[Path, Samples, int], None]:
    def write(path: Path, samples: Samples, sample_rate: int) -> None:
        with path.open("wb") as stream:
            soundfile.write(stream, samples, sample_rate, format=container, subtype=subtype)

    return write


def _by_ffmpeg(codec: str, container: str) -> Callable[[Path, Samples, int], None]:
    def write(path: Path, samples: Samples, sample_rate: int) -> None:
        layout = "stereo" if samples.shape[1] == 2 else "mono"
        with av.open(str(path), "w", format=container) as output:
            stream = output.add_stream(codec, rate=sample_rate, layout=layout)
            assert isinstance(stream, av.AudioStream)
            stream.bit_rate = 12_200 if container == "amr" else 48_000  # the highest of AMR
            context = stream.codec_context
            resampler = av.AudioResampler(
                format=context.format, layout=layout, rate=sample_rate, frame_size=context.frame_size or 1_024
            )
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples.T, np.float32), format="fltp", layout=layout
            )
            frame.sample_rate = sample_rate
            for ready in [*resampler.resample(frame), *resampler.resample(None)]:
                output.mux(stream.encode(ready))
            output.mux(stream.encode(None))

    return write


ENCODERS: dict[str, Callable[[Path, Samples, int], None]] = {
    "wav": _by_soundfile("WAV"),
    "wav24": _by_soundfile("WAV", "PCM_24"),
    "wav-float": _by_soundfile("WAV", "FLOAT"),
    "wav-ulaw": _by_soundfile("WAV", "ULAW"),
    "wav-alaw": _by_soundfile("WAV", "ALAW"),
    "wav-gsm": _by_soundfile("WAV", "GSM610"),
    "flac": _by_soundfile("FLAC"),
    "ogg": _by_soundfile("OGG", "VORBIS"),
    "opus": _by_soundfile("OGG", "OPUS"),
    "mp3": _by_soundfile("MP3"),
    "aiff": _by_soundfile("AIFF"),
    "au": _by_soundfile("AU"),
    "caf": _by_soundfile("CAF"),
    "w64": _by_soundfile("W64"),
    "m4a": _by_ffmpeg("aac", "ipod"),
    "mp4": _by_ffmpeg("aac", "mp4"),
    "aac": _by_ffmpeg("aac", "adts"),
    "3gp": _by_ffmpeg("aac", "3gp"),
    "webm": _by_ffmpeg("libopus", "webm"),
    "mka": _by_ffmpeg("aac", "matroska"),
    "amr": _by_ffmpeg("libopencore_amrnb", "amr"),
    "wma": _by_ffmpeg("wmav2", "asf"),
    "wav-adpcm": _by_ffmpeg("adpcm_ima_wav", "wav"),
}
"""Writers by kind; the part of a name before the dash is the file's suffix."""

MONO_ONLY = ("wav-gsm", "amr")
TELEPHONE_ONLY = ("amr",)  # 8 kHz
OPUS_RATES = (8_000, 16_000, 24_000, 48_000)


def fits(kind: str, sample_rate: int, channels: int) -> bool:
    """Whether a kind of file can hold so many channels at this rate."""
    if kind in MONO_ONLY and channels > 1:
        return False
    if kind in TELEPHONE_ONLY and sample_rate != 8_000:
        return False
    if kind in ("opus", "webm") and sample_rate not in OPUS_RATES:
        return False
    return kind != "wma" or sample_rate > 8_000


def encode(folder: Path, name: str, kind: str, samples: Samples, sample_rate: int) -> Path:
    """Writes samples in shape ``(n_samples, channels)`` as a kind of file; returns its path."""
    path = folder / f"{name}.{kind.partition('-')[0].removesuffix('24')}"
    folder.mkdir(parents=True, exist_ok=True)
    ENCODERS[kind](path, samples, sample_rate)
    return path
