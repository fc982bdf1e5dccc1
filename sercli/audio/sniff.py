"""What a file is by its first bytes, whatever its name says."""

import enum
from pathlib import Path

HEAD_BYTES = 64  # enough for every signature below


class Reader(enum.Enum):
    """Which library decodes a kind of file."""

    SOUNDFILE = "soundfile"
    CONTAINER = "container"
    PERHAPS = "perhaps"  # an MPEG frame header, which other data may look like


# Offset and bytes. The containers' names are those of FFmpeg's demuxers: naming one keeps FFmpeg from guessing, and so
# from playlists and other formats that open further files.
_SOUNDFILE: tuple[tuple[int, bytes], ...] = (
    (8, b"WAVE"),
    (0, b"RIFX"),
    (8, b"AIFF"),
    (8, b"AIFC"),
    (0, b"fLaC"),
    (0, b"OggS"),
    (0, b"ID3"),
    (0, b".snd"),
    (0, b"caff\x00\x01"),
    (0, b"riff\x2e\x91\xcf\x11"),  # Sony Wave64
    (0, b"Creative Voice File"),
    (0, b"NIST_1A"),
)
_CONTAINERS: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyp", "mov"),
    (4, b"moov", "mov"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "asf"),
    (0, b"#!AMR", "amr"),
    (8, b"AVI ", "avi"),
    (0, b"FLV\x01", "flv"),
    (0, b"OggS", "ogg"),
    (8, b"WAVE", "wav"),
    (8, b"AIFC", "aiff"),
    (0, b"caff\x00\x01", "caf"),
    (0, b"ID3", "aac"),
)
_PICTURES = frozenset({b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis", b"crx "})  # brands of ISO media files


def read_head(path: Path) -> bytes:
    """The first bytes of a regular file; none if it is not one, or cannot be read."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as stream:
            return stream.read(HEAD_BYTES)
    except (OSError, ValueError):
        return b""


def find_reader(head: bytes) -> Reader | None:
    """Which library the file is for; None where it is no kind of sound that is known."""
    if head[4:8] == b"ftyp" and head[8:12] in _PICTURES:
        return None
    if head[:3] == b"ID3" and head[3:4] > b"\x10":  # a text that begins so: versions of ID3 are small numbers
        return None
    if any(head[at : at + len(sign)] == sign for at, sign in _SOUNDFILE):
        return Reader.SOUNDFILE
    if _has_sync(head):
        return Reader.PERHAPS
    return Reader.CONTAINER if find_demuxer(head) else None


def find_demuxer(head: bytes) -> str | None:
    """FFmpeg's demuxer for the file, or None; also for what soundfile might fail at, as an unusual codec in WAV."""
    for at, sign, demuxer in _CONTAINERS:
        if head[at : at + len(sign)] == sign:
            return demuxer
    return "aac" if _has_sync(head) and head[1] & 0x06 == 0 else None


def _has_sync(head: bytes) -> bool:
    """Eleven set bits begin a frame of MPEG audio; in AAC's ADTS the layer, the two bits after, is 0."""
    return len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] != 0xFF
