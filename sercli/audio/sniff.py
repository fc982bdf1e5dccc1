"""Recognizes sound formats by their first bytes, and headerless telephone formats by suffix."""

import os
from dataclasses import dataclass
from pathlib import Path

HEAD_BYTES = 1024  # enough for every signature, and for a few MPEG-TS packets
SEARCHED = 1 << 18  # bytes of a damaged or truncated start that are searched for MPEG audio frames

SUFFIXES: tuple[str, ...] = (
    *(
        ".wav",
        ".wave",
        ".bwf",
        ".rf64",
        ".w64",
        ".aif",
        ".aiff",
        ".aifc",
        ".au",
        ".snd",
        ".caf",
        ".voc",
        ".sph",
        ".nist",
        ".htk",
    ),
    *(
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".spx",
        ".mp3",
        ".mp2",
        ".mp1",
        ".mpa",
        ".mpga",
        ".aac",
        ".adts",
        ".latm",
        ".loas",
    ),
    *(".ac3", ".eac3", ".ec3", ".dts", ".wv", ".tta", ".ape", ".amr", ".awb", ".qcp", ".lbc", ".wma"),
    *(".m4a", ".m4b", ".m4r", ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3gpp", ".3g2", ".3ga", ".webm", ".weba"),
    *(".mka", ".mkv", ".ogv", ".ogx", ".wmv", ".asf", ".avi", ".flv", ".f4v", ".mpg", ".mpeg", ".vob", ".m2ts"),
    *(".gsm", ".g722", ".g723_1", ".g729", ".sln", ".sln8", ".sln12", ".sln16", ".sln24", ".sln32", ".sln44"),
    *(".sln48", ".sln96", ".sln192", ".ulaw", ".ul", ".ulw", ".mulaw", ".pcmu", ".alaw", ".al", ".alw", ".pcma"),
)
"""Suffixes of recordings, in lower case. Other files are recordings if their content is sound, such as MPEG-TS, which
shares the suffix ``.ts`` with TypeScript."""

UNSUPPORTED_SUFFIXES: tuple[str, ...] = (
    *(".vox", ".adpcm", ".pcm", ".raw", ".sw", ".s8", ".u8", ".s16", ".l16"),  # sample rate or codec unknown
    *(".g719", ".g721", ".g723", ".g726", ".g728", ".siren7", ".siren14", ".ilbc", ".evrc", ".evs", ".silk", ".slk"),
    *(".dss", ".ds2", ".msv", ".dvf", ".nvf", ".rmd", ".rm", ".ra", ".ram", ".mid", ".midi", ".kar", ".mod", ".xm"),
    *(".aax", ".aa", ".m4p", ".shn", ".tak", ".ofr", ".la", ".mpc", ".mp+", ".dsf", ".dff", ".mmf", ".cda"),
)
"""Suffixes of sound formats that are not supported, in lower case; files with a supported content are read anyway."""


@dataclass(frozen=True, slots=True)
class RawFormat:
    """A headerless format.

    Attributes:
        sample_rate: Sample rate (Hz).
        subtype: libsndfile's name of the sample format; empty if FFmpeg decodes it.
        demuxer: FFmpeg's name of the format; empty if libsndfile decodes it.
    """

    sample_rate: int
    subtype: str = ""
    demuxer: str = ""


@dataclass(frozen=True, slots=True)
class SoundFormat:
    """How to decode a file.

    Attributes:
        demuxer: FFmpeg's name of the format; empty if unknown or headerless and decoded by libsndfile.
        start: Offset of the sound after tags or garbage (bytes).
        raw: The headerless format, if it is one.
    """

    demuxer: str = ""
    start: int = 0
    raw: RawFormat | None = None


# Sample rates by suffix follow Asterisk and the ITU recommendations.
RAW_FORMATS: dict[str, RawFormat] = {
    ".gsm": RawFormat(8_000, "GSM610"),
    ".g722": RawFormat(16_000, demuxer="g722"),
    ".g723_1": RawFormat(8_000, demuxer="g723_1"),
    ".g729": RawFormat(8_000, demuxer="g729"),
    ".sln": RawFormat(8_000, "PCM_16"),
    **{f".sln{rate}": RawFormat(rate * 1_000, "PCM_16") for rate in (8, 12, 16, 24, 32, 48, 96, 192)},
    ".sln44": RawFormat(44_100, "PCM_16"),
    **{suffix: RawFormat(8_000, "ULAW") for suffix in (".ulaw", ".ul", ".ulw", ".mulaw", ".pcmu")},
    **{suffix: RawFormat(8_000, "ALAW") for suffix in (".alaw", ".al", ".alw", ".pcma")},
}

# Offset, bytes and FFmpeg's demuxer. A named demuxer keeps FFmpeg from guessing playlists and other formats that open
# further files.
_CONTAINERS: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyp", "mov"),
    (4, b"moov", "mov"),
    (4, b"mdat", "mov"),
    (4, b"wide", "mov"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "asf"),
    (0, b"#!AMR", "amr"),
    (8, b"AVI ", "avi"),
    (0, b"FLV\x01", "flv"),
    (0, b"\x00\x00\x01\xba", "mpeg"),
    (0, b"wvpk", "wv"),
    (0, b"TTA1", "tta"),
    (0, b"MAC ", "ape"),
    (0, b"#!iLBC", "ilbc"),
    (8, b"QLCM", "qcp"),
    (0, b"\x7f\xfe\x80\x01", "dts"),
    (0, b"OggS", "ogg"),
    (0, b"fLaC", "flac"),
    (8, b"WAVE", "wav"),
    (8, b"AIFF", "aiff"),
    (8, b"AIFC", "aiff"),
    (0, b"caff\x00\x01", "caf"),
    (0, b".snd", "au"),
    (0, b"riff\x2e\x91\xcf\x11", "w64"),
    (0, b"Creative Voice File", "voc"),
    (0, b"NIST_1A", "nistsphere"),
)
_PICTURES = frozenset({b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis", b"crx "})  # brands of ISO media files
_AMR_SIZES = (13, 14, 16, 18, 20, 21, 27, 32, 6, 0, 0, 0, 0, 0, 0, 1)  # bytes by mode; AMR-WB frames are larger
_MPEG_RATES = (44_100, 48_000, 32_000)
# kbit/s by MPEG version (1, or 2 and 2.5) and layer.
_MPEG_BIT_RATES: dict[tuple[bool, int], tuple[int, ...]] = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def read_head(path: Path) -> bytes:
    """Reads the first bytes of a regular file; returns nothing if it is not one or is unreadable."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as stream:
            return stream.read(HEAD_BYTES)
    except (OSError, ValueError):
        return b""


def identify(path: Path) -> SoundFormat:
    """Determines how to decode a file, from its content, or from its suffix if that names a headerless format."""
    head = read_head(path)
    if demuxer := find_demuxer(head):
        return SoundFormat(demuxer)
    if raw := find_raw_format(path.suffix, head):
        return SoundFormat(raw.demuxer, raw=raw)
    try:
        with open(os.fspath(path), "rb") as file:  # noqa: PTH123 - any name
            start = 0
            while size := measure_id3(head):
                start += size
                file.seek(start)
                head = file.read(10)
            file.seek(start)
            data = file.read(SEARCHED)
            whole = not file.read(1)
    except (OSError, ValueError):
        return SoundFormat()
    zeros = len(data) - len(data.lstrip(b"\0"))
    for skipped in (0, zeros):
        if demuxer := find_demuxer(data[skipped : skipped + HEAD_BYTES]):
            return SoundFormat(demuxer, start + skipped)
    if found := find_mpeg(data, whole=whole):
        return SoundFormat(found[0], start + found[1])
    return SoundFormat()


def looks_like_sound(head: bytes) -> bool | None:
    """Whether the first bytes of a file are those of sound; None if other data may begin like them too."""
    if head[:3] == b"ID3":  # version numbers of ID3 are small; text may begin with ID3 too
        return head[3:4] <= b"\x10"
    if _has_sync(head) or head[:2] == b"\x0bw" or (len(head) > 2 and _has_latm_sync(head, 0)):
        return None
    return find_demuxer(head) is not None


def find_demuxer(head: bytes) -> str | None:
    """Returns FFmpeg's demuxer for a file from its signature, or None.

    MPEG audio streams have no signature; see `find_mpeg`.
    """
    if head[4:8] == b"ftyp" and head[8:12] in _PICTURES:
        return None
    for at, sign, demuxer in _CONTAINERS:
        if head[at : at + len(sign)] == sign:
            return demuxer
    if head[:2] == b"\x0bw" and len(head) > 5:
        return "eac3" if head[5] >> 3 > 10 else "ac3"  # by the bit stream version
    return "mpegts" if _find_packets(head) is not None else None


def find_mpeg(data: bytes, *, whole: bool) -> tuple[str, int] | None:
    """Finds the first run of MPEG audio frames, or of AAC frames in ADTS or LOAS.

    Three consecutive frames must agree, or all frames up to the end of a shorter file.

    Args:
        data: First bytes of the file.
        whole: Whether `data` is the whole file.

    Returns:
        FFmpeg's demuxer and the offset of the first frame, or None.
    """
    for at in range(len(data) - 3):
        second = data[at + 1]
        if data[at] == 0xFF and second & 0xE0 == 0xE0:
            demuxer = "aac" if second & 0xF6 == 0xF0 else "mp3"
        elif data[at] == 0x56 and second & 0xE0 == 0xE0:
            demuxer = "loas"
        else:
            continue
        if _is_run(data, at, demuxer, whole=whole):
            return demuxer, at
    return None


def measure_id3(data: bytes) -> int:
    """Returns the size in bytes of a leading ID3v2 tag; 0 if there is none."""
    if len(data) < 10 or data[:3] != b"ID3" or data[3] > 0x10 or any(byte & 0x80 for byte in data[6:10]):
        return 0
    size = data[6] << 21 | data[7] << 14 | data[8] << 7 | data[9]
    return 10 + size + (10 if data[5] & 0x10 else 0)


def measure_mpeg_frame(data: bytes, at: int) -> int:
    """Returns the size in bytes of the MPEG-1, 2 or 2.5 audio frame at an offset; 0 if there is none."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return 0
    version, layer = data[at + 1] >> 3 & 3, 4 - (data[at + 1] >> 1 & 3)
    index, rate_index, padding = data[at + 2] >> 4, data[at + 2] >> 2 & 3, data[at + 2] >> 1 & 1
    if version == 1 or layer == 4 or index in (0, 15) or rate_index == 3:
        return 0
    first = version == 3
    rate = _MPEG_RATES[rate_index] >> (0 if first else 1 if version == 2 else 2)
    bits = _MPEG_BIT_RATES[first, layer][index - 1] * 1_000
    if layer == 1:
        return (12 * bits // rate + padding) * 4
    return (144 if first or layer == 2 else 72) * bits // rate + padding


def measure_frame(data: bytes, at: int, demuxer: str) -> int:
    """Returns the size in bytes of the frame at an offset, from its header; 0 if unknown."""
    if demuxer == "mp3":
        return measure_mpeg_frame(data, at)
    if demuxer == "loas" and _has_latm_sync(data, at):
        return 3 + ((data[at + 1] & 0x1F) << 8 | data[at + 2])
    if demuxer == "amr":
        return _AMR_SIZES[data[at] >> 3 & 15] if at < len(data) else 0
    if demuxer == "aac" and at + 6 <= len(data) and data[at] == 0xFF and data[at + 1] & 0xF6 == 0xF0:
        size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
        return size if size > 7 and data[at + 2] >> 2 & 15 <= 12 else 0
    return 0


def find_raw_format(suffix: str, head: bytes) -> RawFormat | None:
    """Returns the headerless format that a suffix names, or None if unknown or contradicted by the content.

    Args:
        suffix: Suffix of the file name, in any case.
        head: First bytes of the file.
    """
    form = RAW_FORMATS.get(suffix.lower())
    if form is None or not head or _is_text(head):
        return None
    if form.subtype == "GSM610" and any(byte >> 4 != 0xD for byte in head[::33]):
        return None  # every GSM 06.10 frame begins with these four bits
    return form


def _is_text(head: bytes) -> bool:
    printable = bytes(range(32, 127)) + b"\t\n\r\f"
    return not head.translate(None, printable)


def _is_run(data: bytes, at: int, demuxer: str, *, whole: bool) -> bool:
    first = at
    for count in range(3):
        if at >= len(data) - 5:
            return count > 0 and whole and first == 0
        size = measure_frame(data, at, demuxer)
        if not size or (demuxer != "loas" and not _look_alike(data, first, at)):
            return False
        at += size
    return True


def _look_alike(data: bytes, first: int, other: int) -> bool:
    """Whether two frame headers have the same version, layer and sample rate."""
    return data[first + 1] & 0x1E == data[other + 1] & 0x1E and data[first + 2] & 0x0C == data[other + 2] & 0x0C


def _has_latm_sync(data: bytes, at: int) -> bool:
    return data[at] == 0x56 and data[at + 1] & 0xE0 == 0xE0


def _find_packets(head: bytes) -> int | None:
    """Returns the offset of the first of four consecutive MPEG-TS packets; a truncated file may begin inside one."""
    at = head.find(b"G")
    while 0 <= at < 204:
        for step in (188, 192, 204):
            if at < step and head[at : at + 3 * step + 1 : step] == b"GGGG":
                return at
        at = head.find(b"G", at + 1)
    return None


def _has_sync(head: bytes) -> bool:
    """Whether the data begin with eleven set bits, as MPEG audio frames and AAC's ADTS do."""
    return len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] != 0xFF
