"""Streams as calls leave them: with gaps, late starts, joined parts, several tracks, and lengths that are wrong."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sercli.audio.decode import AudioReader, read_facts
from sercli.audio.ffmpeg import MAX_GAP
from sercli.audio.signal import BLOCK, Signal
from sercli.errors import AudioError
from tests.encoded import encode
from tests.sounds import Samples, make_tone
from tests.streams import clear_end_of_stream, tone, write_tracks

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


def read(path: Path) -> tuple[Signal, int, tuple[str, ...]]:
    reader, rate = AudioReader(path), 0
    blocks: list[Signal] = []
    for block, rate in reader:  # noqa: B007 - of the last block
        assert 0 < len(block) <= BLOCK
        assert block.shape[1] == (blocks[0] if blocks else block).shape[1]
        blocks.append(block)
    return np.concatenate(blocks), rate, reader.warnings


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
def test_an_absurd_gap_is_left_out_and_said(tmp_path: Path, container: str, codec: str, gap: float) -> None:
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


@pytest.mark.parametrize("kind", ["flac", "ogg", "opus", "webm", "m4a", "wma", "flv", "wv", "amr-nb", "mp3", "aac"])
def test_the_same_recording_three_times_in_one_file_is_heard_three_times(tmp_path: Path, kind: str) -> None:
    if kind == "amr-nb":
        # Frames of AMR may hold anything.
        frame = b"\x3c" + bytes(31)
        path = tmp_path / "a.amr"
        path.write_bytes(b"#!AMR\n" + frame * 100)
    else:
        rate = 44_100 if kind == "flv" else 16_000
        path = encode(tmp_path, "a", kind, make_tone(seconds=2, sample_rate=rate), rate)
    alone, rate, _ = read(path)
    path.write_bytes(path.read_bytes() * 3)
    signal, _, warnings = read(path)
    assert len(signal) / rate == pytest.approx(3 * len(alone) / rate, abs=0.3)
    assert not any("cut short" in warning for warning in warnings)


def write_flac(path: Path, samples: Samples, total: int | None = None) -> Path:
    """FLAC that declares another number of samples."""
    soundfile.write(path, samples, 16_000, format="FLAC")
    if total is not None:
        content = bytearray(path.read_bytes())
        number = int.from_bytes(content[18:26], "big") & ~0xF_FFFF_FFFF | total
        content[18:26] = number.to_bytes(8, "big")
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("total", "warning"),
    [(None, ()), (0, ()), (24_000, ("header says 1.5 s, decoded 3.0 s",)), (96_000, ("cut short: 3.0 of 6.0 s",))],
)
def test_flac_is_read_to_its_end_whatever_it_declares(
    tmp_path: Path, total: int | None, warning: tuple[str, ...]
) -> None:
    samples = make_tone(seconds=3)
    expected, _ = soundfile.read(write_flac(tmp_path / "whole.flac", samples), dtype="float32", always_2d=True)
    signal, rate, warnings = read(write_flac(tmp_path / "a.flac", samples, total))
    np.testing.assert_array_equal(signal, expected)
    assert (rate, warnings) == (16_000, warning)


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.99])
def test_cut_flac_is_read_as_far_as_it_goes(tmp_path: Path, kept: float) -> None:
    samples = make_tone(seconds=3)
    expected, _ = soundfile.read(write_flac(tmp_path / "whole.flac", samples), dtype="float32", always_2d=True)
    content = (tmp_path / "whole.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: int(kept * len(content))])
    signal, _, warnings = read(tmp_path / "a.flac")
    assert len(signal) >= kept * len(expected) - 2 * 4_096
    np.testing.assert_array_equal(signal, expected[: len(signal)])
    assert warnings == (f"cut short: {len(signal) / 16_000:.1f} of 3.0 s",)
    with pytest.raises(AudioError, match="cut short"):
        read_facts(tmp_path / "a.flac")


def test_damage_in_the_middle_of_flac_is_said_and_what_follows_is_in_its_place(tmp_path: Path) -> None:
    path = write_flac(tmp_path / "a.flac", make_tone(seconds=4))
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 3_000] = bytes(3_000)
    path.write_bytes(content)
    signal, _, warnings = read(path)
    assert warnings
    np.testing.assert_array_equal(signal[:12_000], expected[:12_000])


def test_a_tag_before_flac_does_no_harm(tmp_path: Path) -> None:
    path = write_flac(tmp_path / "a.flac", make_tone(seconds=1))
    expected, _, _ = read(path)
    path.write_bytes(b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + path.read_bytes() + b"TAG" + bytes(125))
    signal, _, warnings = read(path)
    np.testing.assert_array_equal(signal, expected)
    assert warnings == ()


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_ogg_without_the_mark_of_the_end_is_whole(tmp_path: Path, kind: str) -> None:
    path = encode(tmp_path, "a", kind, make_tone(seconds=3), 16_000)
    expected, _, _ = read(path)
    path.write_bytes(clear_end_of_stream(path.read_bytes()))
    signal, rate, warnings = read(path)
    assert len(signal) / rate == pytest.approx(len(expected) / rate, abs=0.05)
    assert warnings == ()


def write_mp3(path: Path, samples: Samples, *, xing: bool = True, rate: int = 16_000) -> bytes:
    options = {"write_xing": "1" if xing else "0"}
    return write_tracks(path, "mp3", "libmp3lame", rate, [[(0.0, samples)]], options).read_bytes()


def set_frames(content: bytes, factor: float) -> bytes:
    data = bytearray(content)
    at = max(data.find(b"Xing"), data.find(b"Info")) + 8
    data[at : at + 4] = round(int.from_bytes(data[at : at + 4], "big") * factor).to_bytes(4, "big")
    return bytes(data)


def test_mp3_is_read_to_its_end_whatever_stands_in_its_header_or_beside_it(tmp_path: Path) -> None:
    quiet_first = np.concatenate([np.zeros((32_000, 1)), make_tone(seconds=2)])
    plain, bare = write_mp3(tmp_path / "x", quiet_first), write_mp3(tmp_path / "x", quiet_first, xing=False)
    id3 = b"ID3\x04\0\0\0\0\x07\x76" + bytes(1_014)
    cases = {
        "as it should be": (plain, 4.0, ""),
        "without a header": (bare, 4.0, ""),
        "half the frames": (set_frames(plain, 0.5), 4.0, "header says 2.0"),
        "twice the frames": (set_frames(plain, 2), 4.0, "header says 8."),
        "no frames": (set_frames(plain, 0), 4.0, ""),
        "joined": (plain + bare + plain, 12.0, "header says 4.1"),
        "joined without headers": (bare + bare, 8.0, ""),
        "garbage first": (bytes(3_000) + bare, 4.0, ""),
        "text first": (b"HTTP/1.1 200 OK\r\n\r\n" + bare, 4.0, ""),
        "in the middle of a frame": (bare[100:], 4.0, ""),
        "two tags": (id3 + b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + bare, 4.0, ""),
        "tags behind": (bare + b"APETAGEX" + bytes(200) + b"TAG" + bytes(125), 4.0, ""),
        "cut": (plain[: len(plain) * 3 // 4], 3.0, "cut short: "),
        "cut without a header": (bare[: len(bare) * 3 // 4 + 7], 3.0, "cut short: "),
    }
    (tmp_path / "._a.mp3").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        \0\2" + bytes(4_000))
    for name, (content, seconds, warning) in cases.items():
        (tmp_path / "a.mp3").write_bytes(content)
        signal, rate, warnings = read(tmp_path / "a.mp3")
        assert len(signal) / rate == pytest.approx(seconds, abs=0.2), name
        assert len(warnings) == bool(warning), (name, warnings)
        assert "".join(warnings).startswith(warning), (name, warnings)


def test_two_streams_in_one_ogg_file_are_two_tracks(tmp_path: Path) -> None:
    tracks = [[(0.0, tone(1.0, RATE))], [(0.0, tone(3.0, RATE))]]
    signal, rate, warnings = read(write_tracks(tmp_path / "a.ogg", "ogg", "libopus", RATE, tracks))
    assert round(len(signal) / rate) == 1
    assert warnings == ("2 audio tracks, only the first was used",)
