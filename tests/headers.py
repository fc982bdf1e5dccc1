"""Sound files written byte by byte, with headers that may be wrong."""

import struct

WAVE64 = bytes.fromhex("f3acd3118cd100c04f8edb8a")
PCM_GUID = b"\1\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"


def chunk(name: bytes, body: bytes, size: int | None = None, order: str = "<") -> bytes:
    """A chunk of RIFF or IFF, padded; `size` is what it declares."""
    return name + struct.pack(order + "I", len(body) if size is None else size) + body + b"\0" * (len(body) & 1)


def fmt(
    tag: int = 1, channels: int = 1, rate: int = 8_000, bits: int = 16, order: str = "<", extra: bytes = b""
) -> bytes:
    frame = channels * bits // 8
    body = struct.pack(order + "HHIIHH", tag, channels, rate, rate * frame, frame, bits) + extra
    return chunk(b"fmt ", body, order=order)


def riff(*chunks: bytes, size: int | None = None, name: bytes = b"RIFF", order: str = "<") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return name + struct.pack(order + "I", len(body) if size is None else size) + body


def wav(pcm: bytes, size: int | None = None, before: bytes = b"", after: bytes = b"") -> bytes:
    """16-bit mono at 8 kHz that declares `size` bytes of sound."""
    data = b"data" + struct.pack("<I", len(pcm) if size is None else size) + pcm
    whole = None if size is None else min(size + 36, 0xFFFF_FFFF)
    return riff(fmt(), before, data, after, size=whole)


def rf64(pcm: bytes, size: int, name: bytes = b"RF64") -> bytes:
    """With the length in a chunk of its own, as files over 4 GiB have it."""
    long = chunk(b"ds64", struct.pack("<QQQI", min(size + 72, 2**64 - 1) if size else 0, size, size // 2, 0))
    return riff(long, fmt(), b"data\xff\xff\xff\xff" + pcm, size=0xFFFF_FFFF, name=name)


def w64(pcm: bytes, size: int | None = None, after: bytes = b"") -> bytes:
    form = fmt()[8:]
    declared = len(pcm) + 24 if size is None else size
    pad = b"\0" * (-len(pcm) % 8)
    return (
        bytes.fromhex("726966662e91cf11a5d628db04c10000")
        + struct.pack("<Q", 0xFFFF_FFFF_FFFF_FFFF if size else 40 + 40 + 24 + len(pcm))
        + b"wave"
        + WAVE64
        + b"fmt "
        + WAVE64
        + struct.pack("<Q", 24 + len(form))
        + form
        + b"data"
        + WAVE64
        + struct.pack("<Q", declared)
        + pcm
        + (pad + after if after else b"")
    )


def aiff(pcm: bytes, size: int | None = None, frames: int | None = None, after: bytes = b"") -> bytes:
    """Takes little-endian samples and writes big-endian ones."""
    swapped = b"".join(pcm[at + 1 : at + 2] + pcm[at : at + 1] for at in range(0, len(pcm), 2))
    rate = bytes.fromhex("400bfa00000000000000")  # 8000 as an 80-bit float
    common = struct.pack(">hIh", 1, len(pcm) // 2 if frames is None else frames, 16) + rate
    declared = len(pcm) + 8 if size is None else size
    body = b"AIFF" + chunk(b"COMM", common, order=">") + b"SSND" + struct.pack(">III", declared, 0, 0) + swapped + after
    return b"FORM" + struct.pack(">I", len(body) if size is None else min(size + 46, 0xFFFF_FFFF)) + body


def au(pcm: bytes, size: int | None = None) -> bytes:
    swapped = b"".join(pcm[at + 1 : at + 2] + pcm[at : at + 1] for at in range(0, len(pcm), 2))
    return b".snd" + struct.pack(">IIIII", 24, len(pcm) if size is None else size, 3, 8_000, 1) + swapped


def caf(pcm: bytes, size: int | None = None, after: bytes = b"") -> bytes:
    description = struct.pack(">d4sIIIII", 8_000.0, b"lpcm", 2, 2, 1, 1, 16)
    declared = len(pcm) + 4 if size is None else size
    head = b"caff\0\1\0\0desc" + struct.pack(">q", len(description)) + description
    return head + b"data" + struct.pack(">q", declared) + b"\0\0\0\0" + pcm + after
