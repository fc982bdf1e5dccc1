"""Recordings concatenated in one file."""

import struct
from pathlib import Path

import pytest

from sercli.audio.parts import find_parts

FORM = struct.pack("<HHIIHH", 1, 1, 8_000, 16_000, 2, 16)
STREAMED = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + FORM + b"data\xff\xff\xff\xff" + b"\1\0" * 10
"""A WAV file of unknown length, as it comes out of a pipe."""
PAGE = b"OggS\0\2" + bytes(21) + b"x"
"""An Ogg page without content, and a byte of garbage."""
JUNK = b"JUNK\0\0\0\0"


def count_read(path: Path, demuxer: str) -> int:
    """Bytes that this process reads to find the parts."""
    counter = Path("/proc/self/io")
    if not counter.exists():
        pytest.skip("this system does not count what a process reads")
    before = int(counter.read_text().split()[1])
    find_parts(path, demuxer)
    return int(counter.read_text().split()[1]) - before


def test_every_recording_of_unknown_length_is_a_part(tmp_path: Path) -> None:
    path = tmp_path / "pipe.wav"
    path.write_bytes(STREAMED * 3)
    assert [part.present for part in find_parts(path, "wav")] == [20, 20, 20]


@pytest.mark.parametrize(
    ("demuxer", "start", "unit"),
    [
        ("wav", b"", STREAMED),
        ("ogg", b"", PAGE),
        ("wav", STREAMED, JUNK),  # chunks that end in sound, so that none of them begins a trailer
    ],
    ids=["parts", "garbage", "chunks"],
)
def test_twice_the_parts_take_twice_the_reading(tmp_path: Path, demuxer: str, start: bytes, unit: bytes) -> None:
    path, read = tmp_path / "made", []
    for count in (3_000, 6_000):
        path.write_bytes(start + unit * count + (b"data\4\0\0\0abcd" if unit == JUNK else b""))
        read.append(count_read(path, demuxer))
    assert read[1] < 3 * read[0]


def test_parts_beyond_the_limit_are_one_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sercli.audio.parts._MAX_PARTS", 3)
    path = tmp_path / "many.wav"
    path.write_bytes(STREAMED * 5)
    *first, rest = find_parts(path, "wav")
    assert [part.present for part in first] == [20, 20, 20]
    assert rest.content == ((3 * len(STREAMED), 5 * len(STREAMED)),)
