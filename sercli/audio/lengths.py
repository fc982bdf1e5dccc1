"""Compares declared with decoded lengths; reads the lengths and checks the ends of FLAC, MP3 and Ogg files."""

import io
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from sercli.audio.sniff import measure_id3, measure_mpeg_frame

BYTE_TOLERANCE = 0.02  # largest difference of lengths counted in bytes or samples (s)
CONTAINER_TOLERANCE = 0.15  # largest difference of lengths that containers or codecs round (s)
CODEC_TOLERANCE = 0.25  # largest difference where a codec pads the sound (s)
MAX_DAMAGED = 1_000  # damaged pages of Ogg that are counted
TRUNCATED = "cut short"  # start of the warning about a truncated file

_TAIL = 1 << 17  # bytes at the end of a FLAC file that contain the start of its last frame
_OGG_TAIL = 2 * (27 + 255 + 255 * 255)  # bytes at the end of an Ogg file that contain the start of its last page
_FLAC_BLOCKS = (0, 192, 576, 1_152, 2_304, 4_608, 0, 0, 256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768)
_PAGE = b"OggS\0"  # start of a page of Ogg: sign and version
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_CRC8 = bytearray(256)
for _byte in range(256):
    _crc = _byte
    for _ in range(8):
        _crc = (_crc << 1 ^ 0x07) & 0xFF if _crc & 0x80 else _crc << 1
    _CRC8[_byte] = _crc


@dataclass(slots=True)
class Length:
    """Declared and actual length of a recording (s).

    Attributes:
        declared: Length declared by the header.
        found: Length decoded.
        tolerance: Largest acceptable difference.
        whole: Whether the file has all its bytes, so that a difference is an error of the header.
    """

    declared: float
    found: float
    tolerance: float
    whole: bool = False


def compare_lengths(lengths: Sequence[Length]) -> str:
    """Compares the declared and the decoded lengths, each summed over the recordings concatenated in a file.

    Returns:
        A warning with both lengths; empty if they agree.
    """
    declared = sum(length.declared for length in lengths)
    found = sum(length.found for length in lengths)
    tolerance = max((length.tolerance for length in lengths), default=0.0)
    whole = bool(lengths) and all(length.whole for length in lengths)
    if found - declared > tolerance or (whole and declared - found > tolerance):
        return "header says {} s, decoded {} s".format(*_format_pair(declared, found))
    if declared - found > tolerance:
        return TRUNCATED + ": {} of {} s".format(*_format_pair(found, declared))
    return ""


def count_flac_samples(file: io.RawIOBase) -> tuple[int | None, bool]:
    """Returns the samples per channel that a FLAC file declares, and whether its last frame confirms them.

    Args:
        file: Stream of the file; its position is left at the start.

    Returns:
        The number, or None if unknown, and whether the header of the last frame confirms it.
    """
    head = _read(file, 0, 42)
    if len(head) < 42 or head[:4] != b"fLaC":
        return None, False
    fixed = int.from_bytes(head[8:10], "big")
    total = int.from_bytes(head[21:26], "big") & 0xF_FFFF_FFFF
    size = file.seek(0, os.SEEK_END)
    tail = _read(file, max(0, size - _TAIL), _TAIL)
    at = len(tail)
    last = None
    while last is None and (at := tail.rfind(b"\xff", 0, at)) >= 0:
        last = _find_end(tail[at : at + 16], fixed)
    file.seek(0)
    return total or None, bool(total) and last == total


def _find_end(header: bytes, fixed: int) -> int | None:
    """Returns the sample number after a FLAC frame, from its header (RFC 9639); None if it is not a frame."""
    if len(header) < 6 or header[0] != 0xFF or header[1] & 0xFE != 0xF8 or header[3] & 1:
        return None
    code, rate_code = header[2] >> 4, header[2] & 15
    number, at = _read_coded_number(header, 4)
    if number is None or code == 0 or rate_code == 15 or header[3] >> 4 > 10:
        return None
    block = _FLAC_BLOCKS[code]
    if code in (6, 7):
        block = int.from_bytes(header[at : at + code - 5], "big") + 1
        at += code - 5
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if at >= len(header) or _crc8(header[:at]) != header[at]:
        return None
    return number + block if header[1] & 1 else number * fixed + block


def _read_coded_number(header: bytes, at: int) -> tuple[int | None, int]:
    """Decodes a UTF-8-like number of up to seven bytes; also returns the offset after it."""
    first = header[at]
    if first < 0x80:
        return first, at + 1
    more = next((count for count in range(1, 7) if not first << count & 0x80), 7) - 1
    if not 1 <= more <= 6 or at + more >= len(header):
        return None, at
    number = first & (0x3F >> more)
    for byte in header[at + 1 : at + 1 + more]:
        if byte & 0xC0 != 0x80:
            return None, at
        number = number << 6 | byte & 0x3F
    return number, at + 1 + more


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = _CRC8[crc ^ byte]
    return crc


