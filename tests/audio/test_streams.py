"""Streams as calls leave them: with gaps, late starts and several tracks."""

from pathlib import Path

import numpy as np
import pytest

from sercli.audio.ffmpeg import MAX_GAP
from sercli.audio.signal import Signal
from tests.audio.reading import read
from tests.streams import tone, write_tracks

RATE = 48_000
# Container, codec and whether time is counted from the first packet.
TIMED = (
    ("matroska", "libopus", False),
    ("matroska", "aac", False),
    ("matroska", "pcm_s16le", False),
    ("matroska", "flac", False),
    ("webm", "libopus", False),
    ("ipod", "aac", False),
    ("mp4", "aac", False),
    ("mov", "alac", False),
    ("mpegts", "aac", True),
    ("flv", "libmp3lame", True),
    ("asf", "wmav2", False),
)


def find_sound(signal: Signal, rate: int) -> list[tuple[float, float]]:
    """Starts and ends in seconds of what is not silent, of at least 0.2 s, with pauses of at least 0.2 s between."""
    step = rate // 50
    loud = [bool(np.abs(signal[at : at + step, 0]).max() > 0.02) for at in range(0, len(signal) - step, step)]
    spans: list[tuple[float, float]] = []
    for number, on in enumerate(loud):
        time = number / 50
        if on and spans and time - spans[-1][1] < 0.2:
            spans[-1] = (spans[-1][0], time + 0.02)
        elif on:
            spans.append((time, time + 0.02))
    return [span for span in spans if span[1] - span[0] > 0.2]


def assert_spans(found: list[tuple[float, float]], expected: list[tuple[float, float]]) -> None:
    assert len(found) == len(expected)
    np.testing.assert_allclose(found, expected, atol=0.15)


@pytest.mark.parametrize(("container", "codec", "relative"), TIMED)
def test_gaps_and_late_starts_are_silence(tmp_path: Path, container: str, codec: str, relative: bool) -> None:
    rate = 44_100 if container in ("flv", "asf") else RATE
    sounds = [(1.5, tone(1.0, rate)), (4.5, tone(1.5, rate)), (7.0, tone(1.0, rate))]
    path = write_tracks(tmp_path / "a", container, codec, rate, [sounds])
    signal, found, warnings = read(path)
    offset = 1.5 if relative else 0.0
    assert found == rate
    expected = [(1.5, 2.5), (4.5, 6.0), (7.0, 8.0)]
    assert_spans(find_sound(signal, rate), [(start - offset, end - offset) for start, end in expected])
    assert warnings == ()


def test_a_gap_in_ogg_is_as_long_as_it_was(tmp_path: Path) -> None:
    # Pages of Ogg have time stamps, packets have none.
    path = write_tracks(tmp_path / "a", "ogg", "libopus", RATE, [[(0.0, tone(1.0, RATE)), (4.5, tone(1.5, RATE))]])
    signal, rate, warnings = read(path)
    assert len(signal) / rate == pytest.approx(6.0, abs=0.15)
    assert warnings == ()


@pytest.mark.parametrize(
    ("container", "codec", "gap"),
    [
        ("matroska", "pcm_s16le", 1e5),
        ("matroska", "aac", 1e6),
        ("webm", "libopus", MAX_GAP + 60),
        ("mp4", "aac", MAX_GAP + 60),
    ],
)
def test_an_absurd_gap_is_left_out_and_reported(tmp_path: Path, container: str, codec: str, gap: float) -> None:
    sounds = [(0.0, tone(1.0, RATE)), (gap, tone(1.0, RATE)), (gap + 3.0, tone(1.0, RATE))]
    path = write_tracks(tmp_path / "a", container, codec, RATE, [sounds])
    signal, rate, warnings = read(path)
    assert len(signal) / rate == pytest.approx(5.0, abs=0.2)
    assert any("time stamps seem to be damaged" in warning for warning in warnings)
    assert not any("cut short" in warning for warning in warnings)


def test_a_time_stamp_that_goes_back_loses_no_sound(tmp_path: Path) -> None:
    first = write_tracks(tmp_path / "a.ts", "mpegts", "aac", RATE, [[(20.0, tone(2.0, RATE))]]).read_bytes()
    second = write_tracks(tmp_path / "b.ts", "mpegts", "aac", RATE, [[(0.0, tone(2.0, RATE))]]).read_bytes()
    (tmp_path / "c.ts").write_bytes(first + second)
    signal, rate, _ = read(tmp_path / "c.ts")
    assert len(signal) / rate == pytest.approx(4.0, abs=0.3)


@pytest.mark.parametrize("container", ["matroska", "mp4", "mpegts"])
def test_a_second_track_is_warned_about(tmp_path: Path, container: str) -> None:
    tracks = [[(0.0, tone(1.0, RATE, frequency=300))], [(0.0, tone(2.0, RATE, frequency=900))]]
    signal, rate, warnings = read(write_tracks(tmp_path / "a", container, "aac", RATE, tracks))
    assert len(signal) / rate == pytest.approx(1.0, abs=0.15)
    spectrum = np.abs(np.fft.rfft(signal[rate // 4 : 3 * rate // 4, 0]))
    assert np.argmax(spectrum) * 2 == pytest.approx(300, abs=4)
    assert warnings == ("2 audio tracks, only the first was used",)


def test_two_streams_in_one_ogg_file_are_two_tracks(tmp_path: Path) -> None:
    tracks = [[(0.0, tone(1.0, RATE))], [(0.0, tone(3.0, RATE))]]
    signal, rate, warnings = read(write_tracks(tmp_path / "a.ogg", "ogg", "libopus", RATE, tracks))
    assert round(len(signal) / rate) == 1
    assert warnings == ("2 audio tracks, only the first was used",)
