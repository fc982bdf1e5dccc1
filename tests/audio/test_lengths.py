"""Lengths that FLAC, MP3 and Ogg declare wrongly, and files of them that end too early."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sercli.audio.decode import read_facts
from sercli.audio.lengths import count_damaged_pages
from sercli.errors import AudioError
from tests.audio.reading import read
from tests.encoded import encode
from tests.sounds import Samples, make_tone, write_tone
from tests.streams import clear_end_of_stream, write_tracks


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


def test_damage_in_the_middle_of_flac_is_reported_and_what_follows_is_in_its_place(tmp_path: Path) -> None:
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


def test_mp3_is_read_to_its_end_whatever_its_header_or_tags_say(tmp_path: Path) -> None:
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


def read_seconds(path: Path) -> tuple[float, tuple[str, ...]]:
    signal, rate, warnings = read(path)
    return len(signal) / rate, warnings


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.7, 0.85, 0.95, 0.9999])
def test_cut_ogg_is_read_as_far_as_it_goes(tmp_path: Path, kept: float) -> None:
    path = write_tone(tmp_path / "a.ogg", seconds=6)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    seconds, warnings = read_seconds(path)
    assert 6 * kept - 2.5 < seconds < 6
    assert warnings == ("cut short: the file ends in the middle of a packet",)
    with pytest.raises(AudioError, match="cut short"):
        read_facts(path)


@pytest.mark.parametrize("kind", ["ogg", "opus"])
@pytest.mark.parametrize("offset", [0, 5, 22, 26, 40])
@pytest.mark.parametrize("page", [-1, -2, 3])
def test_a_damaged_page_of_ogg_is_reported(tmp_path: Path, kind: str, offset: int, page: int) -> None:
    path = encode(tmp_path, "a", kind, make_tone(seconds=20), 16_000)
    assert read(path)[2] == ()
    content = bytearray(path.read_bytes())
    starts = [match.start() for match in re.finditer(b"OggS", content)]
    content[starts[page] + offset] ^= 0xFF
    path.write_bytes(content)
    warnings = read(path)[2]
    assert any(warning.startswith(("damaged", "cut short")) for warning in warnings), warnings
    with pytest.raises(AudioError, match=r"damaged|cut short"):
        read_facts(path)


@pytest.mark.parametrize("tail", [b"TAG" + bytes(125), bytes(4_096), b"OggS" * 100_000])
def test_other_data_after_an_unmarked_end_is_no_damage(tmp_path: Path, tail: bytes) -> None:
    path = encode(tmp_path, "a", "opus", make_tone(seconds=3), 16_000)
    path.write_bytes(clear_end_of_stream(path.read_bytes()) + tail)
    with path.open("rb", buffering=0) as file:
        assert count_damaged_pages(file) == 0


@pytest.mark.parametrize("kept", [0.01, 0.1])
def test_ogg_cut_in_its_header_is_refused(tmp_path: Path, kept: float) -> None:
    path = write_tone(tmp_path / "a.ogg", seconds=6)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(AudioError, match="cannot be decoded"):
        read_facts(path)


@pytest.mark.parametrize("beyond", [0, 1, 3, 4, 26, 27, 40])
def test_ogg_cut_around_the_start_of_a_page_keeps_all_pages_before(tmp_path: Path, beyond: int) -> None:
    path = write_tone(tmp_path / "a.ogg", seconds=6)
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"OggS") + beyond])
    seconds, warnings = read_seconds(path)
    assert 3 < seconds < 6
    # Between two pages, nothing is missing but the mark of the end, which not all programs write.
    assert warnings == (("cut short: the file ends in the middle of a packet",) if beyond else ())


def test_tag_behind_the_stream_does_no_harm(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "a.ogg", seconds=6)
    facts = read_facts(path)
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    assert read_facts(path) == facts
