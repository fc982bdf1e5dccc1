"""Decodes sound files; the only place that opens them."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from sercli.audio.conform import conform
from sercli.audio.container import MAX_CHANNELS, StreamDecoder, find_tracks, open_container
from sercli.audio.lengths import count_flac_samples, count_mpeg_samples, count_vorbis_samples, is_torn_ogg
from sercli.audio.parts import find_parts
from sercli.audio.signal import BLOCK, Signal
from sercli.audio.sniff import (
    HEAD_BYTES,
    SEARCHED,
    SUFFIXES,
    UNREAD_SUFFIXES,
    RawFormat,
    find_demuxer,
    find_mpeg,
    find_raw_format,
    measure_id3,
    read_head,
)
from sercli.audio.source import Part, PartStream
from sercli.errors import AudioError
from sercli.files import one_line

__all__ = [
    "SUFFIXES",
    "UNREAD_SUFFIXES",
    "AudioFacts",
    "AudioReader",
    "count_tracks",
    "read_blocks",
    "read_facts",
    "read_signal",
]

MIN_SAMPLE_RATE = 1_000  # Hz; below it a header is damaged, or nothing of speech is left
MAX_SAMPLE_RATE = 768_000  # Hz; the highest rate that audio interfaces offer
EXACT = 0.02  # seconds by which lengths may differ that count bytes or samples
ROUNDED = 0.15  # seconds by which they may differ where containers and codecs round them
PADDED = 0.25  # seconds by which they may differ where a codec pads the sound
SHORT_OGG = 1 << 19  # bytes of an Ogg file that is decoded at once
LOST = 0.1  # seconds that may be lost where recordings were joined before a warning
CUT = "cut short"  # how the warning of a file that ends too early begins
DAMAGED = "damaged"  # how the warning of a file begins of which something could not be decoded

_SOUNDFILE_ERRORS = (soundfile.LibsndfileError, OSError, TypeError, RuntimeError)

_BY_SOUNDFILE = ("wav", "w64", "aiff", "au", "caf", "flac")
_MULTITRACK = ("mov", "matroska", "ogg", "mpegts", "mpeg", "avi", "asf")


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFacts:
    """What decoding all of a sound file finds.

    Attributes:
        sample_rate: In Hz.
        channels: Number of channels.
        frames: Samples per channel.
        signal_sha256: Digest of sample rate, channels and decoded samples: the same sound has the same digest,
            whatever its container.
    """

    sample_rate: int
    channels: int
    frames: int
    signal_sha256: str

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate


@dataclass(frozen=True, slots=True)
class _Source:
    """How a file is decoded: its format by FFmpeg's name, where it begins, or which headerless format it is."""

    demuxer: str = ""
    start: int = 0
    raw: RawFormat | None = None


@dataclass(slots=True)
class _Length:
    """What a header says of the length of a recording, and how much there is, in seconds.

    Attributes:
        declared: By the header.
        found: By decoding.
        tolerance: By which they may differ.
        whole: Whether the file has all bytes that it should have, so that a difference is an error of the header.
    """

    declared: float
    found: float
    tolerance: float
    whole: bool = False