def count_mpeg_samples(file: io.RawIOBase) -> tuple[int | None, bool]:
    """Returns the samples per channel that an MP3 file declares, and whether all declared bytes are present.

    Args:
        file: Stream of the file; its position is left at the start.

    Returns:
        The number from the Xing, Info or VBRI header, or None, and False if the number of bytes is not declared.
    """
    at = 0
    for _ in range(8):
        tag = measure_id3(_read(file, at, 10))
        if not tag:
            break
        at += tag
    head = _read(file, at, 4_096)
    size = file.seek(0, os.SEEK_END) - at
    file.seek(0)
    start = next((start for start in range(len(head) - 4) if measure_mpeg_frame(head, start)), None)
    if start is None:
        return None, False
    frame = head[start : start + 512]
    place = max(frame.find(sign, 4, 64) for sign in (b"Xing", b"Info"))
    frames = n_bytes = 0
    if place > 0 and len(frame) > place + 16 and frame[place + 7] & 1:
        frames = int.from_bytes(frame[place + 8 : place + 12], "big")
        n_bytes = int.from_bytes(frame[place + 12 : place + 16], "big") if frame[place + 7] & 2 else 0
    elif frame[36:40] == b"VBRI" and len(frame) >= 54:
        n_bytes, frames = int.from_bytes(frame[46:50], "big"), int.from_bytes(frame[50:54], "big")
    samples = 1_152 if frame[1] & 8 else 576
    return frames * samples or None, 0 < n_bytes <= size - start


def is_truncated_ogg(file: io.RawIOBase) -> bool:
    """Whether the last page of an Ogg file is incomplete."""
    size = file.seek(0, os.SEEK_END)
    tail = _read(file, max(0, size - _OGG_TAIL), _OGG_TAIL)
    file.seek(0)
    start = tail.rfind(b"OggS")
    header = tail[start : start + 27]
    if start < 0 or len(header) < 27 or len(tail) < start + 27 + header[26]:
        return True
    stop = start + 27 + header[26] + sum(tail[start + 27 : start + 27 + header[26]])
    return stop > len(tail) or (stop < len(tail) and b"OggS".startswith(tail[stop : stop + 4]))


def count_damaged_pages(file: io.RawIOBase) -> int:
    """Counts the pages of an Ogg file that fail their checksum (RFC 3533) or have no valid start, up to `MAX_DAMAGED`.

    Other data after the last page, such as a tag, does not count.
    """
    size = file.seek(0, os.SEEK_END)
    at = damaged = 0
    ended, stream = True, b""
    while at < size and damaged < MAX_DAMAGED:
        header = _read(file, at, 27 + 255)
        if len(header) < 27 and b"OggS".startswith(header[:4]):
            break  # the file is cut short
        if header[:5] != _PAGE or len(header) < 27:
            lost = _read(file, at, _OGG_TAIL)
            skipped = lost.find(_PAGE, 1)
            damaged += skipped > 0 or (not ended and lost[14:18] == stream)
            if skipped < 0:
                break
            at += skipped
            continue
        length = 27 + header[26] + sum(header[27 : 27 + header[26]])
        page = _read(file, at, length)
        ended, stream = bool(header[5] & 4), header[14:18]
        whole = len(page) == length  # else the file is cut short, unless another page follows
        following = page.find(_PAGE, 1)
        if not whole or _ogg_checksum(page) != page[22:26]:
            damaged += whole or following > 0
            length = following if following > 0 else length
        at += length
    file.seek(0)
    return damaged


def _ogg_checksum(page: bytes) -> bytes:
    """Computes the CRC-32 of Ogg: zlib's polynomial with mirrored bits, and without its inversions."""
    mirrored = (page[:22] + bytes(4) + page[26:]).translate(_MIRRORED)
    return (zlib.crc32(mirrored, 0xFFFF_FFFF) ^ 0xFFFF_FFFF).to_bytes(4, "big").translate(_MIRRORED)


def count_vorbis_samples(file: io.RawIOBase) -> int | None:
    """Counts the samples per channel of an Ogg file with one complete Vorbis stream (RFC 3533); None for others."""
    head = _read(file, 0, _OGG_TAIL)
    size = file.seek(0, os.SEEK_END)
    tail = _read(file, max(0, size - _OGG_TAIL), _OGG_TAIL)
    truncated = is_truncated_ogg(file)
    first = head[27 + head[26] :] if len(head) > 27 else b""
    others = any(head[at : at + 4] == b"OggS" and head[at + 5] & 2 for at in range(1, len(head) - 6))
    if truncated or others or not first.startswith(b"\x01vorbis"):
        return None
    last = tail[tail.rfind(b"OggS") :]
    return int.from_bytes(last[6:14], "little", signed=True) if last[5] & 4 else None


def _read(file: io.RawIOBase, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size) or b""


def _format_pair(one: float, other: float) -> tuple[str, str]:
    """Formats two lengths (s) with as many decimals as needed to distinguish them."""
    decimals = next((n for n in (1, 2) if f"{one:.{n}f}" != f"{other:.{n}f}"), 3)
    return f"{one:.{decimals}f}", f"{other:.{decimals}f}"
