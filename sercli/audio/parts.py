"""Splits a sound file into the recordings concatenated in it."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from sercli.audio.headers import READERS
from sercli.audio.source import SIGNATURES, ByteRange, OpenFile, Part, make_part, split

_MAX_PARTS = 100_000
_MAX_READS = 2_000_000  # of a file's headers, which takes seconds; beyond, the rest is one part


def find_parts(path: Path, demuxer: str, start: int = 0) -> list[Part]:
    """Finds the recordings concatenated in a file; usually one.

    Args:
        path: Sound file.
        demuxer: FFmpeg's name of its format.
        start: Offset of the first recording, after tags or garbage.

    Raises:
        OSError: If the file cannot be read.
    """
    with open(os.fspath(path), "rb") as file:  # noqa: PTH123 - any name
        source = OpenFile(file, os.fstat(file.fileno()).st_size)
        if demuxer in READERS:
            parts = list(_walk(source, demuxer, start))
        elif demuxer == "ogg":
            parts = [make_part(span, source.size) for span in _find_links(source, start)]
        elif demuxer == "mov":
            parts = [make_part(span, source.size) for span in _find_movies(source, start)]
        elif demuxer in SIGNATURES:
            parts = [make_part(span, source.size) for span in split(source, demuxer, start)]
        else:
            parts = []
    return parts or [make_part((start, source.size), source.size)]


def _find_links(source: OpenFile, start: int) -> Iterator[ByteRange]:
    """Yields the links of a chained Ogg stream: each starts with beginning-of-stream pages after other pages."""
    first, at, beginning = start, start, True
    while at < source.size:
        header = source.read(at, 27 + 255)
        if header[:4] != b"OggS" or len(header) < 27:
            at = next(source.find(b"OggS", lambda _: True, at + 1), source.size)
            continue
        begins = bool(header[5] & 2)
        if begins and not beginning:
            yield first, at
            first = at
        beginning = begins
        at += 27 + header[26] + sum(header[27 : 27 + header[26]])
    yield first, source.size


def _find_movies(source: OpenFile, start: int) -> Iterator[ByteRange]:
    """Yields concatenated MP4 files: each begins with a file type box and has its own movie box."""
    first, at, movies = start, start, 0
    for _ in range(_MAX_PARTS):
        header = source.read(at, 16)
        if len(header) < 8:
            break
        size, kind = struct.unpack(">I4s", header[:8])
        if kind == b"ftyp" and movies:
            yield first, at
            first, movies = at, 0
        movies += kind == b"moov"
        if size == 1 and len(header) == 16:
            size = int.from_bytes(header[8:], "big")
        if size < 8:
            break
        at += size
    yield first, source.size


def _walk(source: OpenFile, demuxer: str, start: int) -> Iterator[Part]:
    """Yields the parts of a format that declares its bytes of sound, each with a correct header."""
    at: int | None = start
    for _ in range(_MAX_PARTS):
        if at is None:
            return
        if source.reads > _MAX_READS:
            yield make_part((at, source.size), source.size)
            return
        result = READERS[demuxer](source, at)
        if result is None:
            if at != start:
                return
            yield make_part((start, source.size), source.size)
            return
        part, at = result
        yield part
    if at is not None:
        yield make_part((at, source.size), source.size)