class AudioReader:
    """Decodes a sound file block by block, up to its end, whatever its header says of its length.

    WAV, AIFF, AU, CAF, Wave64 and FLAC are decoded by libsndfile, all else by FFmpeg. Recordings that were joined in
    one file are read one after the other. Gaps in the time stamps are filled with silence.

    Args:
        path: The file. Its content decides on the format; the suffix does for headerless telephone formats.
        track: Which audio track of a container to decode, from 0.

    Attributes:
        warnings: What is odd about the file, one line each; complete after iteration.
    """

    def __init__(self, path: Path, *, track: int = 0) -> None:
        self._path, self._track = Path(path), track
        self.warnings: tuple[str, ...] = ()
        self._lengths: list[_Length] = []
        self._torn = False

    def __iter__(self) -> Iterator[tuple[Signal, int]]:
        """Yields blocks in shape ``(n_samples, channels)`` and the sample rate in Hz, the same for all.

        Parts of the file with another rate or number of channels are converted to those of the first.

        Raises:
            AudioError: If the file is missing, not a sound file, holds no sound that can be decoded, or holds values
                that are not finite numbers.
        """
        self.warnings, self._lengths, self._torn = (), [], False
        frames, rate = 0, 1
        for block, rate in conform(self._decode()):
            if not np.isfinite(block).all():
                msg = f"holds samples that are not finite numbers, from {frames / rate:.2f} s on"
                raise AudioError(msg)
            frames += len(block)
            yield block, rate
        if frames == 0:
            msg = "holds no samples"
            raise AudioError(msg)
        self._judge()

    def _decode(self) -> Iterator[tuple[Signal, int]]:
        if not os.path.isfile(self._path):  # noqa: PTH113 - no error for any name
            # A pipe would be waited for, a device read for ever.
            raise AudioError(_why_unopened(self._path, "not a regular file"))
        source = _identify(self._path)
        try:
            parts = find_parts(self._path, source.demuxer, source.start)
        except OSError as reason:
            raise AudioError(_why_unopened(self._path, reason)) from None
        if self._track and source.demuxer not in _MULTITRACK:
            msg = f"holds 1 audio track: track {self._track + 1} is missing"
            raise AudioError(msg)
        heard = 0.0
        for number, part in enumerate(parts):
            try:
                for block, rate in self._decode_part(source, part):
                    _check_format(rate, block.shape[1])
                    heard += len(block) / rate
                    yield block, rate
            except AudioError:
                if not heard:
                    if number < len(parts) - 1:
                        continue
                    raise
                self._warn(f"{DAMAGED} after {heard:.1f} s: the rest cannot be decoded")

    def _decode_part(self, source: _Source, part: Part) -> Iterator[tuple[Signal, int]]:
        if source.raw is not None and source.raw.subtype:
            yield from self._read_raw(source.raw)
        elif source.demuxer in _BY_SOUNDFILE:
            yield from self._read_counted(source.demuxer, part)
        elif source.demuxer == "ogg" and not self._track:
            yield from self._read_ogg(part)
        elif source.demuxer:
            yield from self._read_stream(source.demuxer, part)
        else:
            yield from self._read_unknown(part)

    def _read_raw(self, raw: RawFormat) -> Iterator[tuple[Signal, int]]:
        with (
            open(os.fspath(self._path), "rb") as file,  # noqa: PTH123 - any name
            soundfile.SoundFile(
                file, samplerate=raw.sample_rate, channels=1, format="RAW", subtype=raw.subtype, endian="LITTLE"
            ) as stream,
        ):
            yield from _read(stream)

    def _read_counted(self, demuxer: str, part: Part) -> Iterator[tuple[Signal, int]]:
        """Reads formats whose headers count bytes or samples by libsndfile, and by FFmpeg what that cannot."""
        if part.channels > MAX_CHANNELS:  # as many make FFmpeg crash
            msg = f"header claims {part.channels} channels: the file is damaged or not audio"
            raise AudioError(msg)
        frames, total, reason = 0, None, ""
        trusted = True
        if demuxer == "flac":
            with PartStream(self._path, part) as file:
                total, trusted = count_flac_samples(file)
        if trusted:
            try:
                with _open_soundfile(self._path, part) as stream:
                    for block, rate in _read(stream):
                        frames += len(block)
                        yield block, rate
                    if total is not None and frames >= total:
                        self._lengths.append(_Length(total / stream.samplerate, frames / stream.samplerate, EXACT))
                    self._note_bytes(part, frames / stream.samplerate)
            except _SOUNDFILE_ERRORS as error:
                trusted, reason = False, one_line(error)
        if not trusted or (total is not None and frames < total):
            yield from self._resume(demuxer, part, frames, reason)

    def _read_ogg(self, part: Part) -> Iterator[tuple[Signal, int]]:
        """Reads a short, whole Vorbis stream by libsndfile, to the sample, and all else by FFmpeg.

        FFmpeg leaves out the first milliseconds of a stream and keeps the padding at its end, which only matters
        for utterances; libsndfile passes over damaged pages in silence.
        """
        blocks: list[tuple[Signal, int]] = []
        with PartStream(self._path, part) as file:
            total = count_vorbis_samples(file) if file.seek(0, os.SEEK_END) <= SHORT_OGG else None
        if total:
            with contextlib.suppress(*_SOUNDFILE_ERRORS), _open_soundfile(self._path, part) as stream:
                blocks = list(_read(stream))
        if blocks and sum(len(block) for block, _ in blocks) == total:
            yield from blocks
        else:
            yield from self._read_stream("ogg", part)

    def _resume(self, demuxer: str, part: Part, done: int, reason: str) -> Iterator[tuple[Signal, int]]:
        """Decodes by FFmpeg what libsndfile cannot, leaving out the samples per channel that it has decoded."""
        name = "wav" if demuxer == "w64" and not part.as_is else demuxer
        frames, rate = 0, 1
        try:
            for block, rate in self._read_stream(name, part):
                skip = min(len(block), max(0, done - frames))
                frames += len(block)
                if skip < len(block):
                    yield block[skip:], rate
        except AudioError as error:
            if not done:
                raise AudioError(_why_unopened(self._path, reason or error)) from None
        self._note_bytes(part, max(done, frames) / rate)

    def _read_stream(self, demuxer: str, part: Part) -> Iterator[tuple[Signal, int]]:
        with PartStream(self._path, part) as file:
            total, whole, tolerance = None, False, EXACT
            if demuxer == "mp3":
                (total, whole), tolerance = count_mpeg_samples(file), PADDED
            elif demuxer == "flac":
                total, _ = count_flac_samples(file)
            elif demuxer == "ogg":
                self._torn = is_torn_ogg(file)
            decoder = StreamDecoder(file, demuxer, track=self._track)
            rate = 0
            for block, rate in decoder:
                yield block, rate
        self._note_stream(decoder)
        if total and rate:
            self._lengths.append(_Length(total / rate, decoder.seconds, tolerance, whole))
        elif decoder.declared:
            self._lengths.append(_Length(decoder.declared, decoder.found, ROUNDED))

    def _read_unknown(self, part: Part) -> Iterator[tuple[Signal, int]]:
        if self._path.suffix.lower() in UNREAD_SUFFIXES:
            msg = f"{self._path.suffix.lower()} is not supported: convert it to WAV"
            raise AudioError(msg)
        try:
            # As a stream, since libsndfile takes any file for headerless samples by some suffixes.
            with PartStream(self._path, part) as file, soundfile.SoundFile(file) as stream:
                if stream.format == "MP3":
                    # It has no three frames in a row, and libsndfile would believe the length in its header.
                    raise AudioError(_why_unopened(self._path, "its frames of MPEG audio are damaged"))
                yield from _read(stream)
        except _SOUNDFILE_ERRORS as reason:
            raise AudioError(_why_unopened(self._path, reason)) from None

    def _note_bytes(self, part: Part, seconds: float) -> None:
        if part.declared is not None and part.present:
            self._lengths.append(_Length(part.declared / part.present * seconds, seconds, EXACT))

    def _note_stream(self, decoder: StreamDecoder) -> None:
        if decoder.tracks > 1 and self._track == 0:
            self._warn(f"{decoder.tracks} audio tracks, only the first was heard")
        if decoder.left_out:
            self._warn(f"gaps of {decoder.left_out:.0f} s in the time stamps were left out: they seem to be damaged")
        if decoder.reason:
            self._warn(f"{DAMAGED} after {decoder.seconds:.1f} s: {decoder.reason}")
        if decoder.lost > LOST:
            self._warn(f"{DAMAGED}: {decoder.lost:.1f} s could not be decoded")
        self._torn = self._torn or decoder.torn

    def _judge(self) -> None:
        """Warns if the lengths that headers declare, summed over joined recordings, are not those that were found."""
        declared = sum(length.declared for length in self._lengths)
        found = sum(length.found for length in self._lengths)
        tolerance = max((length.tolerance for length in self._lengths), default=0.0)
        whole = bool(self._lengths) and all(length.whole for length in self._lengths)
        if found - declared > tolerance or (whole and declared - found > tolerance):
            self._warn("header says {} s, decoded {} s".format(*_format_pair(declared, found)))
        elif declared - found > tolerance:
            self._warn(CUT + ": {} of {} s".format(*_format_pair(found, declared)))
        elif self._torn:
            self._warn(f"{CUT}: the file ends in the middle of a packet")

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings = (*self.warnings, one_line(text))


