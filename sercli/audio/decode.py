"""Decodes sound files, block by block."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from sercli.audio.conform import conform
from sercli.audio.ffmpeg import MAX_CHANNELS, StreamDecoder
from sercli.audio.lengths import (
    BYTE_TOLERANCE,
    CODEC_TOLERANCE,
    CONTAINER_TOLERANCE,
    TRUNCATED,
    Length,
    compare_lengths,
    count_damaged_pages,
    count_flac_samples,
    count_mpeg_samples,
    count_vorbis_samples,
    is_truncated_ogg,
)
from sercli.audio.parts import find_parts
from sercli.audio.signal import BLOCK, Signal
from sercli.audio.sniff import UNSUPPORTED_SUFFIXES, RawFormat, SoundFormat, identify
from sercli.audio.source import Part, PartStream
from sercli.errors import AudioError
from sercli.files import one_line

MIN_SAMPLE_RATE = 1_000  # Hz; a lower rate means a damaged header or no usable speech
MAX_SAMPLE_RATE = 768_000  # Hz; the highest rate of audio interfaces
SHORT_OGG = 1 << 19  # size of an Ogg file that is decoded at once (bytes)
MAX_LOST = 0.1  # seconds that may be lost at the joints of concatenated recordings without a warning
DAMAGED = "damaged"  # start of the warning about a file that could only be partly decoded

_SOUNDFILE_ERRORS = (soundfile.LibsndfileError, OSError, TypeError, RuntimeError)

_BY_SOUNDFILE = ("wav", "w64", "aiff", "au", "caf", "flac")


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFacts:
    """Summary of a completely decoded sound file.

    Attributes:
        sample_rate: Sample rate (Hz).
        channels: Number of channels.
        frames: Samples per channel.
        signal_sha256: Hash of sample rate, channels and decoded samples, equal for the same sound in any container.
    """

    sample_rate: int
    channels: int
    frames: int
    signal_sha256: str

    @property
    def duration(self) -> float:
        """Duration (s)."""
        return self.frames / self.sample_rate


class AudioReader:
    """Decodes a sound file block by block, to its end, whatever length its header declares.

    libsndfile decodes WAV, AIFF, AU, CAF, Wave64 and FLAC, FFmpeg all else. Concatenated recordings are read one after
    the other. Gaps in the time stamps are filled with silence.

    Args:
        path: Sound file; its content determines the format, its suffix only for headerless telephone formats.

    Attributes:
        warnings: Problems of the file, one line each; complete after iteration.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        self.warnings: tuple[str, ...] = ()
        self._lengths: list[Length] = []
        self._truncated = False

    def __iter__(self) -> Iterator[tuple[Signal, int]]:
        """Yields blocks in shape ``(n_samples, channels)`` with the sample rate (Hz), the same for all.

        Parts of the file with another rate or number of channels are converted to those of the first part.

        Raises:
            AudioError: If the file is missing, is not a sound file, has no decodable sound, or has samples that are not
                finite.
        """
        self.warnings, self._lengths, self._truncated = (), [], False
        frames = 0
        for block, rate in conform(self._decode()):
            if not np.isfinite(block).all():
                first = frames + int((~np.isfinite(block).all(axis=1)).argmax())
                msg = f"contains samples that are not finite numbers, the first at {first / rate:.2f} s"
                raise AudioError(msg)
            frames += len(block)
            yield block, rate
        if frames == 0:
            msg = "contains no samples"
            raise AudioError(msg)
        self._check_length()

    def _decode(self) -> Iterator[tuple[Signal, int]]:
        if not os.path.isfile(self._path):  # noqa: PTH113 - no error for any name
            # Reading a pipe would block, and reading a device might never end.
            raise AudioError(_why_unopened(self._path, "not a regular file"))
        source = identify(self._path)
        try:
            parts = find_parts(self._path, source.demuxer, source.start)
        except OSError as reason:
            raise AudioError(_why_unopened(self._path, reason)) from None
        decoded = 0.0
        for number, part in enumerate(parts):
            try:
                for block, rate in self._decode_part(source, part):
                    _check_format(rate, block.shape[1])
                    decoded += len(block) / rate
                    yield block, rate
            except AudioError:
                if number < len(parts) - 1:
                    self._warn(
                        f"{DAMAGED} after {decoded:.1f} s: part {number + 1} of {len(parts)} cannot be fully decoded"
                    )
                elif decoded:
                    self._warn(f"{DAMAGED} after {decoded:.1f} s: the rest cannot be decoded")
                else:
                    raise

    def _decode_part(self, source: SoundFormat, part: Part) -> Iterator[tuple[Signal, int]]:
        if source.raw is not None and source.raw.subtype:
            yield from self._read_raw(source.raw)
        elif source.demuxer in _BY_SOUNDFILE:
            yield from self._read_counted(source.demuxer, part)
        elif source.demuxer == "ogg":
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
        """Reads formats with a declared length with libsndfile, and with FFmpeg what libsndfile cannot read."""
        if part.channels > MAX_CHANNELS:  # more channels crash FFmpeg
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
                        seconds = frames / stream.samplerate
                        self._lengths.append(Length(total / stream.samplerate, seconds, BYTE_TOLERANCE))
                    self._add_length(part, frames / stream.samplerate)
            except _SOUNDFILE_ERRORS as error:
                trusted, reason = False, one_line(error)
        if not trusted or (total is not None and frames < total):
            yield from self._resume(demuxer, part, frames, reason)

    def _read_ogg(self, part: Part) -> Iterator[tuple[Signal, int]]:
        """Reads a short, complete Vorbis stream with libsndfile, sample-exactly, and all else with FFmpeg.

        FFmpeg omits the first milliseconds of a stream and keeps the padding at its end, which only matters for
        utterances. Both skip damaged pages silently.
        """
        blocks: list[tuple[Signal, int]] = []
        with PartStream(self._path, part) as file:
            total = count_vorbis_samples(file) if file.seek(0, os.SEEK_END) <= SHORT_OGG else None
            whole = bool(total) and not count_damaged_pages(file)
        if whole:
            with contextlib.suppress(*_SOUNDFILE_ERRORS), _open_soundfile(self._path, part) as stream:
                blocks = list(_read(stream))
        if blocks and sum(len(block) for block, _ in blocks) == total:
            yield from blocks
        else:
            yield from self._read_stream("ogg", part)

    def _resume(self, demuxer: str, part: Part, done: int, reason: str) -> Iterator[tuple[Signal, int]]:
        """Decodes with FFmpeg what libsndfile cannot, skipping the samples per channel already decoded."""
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
        self._add_length(part, max(done, frames) / rate)

    def _read_stream(self, demuxer: str, part: Part) -> Iterator[tuple[Signal, int]]:
        with PartStream(self._path, part) as file:
            total, whole, tolerance = None, False, BYTE_TOLERANCE
            if demuxer == "mp3":
                (total, whole), tolerance = count_mpeg_samples(file), CODEC_TOLERANCE
            elif demuxer == "flac":
                total, _ = count_flac_samples(file)
            elif demuxer == "ogg":
                self._truncated = is_truncated_ogg(file)
                if damaged := count_damaged_pages(file):
                    pages = f"{damaged} pages fail" if damaged > 1 else "a page fails"
                    self._warn(f"{DAMAGED}: {pages} the checksum, and the sound in between is lost")
            decoder = StreamDecoder(file, demuxer)
            rate = 0
            for block, rate in decoder:
                yield block, rate
        self._add_warnings(decoder)
        if total and rate:
            self._lengths.append(Length(total / rate, decoder.seconds, tolerance, whole))
        elif decoder.declared:
            self._lengths.append(Length(decoder.declared, decoder.comparable_duration, CONTAINER_TOLERANCE))

    def _read_unknown(self, part: Part) -> Iterator[tuple[Signal, int]]:
        if self._path.suffix.lower() in UNSUPPORTED_SUFFIXES:
            msg = f"{self._path.suffix.lower()} is not supported: convert it to WAV"
            raise AudioError(msg)
        try:
            # As a stream, because libsndfile treats files with some suffixes as headerless.
            with PartStream(self._path, part) as file, soundfile.SoundFile(file) as stream:
                if stream.format == "MP3":
                    # No three frames in a row, and libsndfile would trust the length in its header.
                    raise AudioError(_why_unopened(self._path, "its frames of MPEG audio are damaged"))
                yield from _read(stream)
        except _SOUNDFILE_ERRORS as reason:
            raise AudioError(_why_unopened(self._path, reason)) from None

    def _add_length(self, part: Part, seconds: float) -> None:
        if part.declared is not None and part.present:
            self._lengths.append(Length(part.declared / part.present * seconds, seconds, BYTE_TOLERANCE))

    def _add_warnings(self, decoder: StreamDecoder) -> None:
        if decoder.tracks > 1:
            self._warn(f"{decoder.tracks} audio tracks, only the first was used")
        if decoder.skipped:
            self._warn(f"skipped gaps of {decoder.skipped:.0f} s: the time stamps seem to be damaged")
        if decoder.error:
            self._warn(f"{DAMAGED} after {decoder.seconds:.1f} s: {decoder.error}")
        if decoder.lost > MAX_LOST:
            self._warn(f"{DAMAGED}: {decoder.lost:.1f} s could not be decoded")
        self._truncated = self._truncated or decoder.truncated

    def _check_length(self) -> None:
        """Warns if the decoded length is not the declared one."""
        if warning := compare_lengths(self._lengths):
            self._warn(warning)
        elif self._truncated:
            self._warn(f"{TRUNCATED}: the file ends in the middle of a packet")

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings = (*self.warnings, one_line(text))


