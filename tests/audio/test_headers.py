"""Headers that are wrong about the length: every sample is read, and nothing that is not sound."""

import struct
from pathlib import Path

import numpy as np
import pytest

from sercli.audio.decode import read_signal
from sercli.errors import AudioError
from tests.audio.reading import FILES, PCM, SAMPLES, SIZE, read
from tests.headers import PCM_GUID, aiff, au, caf, chunk, fmt, rf64, riff, w64, wav

LIST = chunk(b"LIST", b"INFOISFT\x0e\0\0\0Lavf58.76.100\0")
ID3 = chunk(b"id3 ", b"ID3\x03\0\0\0\0\0\x0a" + bytes(10))
BEXT = chunk(b"bext", b"x" * 603) + chunk(b"iXML", b"<a/>")
CUE = chunk(b"cue ", b"\1\0\0\0" + bytes(24))
NONE = ""
ZERO = "header says 0.0 s, decoded 2.0 s"
HALF = "header says 1.0 s, decoded 2.0 s"
GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")
W64_LIST = b"junk" + GUID + (24 + 16).to_bytes(8, "little") + b"x" * 16
CAF_INFO = b"info" + (8).to_bytes(8, "big") + b"12345678"


def insert(whole: bytes, before: bytes, note: bytes) -> bytes:
    at = whole.index(before)
    return whole[:at] + note + whole[at:]


def note_w64(inner: bytes) -> bytes:
    padded = inner + b"\0" * (-len(inner) % 8)
    return b"junk" + GUID + (24 + len(padded)).to_bytes(8, "little") + padded


