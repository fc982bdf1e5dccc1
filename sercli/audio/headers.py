"""Finds the sound in WAV, Wave64, AIFF, AU and CAF files, and repairs headers with a wrong length.

Declared lengths are only hints: programs that stream, crash, or write more than 4 GiB leave wrong ones. Everything
after the header counts as sound, except chunks known not to contain any.
"""

import struct
from collections.abc import Callable

from sercli.audio.source import SIGNATURES, ByteRange, OpenFile, Part

_TRAILER = 1 << 16  # bytes at the end of a file that are searched for chunks
_MAX_CHUNKS = 10_000
_MAX_FORMAT = 1 << 16  # longest format chunk that is read (bytes)
# Chunks of WAV and AIFF without sound.
_SILENT_CHUNKS = frozenset(
    name.ljust(4).encode()
    for name in (  # noqa: SIM905 - a list would take a line per name
        "LIST id3 ID3 ID32 bext cue iXML fact smpl inst plst labl note PEAK JUNK junk PAD FLLR minf elm1 regn "
        "umid DGDA afsp _PMX axml chna cart acid strc tlst levl SyLp wavl DISP qlty mext link r64m ds64 fmt NAME "
        "AUTH (c) ANNO COMT MARK INST MIDI AESD APPL CHAN FVER SAUR COMM"
    ).split()
)
_W64_GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # last bytes of most Wave64 chunk names
_PCM_TAGS = (1, 3, 6, 7)  # PCM, float, A-law, µ-law
_GSM_TAG, _EXTENSIBLE_TAG = 0x31, 0xFFFE


PartAndNext = tuple[Part, int | None]
"""A part, and the offset of the next one."""


def _take_whole(source: OpenFile, n_bytes: int, channels: int) -> PartAndNext:
    """Returns a part for a file with one recording and a correct header."""
    content = ((0, source.size),)
    return Part(content=content, declared=n_bytes, present=n_bytes, as_is=True, channels=channels), None


def _read_riff(source: OpenFile, start: int) -> PartAndNext | None:
    head = source.read(start, 12)
    if len(head) < 12 or head[8:12] != b"WAVE":
        return None
    order = ">" if head[:4] == b"RIFX" else "<"
    form, long_size, padded = b"", None, True
    at = start + 12
    for _ in range(_MAX_CHUNKS):
        header = source.read(at, 8)
        if len(header) < 8:
            return None
        name, size = header[:4], struct.unpack(order + "I", header[4:])[0]
        if name == b"ds64":
            long_size = struct.unpack("<Q", source.read(at + 16, 8).ljust(8, b"\0"))[0]
        elif name == b"fmt ":
            form = source.read(at + 8, min(size, _MAX_FORMAT))
        elif name == b"data":
            break
        pad = _measure_pad(source, at + 8 + size, size)
        padded = padded and pad == size & 1
        at += 8 + size + pad
    else:
        return None
    if len(form) < 16:
        return None
    channels = struct.unpack(order + "H", form[2:4])[0]
    if size == 0xFFFF_FFFF and long_size is not None:
        size = long_size
    first = at + 8
    frame = _measure_riff_frame(form, order)
    spans, following = _find_sound(source, "wav", first, size, frame, order)
    declared = None if _is_placeholder(size) else size
    present = sum(stop - start for start, stop in spans)
    if len(spans) > 1:
        declared = present  # several sound chunks, all of them complete
    sane = (start, first + size) == (0, spans[-1][1]) and declared == present and following is None and padded
    riff_size = struct.unpack(order + "I", head[4:8])[0]
    if sane and head[:4] in (b"RIFF", b"RIFX") and riff_size >= first + size - 8:
        return _take_whole(source, present, channels)
    header = _make_riff_header(_repair_format(form, order), present, order)
    return Part(content=(header, *spans), declared=declared, channels=channels, present=present), following


def _measure_pad(source: OpenFile, end: int, size: int) -> int:
    """Returns 1 if a chunk of odd size is padded as it should be, else 0."""
    return size & 1 and source.read(end, 4) not in (b"fmt ", b"data", b"LIST", b"fact")