def read_signal(path: Path) -> tuple[Signal, int]:
    """Decodes a whole sound file.

    Returns:
        The samples in shape ``(n_samples, channels)`` and the sample rate (Hz).

    Raises:
        AudioError: If iterating an `AudioReader` raises it.
    """
    blocks, rate = [], 0
    for block, rate in AudioReader(path):  # noqa: B007 - the rate is that of the whole file
        blocks.append(block)
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks), rate


def read_facts(path: Path) -> AudioFacts:
    """Decodes a whole sound file in bounded memory, to check it and describe its sound.

    Raises:
        AudioError: If iterating an `AudioReader` raises it, or the file is truncated.
    """
    digest, frames, channels, rate = hashlib.sha256(), 0, 0, 0
    reader = AudioReader(path)
    for block, rate in reader:  # noqa: B007 - the rate is that of the whole file
        digest.update(block.tobytes())
        frames += len(block)
        channels = block.shape[1]
    for warning in reader.warnings:
        if warning.startswith((TRUNCATED, DAMAGED)):
            raise AudioError(warning)
    digest.update(f"{rate} {channels}".encode())
    return AudioFacts(sample_rate=rate, channels=channels, frames=frames, signal_sha256=digest.hexdigest())


def _open_soundfile(path: Path, part: Part) -> soundfile.SoundFile:
    if not part.as_is:
        return soundfile.SoundFile(PartStream(path, part))
    return soundfile.SoundFile(encode_name(path))


def encode_name(path: Path) -> str | bytes:
    """Encodes a path for soundfile: as bytes, because POSIX names need not be text; Windows needs text."""
    name = os.path.abspath(path)  # noqa: PTH100 - no error for any name; absolute, because "-" means stdin
    return name if os.name == "nt" else os.fsencode(name)


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