# Content, and the warning that is expected.
WRONG = {
    "as it should be": (wav(PCM), NONE),
    "FFmpeg to a pipe": (wav(PCM, 0xFFFF_FFFF), NONE),
    "recorder that was killed": (wav(PCM, 0), ZERO),
    "largest signed number": (wav(PCM, 0x7FFF_FFFF), NONE),
    "sox to a pipe": (wav(PCM, 0x7FFF_F000), NONE),
    "GStreamer": (wav(PCM, 0xFFFF_FFFF - 36), NONE),
    "round": (wav(PCM, 0xFFFF_0000), NONE),
    "arecord": (wav(PCM, 0x8000_0000), NONE),
    "half": (wav(PCM, SIZE // 2), HALF),
    "wrapped, at a number of bytes that is odd": (wav(PCM, 15_999), HALF),
    "LIST behind": (wav(PCM, after=LIST), NONE),
    "id3 behind": (wav(PCM, after=ID3), NONE),
    "bext behind": (wav(PCM, after=BEXT), NONE),
    "cue behind": (wav(PCM, after=CUE), NONE),
    "unknown chunk behind": (wav(PCM, after=chunk(b"Xq9 ", b"x" * 600)), NONE),
    "several behind": (wav(PCM, after=LIST + CUE + BEXT + ID3), NONE),
    "LIST behind, size unknown": (wav(PCM, 0xFFFF_FFFF, after=LIST), NONE),
    "several behind, size 0": (wav(PCM, 0, after=BEXT + ID3), ZERO),
    "LIST behind, size half": (wav(PCM, SIZE // 2, after=LIST), HALF),
    "LIST cut behind": (wav(PCM, after=LIST[:-6]), NONE),
    "LIST before": (wav(PCM, before=LIST), NONE),
    "odd chunk without pad before": (wav(PCM, before=b"junk\3\0\0\0abc"), NONE),
    "zeros in a LIST before": (wav(PCM, 0, before=chunk(b"LIST", bytes(4_000))), ZERO),
    "fact that is wrong": (wav(PCM, before=chunk(b"fact", b"\1\0\0\0")), NONE),
    "outer size too small": (riff(fmt(), chunk(b"data", PCM), size=100), NONE),
    "two chunks of sound": (riff(fmt(), chunk(b"data", PCM[:20_000]), chunk(b"data", PCM[20_000:])), NONE),
    "two chunks of sound with LIST": (
        riff(fmt(), chunk(b"data", PCM[:20_000]), LIST, chunk(b"data", PCM[20_000:])),
        NONE,
    ),
    "extensible": (riff(fmt(0xFFFE, extra=b"\x16\0\x10\0\4\0\0\0" + PCM_GUID), chunk(b"data", PCM, 0)), ZERO),
    "bytes of a frame 0": (riff(fmt().replace(b"\2\0\x10\0", b"\0\0\x10\0"), chunk(b"data", PCM)), NONE),
    "byte of half a sample": (riff(fmt(), chunk(b"data", PCM + b"\1")), NONE),
    "big-endian": (
        riff(fmt(order=">"), chunk(b"data", SAMPLES.byteswap().tobytes(), 0, ">"), name=b"RIFX", order=">"),
        ZERO,
    ),
    "tag before": (b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + wav(PCM), NONE),
    "zeros before": (bytes(512) + wav(PCM, 0xFFFF_FFFF), NONE),
    "RF64": (rf64(PCM, SIZE), NONE),
    "RF64 with an empty length": (rf64(PCM, 0), ZERO),
    "RF64 with half the length": (rf64(PCM, SIZE // 2), HALF),
    "RF64 of unknown length": (rf64(PCM, 0xFFFF_FFFF_FFFF_FFFF), NONE),
    "BW64": (rf64(PCM, SIZE, b"BW64"), NONE),
    "W64": (w64(PCM), NONE),
    "W64 to a pipe": (w64(PCM, 0x7FFF_FFFF_FFFF_FFFF), NONE),
    "W64 with half the length": (w64(PCM, SIZE // 2 + 24), HALF),
    "W64 that was never closed": (w64(PCM, 24), ZERO),
    "W64 with a chunk behind": (w64(PCM, after=W64_LIST), NONE),
    "AIFF": (aiff(PCM), NONE),
    "AIFF by sox to a pipe": (aiff(PCM, 0x7F00_0008, 0x3F80_0000), NONE),
    "AIFF by FFmpeg to a pipe": (aiff(PCM, 0, 0), ZERO),
    "AIFF with half the length": (aiff(PCM, SIZE // 2 + 8, SIZE // 4), HALF),
    "AIFF with half the frames": (aiff(PCM, frames=SIZE // 4), HALF),
    "AIFF with a chunk behind": (aiff(PCM, after=chunk(b"ANNO", b"call", order=">")), NONE),
    "AU": (au(PCM), NONE),
    "AU to a pipe": (au(PCM, 0xFFFF_FFFF), NONE),
    "AU that was never closed": (au(PCM, 0), ZERO),
    "AU with half the length": (au(PCM, SIZE // 2), HALF),
    "CAF": (caf(PCM), NONE),
    "CAF to a pipe": (caf(PCM, -1), NONE),
    "CAF that was never closed": (caf(PCM, 0), ZERO),
    "CAF with half the length": (caf(PCM, SIZE // 2 + 4), HALF),
    "CAF with a chunk behind": (caf(PCM, after=CAF_INFO), NONE),
    "W64 header in a note": (insert(w64(PCM), b"data", note_w64(w64(b""))), NONE),
    "CAF header in a note": (insert(caf(PCM), b"data", b"info" + struct.pack(">q", len(caf(b""))) + caf(b"")), NONE),
    "AU header in a note": (au(PCM)[:4] + struct.pack(">I", 48) + au(PCM)[8:24] + au(b"") + au(PCM)[24:], NONE),
}


@pytest.mark.parametrize("name", WRONG)
def test_every_sample_is_read_whatever_the_header_says(tmp_path: Path, name: str) -> None:
    content, warning = WRONG[name]
    (tmp_path / "a.wav").write_bytes(content)
    signal, rate, warnings = read(tmp_path / "a.wav")
    assert rate == 8_000
    np.testing.assert_array_equal(signal[:, 0], SAMPLES / np.float32(32_768))
    assert warnings == ((warning,) if warning else ())


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(
    ("kept", "length"), [(0.02, "0.0 of 2.0"), (0.4, "0.8 of 2.0"), (0.705, "1.4 of 2.0"), (0.98, "1.96 of 2.00")]
)
def test_a_cut_file_is_read_as_far_as_it_goes(tmp_path: Path, kind: str, kept: float, length: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(FILES[kind][: len(FILES[kind]) - SIZE + int(kept * SIZE)])
    signal, _, (warning,) = read(path)
    np.testing.assert_array_equal(signal[:, 0], SAMPLES[: int(kept * SIZE) // 2] / np.float32(32_768))
    assert warning == f"cut short: {length} s"


@pytest.mark.parametrize("content", [wav(b""), wav(PCM)[:44], wav(PCM)[:43], aiff(b""), au(b""), caf(b"")])
def test_a_header_without_sound_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError, match="contains no samples"):
        read(tmp_path / "a.wav")


@pytest.mark.parametrize("offset", [1, 4_096, 0xFFFF_FFFF])
def test_sound_that_would_begin_beyond_the_file_is_none(tmp_path: Path, offset: int) -> None:
    whole = aiff(PCM)
    at = whole.index(b"SSND") + 8
    skipped = struct.pack(">I", min(len(PCM) + offset, 0xFFFF_FFFF))
    (tmp_path / "a.aiff").write_bytes(whole[:at] + skipped + whole[at + 4 :])
    with pytest.raises(AudioError):
        read(tmp_path / "a.aiff")


def test_a_recording_without_samples_before_another_one_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "two.wav"
    path.write_bytes(wav(b"") + wav(PCM))
    signal, rate, _ = read(path)
    assert (len(signal), rate) == (len(PCM) // 2, 8_000)


def test_a_header_without_a_place_for_sound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(riff(fmt()))
    with pytest.raises(AudioError, match=r"is not a sound file .*No 'data' chunk"):
        read(tmp_path / "a.wav")


def test_garbage_after_the_sound_is_short_or_reported(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(PCM) + bytes(128))
    assert read(tmp_path / "a.wav")[2] == ()
    (tmp_path / "a.wav").write_bytes(wav(PCM) + bytes(SIZE))
    assert read(tmp_path / "a.wav")[2] == ("header says 2.0 s, decoded 4.0 s",)


@pytest.mark.parametrize(
    ("content", "channels"),
    [
        (wav(bytes(9_000)), b"\1\0\x40\x1f"),
        (w64(bytes(9_000)), b"\1\0\x40\x1f"),
        (aiff(bytes(9_000)), b"\0\1\0\0\x11\x94"),
        (au(bytes(9_000)), b"\0\0\x1f\x40\0\0\0\1"),
        (caf(bytes(9_000)), b"\0\0\0\1\0\0\0\1\0\0\0\x10"),
    ],
    ids=["WAV", "W64", "AIFF", "AU", "CAF"],
)
def test_a_header_that_claims_thousands_of_channels_is_refused(tmp_path: Path, content: bytes, channels: bytes) -> None:
    # FFmpeg crashes on some of them.
    claimed = {4: b"\xff\x7f\x40\x1f", 6: b"\x7f\xff\0\0\x11\x94", 8: channels[:4] + b"\0\0\x7f\xff"}
    claim = claimed.get(len(channels), b"\0\0\0\1\0\0\x7f\xff\0\0\0\x10")
    assert content.count(channels) == 1
    (tmp_path / "a").write_bytes(content.replace(channels, claim))
    with pytest.raises(AudioError, match="header claims 32767 channels"):
        read_signal(tmp_path / "a")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"caff\0\1\0\0desc" + b"\x7f" + b"\xff" * 7 + bytes(64), "file is malformed"),
        (b"\0\0\0\1ftyp" + b"\xff" * 8 + bytes(64), "cannot be decoded"),
        (rf64(bytes(100), 2**64 - 1).replace(b"fmt ", b"junk"), "Channel count is zero"),
        (w64(bytes(100), 2**63 - 1).replace(b"fmt ", b"junk"), "No 'data' chunk"),
    ],
    ids=["CAF", "MP4", "RF64", "W64"],
)
def test_a_size_beyond_all_files_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(AudioError, match=message):
        read_signal(tmp_path / "a")