def read_blocks(path: Path) -> Iterator[tuple[Signal, int]]:
    """Decodes a sound file block by block, as `AudioReader` does, without its warnings.

    Yields:
        pairs of a block in shape ``(n_samples, channels)`` and the sample rate in Hz, the same for all.

    Raises:
        AudioError: As iterating an `AudioReader`.
    """
    yield from AudioReader(path)


def read_signal(path: Path) -> tuple[Signal, int]:
    """Decodes a whole sound file.

    Returns:
        the samples in shape ``(n_samples, channels)`` and the sample rate in Hz.

    Raises:
        AudioError: As iterating an `AudioReader`.
    """
    blocks, rate = [], 0
    for block, rate in read_blocks(path):  # noqa: B007 - the rate is that of the whole file
        blocks.append(block)
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks), rate


def read_facts(path: Path) -> AudioFacts:
    """Decodes a whole sound file in bounded memory, to know that it can be used and what is in it.

    Raises:
        AudioError: As iterating an `AudioReader`, and if the file is cut short.
    """
    digest, frames, channels, rate = hashlib.sha256(), 0, 0, 0
    reader = AudioReader(path)
    for block, rate in reader:  # noqa: B007 - the rate is that of the whole file
        digest.update(block.tobytes())
        frames += len(block)
        channels = block.shape[1]
    for warning in reader.warnings:
        if warning.startswith((CUT, DAMAGED)):
            raise AudioError(warning)
    digest.update(f"{rate} {channels}".encode())
    return AudioFacts(sample_rate=rate, channels=channels, frames=frames, signal_sha256=digest.hexdigest())


