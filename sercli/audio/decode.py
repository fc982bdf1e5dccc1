"""Decoding sound files; the only place that opens them."""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from sercli.audio.container import read_container
from sercli.audio.signal import BLOCK, Signal
from sercli.audio.sniff import Reader, find_demuxer, find_reader, read_head
from sercli.errors import AudioError
from sercli.files import one_line

MIN_SAMPLE_RATE = 1_000  # Hz; below it a header is damaged, or nothing of speech is left
MAX_SAMPLE_RATE = 768_000  # Hz; the highest rate that audio interfaces offer
MAX_CHANNELS = 64

SUFFIXES: tuple[str, ...] = (
    ".wav",
    ".wave",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".mp3",
    ".aif",
    ".aiff",
    ".aifc",
    ".au",
    ".snd",
    ".caf",
    ".w64",
    ".rf64",
    ".voc",
    ".sph",
    ".m4a",
    ".m4b",
    ".aac",
    ".mp4",
    ".m4v",
    ".mov",
    ".3gp",
    ".webm",
    ".mka",
    ".mkv",
    ".amr",
    ".awb",
    ".wma",
    ".wmv",
    ".asf",
)
"""Suffixes of the files in a folder that are taken for recordings, in lower case."""

# What libsndfile's log says of a file that ends before its header says it should.
_CUT = re.compile(r"^ *(?:data|SSND|riff|Riff size|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
_OGG_PAGE = 27 + 255 + 255 * 255  # bytes of the largest page: header, segment table, segments (RFC 3533)
# Sizes that programs write into a header when they stream and cannot know the length.
_UNKNOWN_SIZE = 0x7FFF_0000


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFacts:
    """What a whole decoding of a sound file finds.

    Attributes:
        sample_rate: in Hz.
        channels: number of channels.
        frames: samples per channel that were decoded.
        signal_sha256: digest of sample rate, channels and decoded samples: equal sound has equal digests,
            whatever the container.
    """

    sample_rate: int
    channels: int
    frames: int
    signal_sha256: str

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate


def read_blocks(path: Path) -> Iterator[tuple[Signal, int]]:
    """Decodes a sound file block by block, whatever its suffix: by libsndfile, and what that cannot read by FFmpeg.

    Yields:
        pairs of a block in shape ``(n_samples, channels)`` and the sample rate in Hz, the same for all.

    Raises:
        AudioError: if the file is missing, not a sound file, empty, cut short, or holds values that are not
            finite numbers.
    """
    if not os.path.isfile(path):  # noqa: PTH113 - no error for any name
        # A pipe would be waited for, a device read for ever.
        raise AudioError(_why_unopened(path, "not a regular file"))
    head = read_head(path)
    demuxer = find_demuxer(head)
    if demuxer and find_reader(head) is not Reader.SOUNDFILE:
        blocks = read_container(path, demuxer)
    else:
        blocks = _read_soundfile(path, demuxer)
    frames = 0
    for block, rate in blocks:
        if frames == 0:
            _check_format(rate, block.shape[1])
        if not np.isfinite(block).all():
            msg = f"holds samples that are not finite numbers, from {frames / rate:.2f} s on"
            raise AudioError(msg)
        frames += len(block)
        yield block, rate
    if frames == 0:
        msg = "holds no samples"
        raise AudioError(msg)


def _check_format(rate: int, channels: int) -> None:
    if not (MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE and 1 <= channels <= MAX_CHANNELS):
        msg = f"header claims {rate} Hz, channels: {channels}: the file is damaged or not audio"
        raise AudioError(msg)


def _read_soundfile(path: Path, demuxer: str | None) -> Iterator[tuple[Signal, int]]:
    try:
        # As bytes, since a name need not be text on POSIX; Windows wants text. Absolute, since "-" means stdin.
        name = os.path.abspath(path)  # noqa: PTH100 - no error for any name
        stream = soundfile.SoundFile(name if os.name == "nt" else os.fsencode(name))
    except (soundfile.LibsndfileError, OSError, TypeError) as reason:
        # A codec that libsndfile does not know, in a container that FFmpeg knows too.
        blocks = read_container(path, demuxer) if demuxer else iter(())
        first = None
        with contextlib.suppress(AudioError):
            first = next(blocks, None)
        if first is None:
            raise AudioError(_why_unopened(path, reason)) from None
        yield first
        yield from blocks
        return
    with stream:
        rate, declared = stream.samplerate, stream.frames
        _check_format(rate, stream.channels)
        _refuse_cut(stream, path)
        frames = 0
        while True:
            try:
                block: Signal = stream.read(BLOCK, dtype="float32", always_2d=True)
            except (soundfile.LibsndfileError, OSError) as reason:
                detail = one_line(reason).removeprefix("Error : ")
                msg = f"cannot be decoded after {frames / rate:.2f} s: cut short or damaged ({detail})"
                raise AudioError(msg) from None
            if not len(block):
                break
            frames += len(block)
            yield block, rate
        if frames > 0 and 0 < declared < _UNKNOWN_SIZE and frames < declared - BLOCK // 16:
            # An MP3's declared length is an estimate, so a small gap says nothing.
            msg = f"cut short: {frames / rate:.2f} s could be decoded of {declared / rate:.2f} s declared"
            raise AudioError(msg)


def read_signal(path: Path) -> tuple[Signal, int]:
    """Decodes a whole sound file.

    Returns:
        the samples in shape ``(n_samples, channels)`` and the sample rate in Hz.

    Raises:
        AudioError: as `read_blocks`.
    """
    blocks, rate = [], 0
    for block, rate in read_blocks(path):  # noqa: B007 - the rate is that of the whole file
        blocks.append(block)
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks), rate