def _is_placeholder(size: int) -> bool:
    """Whether a declared size is a placeholder, written when the size was not yet known."""
    return (
        0x7F00_0000 <= size <= 0x7F00_0100  # sox
        or 0x7FFF_0000 <= size <= 0x8000_0100  # sox, arecord, oboe
        or 0xFFFF_0000 <= size <= 0xFFFF_FFFF  # FFmpeg, GStreamer
        or size >= 1 << 62
    )


def _find_sound(
    source: OpenFile, demuxer: str, first: int, size: int, frame: int, order: str
) -> tuple[list[ByteRange], int | None]:
    """Finds where the sound of a chunked file is.

    Args:
        source: The file.
        demuxer: Its format.
        first: Offset of the first sample.
        size: Bytes of sound that are declared.
        frame: Size of the smallest block of sound (bytes); 0 if unknown.
        order: Byte order of numbers.

    Returns:
        The spans of sound, and the offset of another recording appended to this one, if any.
    """
    stop = first + size
    if size > 0 and stop <= source.size:
        for at in dict.fromkeys((stop + (size & 1), stop)):
            chain = _read_chain(source, demuxer, at, order, anything=True)
            if chain is not None:
                more, following = chain
                return [_round_down(span, frame) for span in [(first, stop), *more]], following
    following = source.find_next(demuxer, first - 1)
    stop = _find_trailer(source, demuxer, first, order) if following is None else following
    return [_round_down((first, stop), frame)], following


def _round_down(span: ByteRange, frame: int) -> ByteRange:
    start, stop = span
    return (start, stop - (stop - start) % frame) if frame > 0 else span


def _read_chain(
    source: OpenFile, demuxer: str, at: int, order: str, *, anything: bool, visited: set[int] | None = None
) -> tuple[list[ByteRange], int | None] | None:
    """Reads the chunks after the sound.

    Args:
        source: The file.
        demuxer: Its format.
        at: Offset of the first chunk.
        order: Byte order of numbers.
        anything: Whether chunks with unknown names count.
        visited: Offsets already visited in vain; this function adds to them.

    Returns:
        Further spans of sound and the offset of the next recording; None if these are not chunks, neither known ones
        nor printable names with sizes that lead exactly to the end of the file.
    """
    signs, fits = SIGNATURES[demuxer]
    sound: list[ByteRange] = []
    known = False
    for _ in range(_MAX_CHUNKS):
        if at >= source.size:
            return sound, None
        if visited is not None:
            if at in visited:
                return None
            visited.add(at)
        header = source.read(at, 64)
        name = header[:4]
        if name in signs and fits(header):
            return sound, at
        if len(header) < 8:
            return (sound, None) if known or not any(header) else None
        size = struct.unpack(order + "I", header[4:8])[0]
        if name == b"data" and demuxer == "wav":
            sound.append((at + 8, min(at + 8 + size, source.size)))
        elif name in _SILENT_CHUNKS:
            known = True
        elif not anything or not all(32 <= byte < 127 for byte in name):
            return (sound, None) if known else None
        end = at + 8 + size
        if end > source.size + 1 and name != b"data":
            return (sound, None) if known else None
        at = end + (size & 1)
    return None


def _find_trailer(source: OpenFile, demuxer: str, first: int, order: str) -> int:
    """Returns the offset of trailing chunks without sound, or the end of the file."""
    start = max(first, source.size - _TRAILER)
    tail = source.read(start, _TRAILER)
    visited: set[int] = set()
    for at in range(len(tail) - 8):
        if tail[at : at + 4] in _SILENT_CHUNKS:
            size = struct.unpack_from(order + "I", tail, at + 4)[0]
            if start + at + 8 + size <= source.size:
                chain = _read_chain(source, demuxer, start + at, order, anything=False, visited=visited)
                if chain is not None and not chain[0]:
                    return start + at
    return source.size


