"""Byte ranges of sound files: finds concatenated recordings and reads one of them as a file."""

import bisect
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ByteRange = tuple[int, int]
"""First byte of a range in a file, and the byte after its last."""

_SCANNED_FIRST, _SCANNED = 1 << 12, 1 << 20  # bytes read at first, and at most, in a search


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One recording in a file.

    Attributes:
        content: Bytes and ranges of the file that together form a valid sound file.
        declared: Bytes of sound declared by the header; None if unknown or not counted in bytes.
        present: Bytes of sound present in the file; 0 if `declared` is None.
        as_is: Whether the part is the whole file and its header is correct.
        channels: Number of channels declared by the header; 0 if it was not read.
    """

    content: tuple[bytes | ByteRange, ...]
    declared: int | None = None
    present: int = 0
    as_is: bool = False
    channels: int = 0


def make_part(span: ByteRange, size: int) -> Part:
    """Makes a part from a range in a file of `size` bytes."""
    return Part(content=(span,), as_is=span == (0, size))


class PartStream(io.RawIOBase):
    """Seekable binary stream of the content of a part.

    Args:
        path: Sound file.
        part: Part of the file to read.
    """

    def __init__(self, path: Path, part: Part) -> None:
        super().__init__()
        self._file = open(os.fspath(path), "rb")  # noqa: PTH123, SIM115 - any name; closed by close()
        self._ranges: list[tuple[int, int, bytes | int]] = []  # first and last position, bytes or offset in the file
        size, end = 0, os.fstat(self._file.fileno()).st_size
        for content in part.content:
            length = len(content) if isinstance(content, bytes) else max(0, min(content[1], end) - content[0])
            self._ranges.append((size, size + length, content if isinstance(content, bytes) else content[0]))
            size += length
        self._size, self._at = size, 0

    def readable(self) -> bool:  # noqa: D102
        return True

    def seekable(self) -> bool:  # noqa: D102
        return True

    def tell(self) -> int:  # noqa: D102
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Sets the position and returns it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        """Reads up to the size of the buffer; returns the number of bytes read."""
        view, filled = memoryview(buffer).cast("B"), 0
        while filled < len(view):
            block = self._read_range(len(view) - filled)
            if not block:
                break
            view[filled : filled + len(block)] = block
            filled += len(block)
        return filled

    def _read_range(self, size: int) -> bytes:
        """Reads up to `size` bytes of one range at the position, and advances it."""
        for start, stop, source in self._ranges:
            if start <= self._at < stop:
                within, length = self._at - start, min(size, stop - self._at)
                if isinstance(source, bytes):
                    block = source[within : within + length]
                else:
                    self._file.seek(source + within)
                    block = self._file.read(length)
                self._at += len(block)
                return block
        return b""

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        super().close()


@dataclass(slots=True)
class OpenFile:
    """An open file.

    Attributes:
        file: The binary stream.
        size: Size (bytes).
        reads: Number of calls of `read`, which a malicious file could make grow faster than its size.
    """

    file: io.BufferedReader
    size: int
    reads: int = 0
    _signatures: dict[str, list[int]] = field(default_factory=dict)

    def read(self, at: int, size: int) -> bytes:
        """Reads up to `size` bytes from offset `at`; returns nothing past the end of the file."""
        self.reads += 1
        if at >= self.size:
            return b""
        self.file.seek(at)
        return self.file.read(size)

    def find(self, signature: bytes, matches: Callable[[bytes], bool], start: int) -> Iterator[int]:
        """Yields offsets from `start` on where `signature` occurs and `matches` accepts the 64 bytes there."""
        at, rest, amount = start, b"", _SCANNED_FIRST
        self.file.seek(start)
        while block := self.file.read(amount):
            data = rest + block
            offset = at - len(rest)
            place = data.find(signature)
            while place >= 0:
                if matches(self.read(offset + place, 64)):
                    yield offset + place
                place = data.find(signature, place + 1)
            at += len(block)
            rest = data[len(data) - len(signature) + 1 :]
            amount = min(2 * amount, _SCANNED)
            self.file.seek(at)

    def find_next(self, demuxer: str, start: int) -> int | None:
        """Returns the offset after `start` where the next recording of a format begins; None if there is none."""
        if demuxer not in self._signatures:
            signatures, matches = SIGNATURES[demuxer]
            self._signatures[demuxer] = sorted(at for each in signatures for at in self.find(each, matches, 0))
        places = self._signatures[demuxer]
        number = bisect.bisect_right(places, start)
        return places[number] if number < len(places) else None


# Signature of another recording of the same format, and a check of its first 64 bytes.
SIGNATURES: dict[str, tuple[tuple[bytes, ...], Callable[[bytes], bool]]] = {
    "flac": ((b"fLaC",), lambda head: head[4:8] in (b"\0\0\0\x22", b"\x80\0\0\x22")),
    "matroska": ((b"\x1aE\xdf\xa3",), lambda head: b"webm" in head or b"matroska" in head),
    "asf": ((bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),), lambda head: head[22:24] == b"\0\0"),
    "amr": ((b"#!AMR",), lambda head: head[5:6] in (b"\n", b"-")),
    "wv": ((b"wvpk",), lambda head: head[16:20] == b"\0\0\0\0" and len(head) > 26 and bool(head[25] & 8)),
    "flv": ((b"FLV\x01",), lambda head: head[5:9] == b"\0\0\0\x09"),
    "avi": ((b"RIFF",), lambda head: head[8:16] == b"AVI LIST"),
    "wav": ((b"RIFF", b"RIFX", b"RF64", b"BW64"), lambda head: head[8:12] == b"WAVE"),
    "aiff": ((b"FORM",), lambda head: head[8:12] in (b"AIFF", b"AIFC")),
    "caf": ((b"caff\0\x01\0\0desc",), lambda _: True),
    "w64": ((bytes.fromhex("726966662e91cf11a5d628db04c10000"),), lambda head: head[24:28] == b"wave"),
    "au": ((b".snd",), lambda head: len(head) >= 24 and head[4:6] == b"\0\0" and head[12:15] == b"\0\0\0"),
}


def split(source: OpenFile, demuxer: str, start: int) -> Iterator[ByteRange]:
    """Yields the spans of recordings, each beginning with the signature of its format."""
    while (following := source.find_next(demuxer, start)) is not None:
        yield start, following
        start = following
    yield start, source.size