def read_facts(path: Path) -> AudioFacts:
    """Decodes a whole sound file in bounded memory, to know that it can be and what is in it.

    Raises:
        AudioError: as `read_blocks`.
    """
    digest, frames, channels, rate = hashlib.sha256(), 0, 0, 0
    for block, rate in read_blocks(path):  # noqa: B007 - the rate is that of the whole file
        digest.update(block.tobytes())
        frames += len(block)
        channels = block.shape[1]
    digest.update(f"{rate} {channels}".encode())
    return AudioFacts(sample_rate=rate, channels=channels, frames=frames, signal_sha256=digest.hexdigest())


def _why_unopened(path: Path, reason: object) -> str:
    if not os.path.exists(path):  # noqa: PTH110 - no error for any name
        return "no such file"
    if path.is_dir():
        return "is a folder, not a sound file"
    if not path.is_file():
        return "is not a regular file"
    try:
        with path.open("rb") as stream:
            start = stream.read(1)
    except OSError as denied:
        return f"cannot be read ({denied.strerror})"
    if not start:
        return "is an empty file (0 bytes)"
    detail = one_line(reason).rpartition("Error opening ")[2].partition(": ")[2] or one_line(reason)
    return f"is not a sound file that can be decoded ({detail.rstrip('.')})"


def _refuse_cut(stream: soundfile.SoundFile, path: Path) -> None:
    if cut := _CUT.search(stream.extra_info):
        declared, present = int(cut[1]), int(cut[2])
        if present < declared < _UNKNOWN_SIZE:
            msg = f"cut short: header declares {declared} bytes of samples, the file holds {present}"
            raise AudioError(msg)
    if stream.format == "OGG" and not _has_end_page(path):
        msg = "cut short: the Ogg stream has no end page"
        raise AudioError(msg)


def _has_end_page(path: Path) -> bool:
    """Whether the last page of an Ogg file is whole and marked as the end of its stream."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 2 * _OGG_PAGE))
        tail = stream.read()
    start = tail.rfind(b"OggS")
    header = tail[start : start + 27]
    if start < 0 or len(header) < 27:
        return False
    size = 27 + header[26] + sum(tail[start + 27 : start + 27 + header[26]])
    return bool(header[5] & 4) and start + size <= len(tail)