def _repair_format(form: bytes, order: str) -> bytes:
    """Corrects the bytes per frame and per second in the format chunk of a codec with fixed-size samples."""
    tag, channels, rate, _, _, bits = struct.unpack(order + "HHIIHH", form[:16])
    if tag not in _PCM_TAGS:
        return form
    frame = channels * ((bits + 7) // 8)
    return form[:8] + struct.pack(order + "IH", min(rate * frame, 0xFFFF_FFFF), frame & 0xFFFF) + form[14:]


def _measure_riff_frame(form: bytes, order: str) -> int:
    """Returns the bytes of one sample of all channels, or of a GSM block; 0 for codecs with a shorter last block."""
    tag, _, _, _, frame = struct.unpack(order + "HHIIH", form[:14])
    return int(frame) if tag in (*_PCM_TAGS, _GSM_TAG, _EXTENSIBLE_TAG) else 0


def _make_riff_header(form: bytes, size: int, order: str) -> bytes:
    """Makes a WAV header, or RF64 if the sound is too long for WAV."""
    body = b"fmt " + struct.pack(order + "I", len(form)) + form + b"\0" * (len(form) & 1)
    total = 4 + len(body) + 8 + size
    if total <= 0x7FFF_0000 or order == ">":
        name = b"RIFX" if order == ">" else b"RIFF"
        short = min(size, 0xFFFF_FFFF)
        return (
            name
            + struct.pack(order + "I", min(total, 0xFFFF_FFFF))
            + b"WAVE"
            + body
            + b"data"
            + struct.pack(order + "I", short)
        )
    long = b"ds64" + struct.pack("<IQQQI", 28, total + 36, size, 0, 0)
    return b"RF64\xff\xff\xff\xffWAVE" + long + body + b"data\xff\xff\xff\xff"


def _read_w64(source: OpenFile, start: int) -> PartAndNext | None:
    """Reads Sony Wave64, whose chunks have 16-byte names and 8-byte sizes; its sound is given a WAV header."""
    if source.read(start + 24, 4) != b"wave":
        return None
    at, form, size = start + 40, b"", 0
    for _ in range(_MAX_CHUNKS):
        header = source.read(at, 24)
        if len(header) < 24:
            return None
        size = int.from_bytes(header[16:], "little") - 24
        if header[:4] == b"fmt ":
            form = source.read(at + 24, min(max(size, 0), _MAX_FORMAT))
        if header[:4] == b"data":
            break
        if size < 0:
            return None
        at += (24 + size + 7) // 8 * 8
    else:
        return None
    if len(form) < 16:
        return None
    channels = struct.unpack("<H", form[2:4])[0]
    first, stop = at + 24, source.size
    declared = None if _is_placeholder(size) else max(0, size)
    following = source.find_next("w64", first - 1)
    end = first + size
    if size > 0 and end <= source.size:
        behind = source.read(-(-end // 8) * 8, 24)
        if not behind or behind[4:16] == _W64_GUID or behind[:4] in (b"riff", b"list"):
            stop = end
    if following is not None:
        stop = min(stop, following)
    frame = _measure_riff_frame(form, "<")
    span = _round_down((first, stop), frame)
    present = span[1] - span[0]
    if (start, declared, following) == (0, present, None) and stop + 8 > source.size:
        return _take_whole(source, present, channels)
    header = _make_riff_header(_repair_format(form, "<"), present, "<")
    return Part(content=(header, span), declared=declared, channels=channels, present=present), following


def _read_aiff(source: OpenFile, start: int) -> PartAndNext | None:
    head = source.read(start, 12)
    if head[:4] != b"FORM" or head[8:] not in (b"AIFF", b"AIFC"):
        return None
    common, at, size = b"", start + 12, 0
    for _ in range(_MAX_CHUNKS):
        header = source.read(at, 16)
        if len(header) < 8:
            return None
        name, size = header[:4], struct.unpack(">I", header[4:8])[0]
        if name == b"COMM":
            common = source.read(at + 8, min(size, _MAX_FORMAT))
        elif name == b"SSND":
            break
        at += 8 + size + (size & 1)
    else:
        return None
    if len(header) < 16 or len(common) < 18:
        return None  # the format chunk comes after the sound
    channels = struct.unpack(">H", common[:2])[0]
    skipped = struct.unpack(">I", header[8:12])[0]
    first = min(at + 16 + skipped, source.size)
    frame = _measure_aiff_frame(common)
    spans, following = _find_sound(source, "aiff", first, max(0, size - 8 - skipped), frame, ">")
    present = sum(stop - start for start, stop in spans)
    frames = struct.unpack(">I", common[2:6])[0]
    declared: int | None = size - 8 - skipped
    if size < 8 or _is_placeholder(size):
        declared = 0 if size < 8 else None
    elif frame and declared is not None and abs(declared - present) < max(frame, 2):
        declared = None if _is_placeholder(frames * frame) else frames * frame
    if start == 0 and declared is not None and abs(declared - present) < max(frame, 2) and following is None:
        return _take_whole(source, present, channels)
    if frame:
        common = common[:2] + struct.pack(">I", min(present // frame, 0xFFFF_FFFF)) + common[6:]
    common += b"\0" * (len(common) & 1)
    body = head[8:] + b"COMM" + struct.pack(">I", len(common)) + common
    short = min(present, 0xFFFF_FFFF - len(body) - 16)
    header = b"FORM" + struct.pack(">I", len(body) + 16 + short) + body + b"SSND" + struct.pack(">III", short + 8, 0, 0)
    return Part(content=(header, *spans), declared=declared, channels=channels, present=present), following


def _measure_aiff_frame(common: bytes) -> int:
    """Returns the bytes of one sample of all channels; 0 where samples are packed."""
    channels, bits = struct.unpack(">H4xH", common[:8])
    codec = common[18:22] or b"NONE"
    sizes = {b"NONE": (bits + 7) // 8, b"twos": (bits + 7) // 8, b"sowt": (bits + 7) // 8}
    sizes |= {b"fl32": 4, b"FL32": 4, b"fl64": 8, b"FL64": 8, b"in24": 3, b"in32": 4, b"raw ": 1}
    sizes |= dict.fromkeys((b"ulaw", b"ULAW", b"alaw", b"ALAW"), 1)
    return int(channels * sizes.get(codec, 0))


def _read_au(source: OpenFile, start: int) -> PartAndNext | None:
    head = source.read(start, 24)
    if len(head) < 24:
        return None
    offset, size = struct.unpack(">II", head[4:12])
    if offset < 24 or start + offset > source.size:
        return None
    channels = struct.unpack(">I", head[20:24])[0]
    first = start + offset
    following = source.find_next("au", first - 1)
    stop = source.size if following is None else following
    present = stop - first
    declared = None if _is_placeholder(size) else size
    if (start, following) == (0, None) and declared == present:
        return _take_whole(source, present, channels)
    header = head[:4] + struct.pack(">II", 24, min(present, 0xFFFF_FFFF)) + head[12:24]
    return Part(content=(header, (first, stop)), declared=declared, channels=channels, present=present), following


def _read_caf(source: OpenFile, start: int) -> PartAndNext | None:
    at = start + 8
    for _ in range(_MAX_CHUNKS):
        header = source.read(at, 12)
        if len(header) < 12:
            return None
        name, size = struct.unpack(">4sq", header)
        if name == b"data":
            break
        if size < 0:
            return None
        at += 12 + size
    else:
        return None
    channels = int.from_bytes(source.read(start + 44, 4), "big")
    first, stop = at + 16, at + 12 + size
    following = source.find_next("caf", first - 1)
    end = source.size if following is None else following
    chained = size > 4 and stop <= end and _is_caf_chunk(source.read(stop, 12), end - stop)
    if (start, following) == (0, None) and chained:
        return _take_whole(source, size - 4, channels)
    if not chained:
        stop = end
    declared = None if size == -1 or _is_placeholder(size) else max(0, size - 4)
    header = b"data" + struct.pack(">q", stop - first + 4)
    content: tuple[bytes | ByteRange, ...] = ((start, at), header, (at + 12, stop))
    if chained:
        content = (*content, (stop, end))
    return Part(content=content, declared=declared, channels=channels, present=max(0, stop - first)), following


def _is_caf_chunk(header: bytes, left: int) -> bool:
    """Whether the sound is followed by the end of the file or a chunk that fits into the rest."""
    if left <= 0:
        return left == 0
    if len(header) < 12 or not all(32 <= byte < 127 for byte in header[:4]):
        return False
    return 0 <= int.from_bytes(header[4:], "big", signed=True) <= left - 12


READERS: dict[str, Callable[[OpenFile, int], PartAndNext | None]] = {
    "wav": _read_riff,
    "w64": _read_w64,
    "aiff": _read_aiff,
    "au": _read_au,
    "caf": _read_caf,
}