def count_tracks(path: Path) -> int:
    """Returns how many audio tracks of a file can be decoded; 1 for a file that cannot be opened, too."""
    import av

    source = _identify(path)
    if source.demuxer not in _MULTITRACK:
        return 1
    try:
        part = find_parts(path, source.demuxer, source.start)[0]
        with PartStream(path, part) as file, open_container(file, source.demuxer) as container:
            return max(1, len(find_tracks(container)))
    except (av.error.FFmpegError, OSError, ValueError, EOFError, MemoryError):
        return 1


def _identify(path: Path) -> _Source:
    """Finds how a file is decoded, by its content; by its suffix only where that names a headerless format."""
    head = read_head(path)
    if demuxer := find_demuxer(head):
        return _Source(demuxer)
    if raw := find_raw_format(path.suffix, head):
        return _Source(raw.demuxer, raw=raw)
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
        return _Source()
    zeros = len(data) - len(data.lstrip(b"\0"))
    for skipped in (0, zeros):
        if demuxer := find_demuxer(data[skipped : skipped + HEAD_BYTES]):
            return _Source(demuxer, start + skipped)
    if found := find_mpeg(data, whole=whole):
        return _Source(found[0], start + found[1])
    return _Source()


def _open_soundfile(path: Path, part: Part) -> soundfile.SoundFile:
    if not part.as_is:
        return soundfile.SoundFile(PartStream(path, part))
    # As bytes, since a name need not be text on POSIX; Windows wants text. Absolute, since "-" means stdin.
    name = os.path.abspath(path)  # noqa: PTH100 - no error for any name
    return soundfile.SoundFile(name if os.name == "nt" else os.fsencode(name))


def _read(stream: soundfile.SoundFile) -> Iterator[tuple[Signal, int]]:
    while True:
        block: Signal = stream.read(BLOCK, dtype="float32", always_2d=True)
        if not len(block):
            return
        yield block, stream.samplerate


def _check_format(rate: int, channels: int) -> None:
    if not (MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE and 1 <= channels <= MAX_CHANNELS):
        msg = f"header claims {rate} Hz and {channels} channels: the file is damaged or not audio"
        raise AudioError(msg)


def _format_pair(one: float, other: float) -> tuple[str, str]:
    """Two lengths in seconds, with as many decimals as it takes to tell them apart."""
    decimals = next((n for n in (1, 2) if f"{one:.{n}f}" != f"{other:.{n}f}"), 3)
    return f"{one:.{decimals}f}", f"{other:.{decimals}f}"


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
