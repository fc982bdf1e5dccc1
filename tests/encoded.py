"""Sound files of every kind that sercli reads, made from a signal."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import soundfile
from av.audio.stream import AudioStream

from tests.sounds import Samples


def _by_soundfile(container: str, subtype: str | None = None) -> Callable[[Path, Samples, int], None]:
    def write(path: Path, samples: Samples, sample_rate: int) -> None:
        with path.open("wb") as stream:
            soundfile.write(stream, samples, sample_rate, format=container, subtype=subtype)

    return write


def _as_raw(subtype: str) -> Callable[[Path, Samples, int], None]:
    def write(path: Path, samples: Samples, sample_rate: int) -> None:
        with path.open("wb") as stream:
            soundfile.write(stream, samples, sample_rate, format="RAW", subtype=subtype, endian="LITTLE")

    return write


def _by_ffmpeg(codec: str, container: str) -> Callable[[Path, Samples, int], None]:
    def write(path: Path, samples: Samples, sample_rate: int) -> None:
        layout = "stereo" if samples.shape[1] == 2 else "mono"
        with av.open(str(path), "w", format=container) as output:
            stream = output.add_stream(codec, rate=sample_rate, layout=layout)
            assert isinstance(stream, AudioStream)
            stream.bit_rate = {"amr": 12_200, "g722": 64_000}.get(container, 48_000)  # the highest of AMR
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
    "wv": _by_ffmpeg("wavpack", "wv"),
    "ac3": _by_ffmpeg("ac3", "ac3"),
    "mp2": _by_ffmpeg("mp2", "mp2"),
    "ts": _by_ffmpeg("aac", "mpegts"),
    "mpg": _by_ffmpeg("mp2", "mpeg"),
    "flv": _by_ffmpeg("aac", "flv"),
    "gsm": _as_raw("GSM610"),
    "g722": _by_ffmpeg("g722", "g722"),
    "sln": _as_raw("PCM_16"),
    "sln16": _as_raw("PCM_16"),
    "ulaw": _as_raw("ULAW"),
    "alaw": _as_raw("ALAW"),
}
"""Writers by kind; the part of a name before the dash is the file's suffix."""

if "libopencore_amrnb" not in av.codecs_available:  # PyAV from 19 on
    del ENCODERS["amr"]

MONO_ONLY = ("wav-gsm", "amr", "gsm", "g722", "sln", "sln16", "ulaw", "alaw")
TELEPHONE_ONLY = ("amr", "gsm", "sln", "ulaw", "alaw")  # 8 kHz
WIDEBAND_ONLY = ("g722", "sln16")  # 16 kHz
OPUS_RATES = (8_000, 16_000, 24_000, 48_000)
MPEG_RATES = {
    "ac3": (32_000, 44_100, 48_000),
    "mp2": (16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "mpg": (16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "flv": (11_025, 22_050, 44_100),
}


def fits(kind: str, sample_rate: int, channels: int) -> bool:
    """Whether a kind of file can hold so many channels at this rate."""
    if kind in MONO_ONLY and channels > 1:
        return False
    if kind in TELEPHONE_ONLY and sample_rate != 8_000:
        return False
    if kind in WIDEBAND_ONLY and sample_rate != 16_000:
        return False
    if sample_rate not in MPEG_RATES.get(kind, (sample_rate,)):
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
