"""Recordings whose sample rate or number of channels changes midway."""

from pathlib import Path

import numpy as np
import pytest

from tests.audio.reading import PCM, SAMPLES, read
from tests.encoded import encode
from tests.headers import chunk, fmt, riff, wav
from tests.streams import tone, write_tracks


def test_joined_files_of_other_formats_are_converted_to_the_first(tmp_path: Path) -> None:
    stereo = np.stack([SAMPLES, SAMPLES], axis=1).tobytes()
    other = riff(fmt(channels=2, rate=16_000), chunk(b"data", stereo))
    (tmp_path / "a.wav").write_bytes(wav(PCM) + other + wav(PCM))
    signal, rate, warnings = read(tmp_path / "a.wav")
    assert (rate, signal.shape, warnings) == (8_000, (40_000, 1), ())
    for part in (signal[:16_000, 0], signal[24_000:, 0]):
        np.testing.assert_array_equal(part, SAMPLES / np.float32(32_768))


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("adts", "aac"),
        ("mp3", "libmp3lame"),
        ("flac", "flac"),
        ("matroska", "aac"),
        ("mp4", "aac"),
        ("mpegts", "mp2"),
        ("ogg", ""),
    ],
)
@pytest.mark.parametrize(
    ("first", "second"),
    [((44_100, 1), (16_000, 1)), ((16_000, 1), (44_100, 2)), ((32_000, 2), (32_000, 1))],
)
def test_joined_parts_of_other_rates_and_channels_keep_length_and_pitch(
    tmp_path: Path, container: str, codec: str, first: tuple[int, int], second: tuple[int, int]
) -> None:
    options = {"write_xing": "0"} if container == "mp3" else {}
    content = b""
    for rate, channels in (first, second):
        sound = tone(2.0, rate, channels, 500)
        if container == "ogg":
            content += encode(tmp_path, "part", "ogg", sound, rate).read_bytes()
        else:
            content += write_tracks(tmp_path / "part", container, codec, rate, [[(0.0, sound)]], options).read_bytes()
    (tmp_path / "a").write_bytes(content)
    signal, rate, _ = read(tmp_path / "a")
    assert (rate, signal.shape[1]) == first
    assert len(signal) / rate == pytest.approx(4.0, abs=0.3)
    for start in (0.5, 2.5):
        part = signal[round(start * rate) : round((start + 1) * rate), -1]
        assert np.argmax(np.abs(np.fft.rfft(part))) == pytest.approx(500, abs=3)
        assert np.abs(part).max() == pytest.approx(0.3, abs=0.08)
