"""Decodes containers with FFmpeg, through PyAV."""

import math
from collections import Counter
from collections.abc import Iterator
from io import RawIOBase
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from sercli.audio.signal import BLOCK, Signal
from sercli.audio.sniff import measure_frame
from sercli.errors import AudioError
from sercli.files import one_line

if TYPE_CHECKING:
    import av

    Packet = av.Packet[av.AudioStream] | av.Packet[Any]

MIN_GAP = 0.1  # seconds that time stamps may be off before a gap is filled with silence
MAX_GAP = 3_600.0  # longest gap that is filled (s); a longer one is a damaged time stamp
MAX_SILENCE = 12 * 3_600.0  # most silence filled into one recording (s)
HAS_TIME_STAMPS = ("mov", "matroska", "ogg", "asf", "avi", "flv", "mpegts", "mpeg")  # formats with time stamps
STARTS_AT_ZERO = ("mov", "matroska", "asf")  # formats whose time begins at 0 rather than with the first packet
MAX_CHANNELS = 64
OGG_START = 60.0  # seconds; an Ogg stream that begins later was cut from a live stream
# Formats whose header declares the length; for others FFmpeg estimates it from the bit rate.
DECLARES_DURATION = ("flv", "wv", "tta", "ape", "nistsphere")


_DTYPES = {
    name: np.dtype(kind)
    for name, kind in (("u8", "u1"), ("s16", "i2"), ("s32", "i4"), ("s64", "i8"), ("flt", "f4"), ("dbl", "f8"))
}
Samples = npt.NDArray[Any]


class StreamDecoder:
    """Decodes the first audio track of a file block by block.

    The file is passed as an open stream with a named format, so that FFmpeg never opens other files, whatever the
    content says.

    Args:
        file: Binary stream to read.
        demuxer: FFmpeg's name of the format.

    Attributes:
        tracks: Number of decodable audio tracks; known after the first block.
        seconds: Duration decoded so far, including filled gaps (s).
        declared: Duration declared by the header (s); None if there is none.
        lost: Duration of packets that could not be decoded (s).
        error: Why decoding ended before the end of the file, in one line; empty if it reached the end.
        skipped: Duration of gaps that were too long to be filled (s).
        truncated: Whether the last packet of the track is incomplete.
    """

    def __init__(self, file: RawIOBase, demuxer: str) -> None:
        self._file, self._demuxer = file, demuxer
        self.tracks = 0
        self.seconds = self.skipped = self.lost = 0.0
        self.declared: float | None = None
        self._end = 0.0  # end of the last packet of any stream (s)
        self.error = ""
        self.truncated = False
        self._timed = demuxer in HAS_TIME_STAMPS
        self._start = 0.0  # time stamp of the first packet of any stream (s)
        self._rate = self._channels = 0
        self._frames = 0  # number of frames at the current rate
        self._earlier = 0.0  # seconds decoded at other rates
        self._silence = 0.0
        self._undecoded: Counter[float] = Counter()  # durations (s) of consecutive packets that could not be decoded
        self._origin: float | None = None  # offset added to time stamps (s)

    def __iter__(self) -> Iterator[tuple[Signal, int]]:
        """Yields blocks in shape ``(n_samples, channels)`` with their sample rates (Hz), which may change.

        Raises:
            AudioError: If the file cannot be opened or contains no sound.
        """
        import av  # slow to import and rarely needed

        try:
            with open_container(self._file, self._demuxer) as container:
                yield from self._join(self._decode(container))
        except (av.error.FFmpegError, OSError, ValueError, EOFError, MemoryError) as reason:
            detail = one_line(reason)
            msg = f"cannot be decoded: damaged, cut short or unsupported codec ({detail[:160]})"
            raise AudioError(msg) from None

    @property
    def comparable_duration(self) -> float:
        """Duration to compare with `declared` (s).

        It includes skipped gaps, and the end of other streams where `declared` covers all streams.
        """
        seconds = self.seconds + self.skipped
        return max(seconds, self._end) if self._demuxer == "matroska" else seconds

    def _decode(self, container: "av.container.InputContainer") -> Iterator[tuple[Samples, int]]:
        import av

        if not container.streams.audio:
            msg = "contains no audio stream"
            raise AudioError(msg)
        streams = _find_tracks(container)
        self.tracks = len(streams)
        if not streams:
            msg = "cannot be decoded: unsupported codec, or damaged header"
            raise AudioError(msg)
        stream = streams[0]
        # Recordings are already decoded in parallel.
        stream.codec_context.thread_type = av.codec.context.ThreadType.NONE
        self._find_declared(container, stream)
        packets = container.demux()
        last: Packet | None = None
        while True:
            try:
                packet = next(packets, None)
            except IndexError:  # from PyAV, for a packet of a stream that the header does not have
                packets = container.demux()
                continue
            except (av.error.FFmpegError, OSError, ValueError, EOFError, MemoryError) as reason:
                self.error, packet = one_line(reason)[:160], None
            if packet is None:
                break
            if self._demuxer == "matroska":
                self._note_end(packet)
            if packet.stream.index == stream.index and packet.size:
                yield from self._decode_packet(stream, packet)
                last = packet
        yield from self._decode_packet(stream, None)
        if stream.codec_context.name.startswith("amr"):
            yield from self._replace_undecoded(stream.codec_context.name)
        self.truncated = bool(self._undecoded) or (last is not None and _is_truncated(last, self._demuxer))

    def _decode_packet(self, stream: "av.AudioStream", packet: "Packet | None") -> Iterator[tuple[Samples, int]]:
        import av

        try:
            frames = stream.codec_context.decode(packet)
        except (av.error.FFmpegError, ValueError, EOFError, MemoryError):
            if packet is not None:
                self._undecoded[min(_to_seconds(packet.duration, packet.time_base) or 0.0, 1.0)] += 1
            return
        if packet is not None:
            yield from self._replace_undecoded(stream.codec_context.name)
        for frame in frames:
            if frame.samples and frame.sample_rate:
                yield from self._place(frame, stream.codec_context.channels)

    def _replace_undecoded(self, codec: str) -> Iterator[tuple[Samples, int]]:
        """Yields silence for packets that cannot be decoded, where time stamps will not fill the gap."""
        undecoded, self._undecoded = self._undecoded, Counter()
        for duration, count in undecoded.items():
            # Comfort noise is not damage: FFmpeg cannot decode that of AMR.
            if not codec.startswith("amr"):
                self.lost += count * max(duration, 0.02)
            if self._rate and not self._timed:
                yield from self._fill(count * duration)

    def _place(self, frame: "av.AudioFrame", channels: int) -> Iterator[tuple[Samples, int]]:
        samples = _to_samples(frame, channels)
        if frame.sample_rate != self._rate:
            self._earlier += self._frames / self._rate if self._rate else 0.0
            self._rate, self._frames = frame.sample_rate, 0
        self._channels = samples.shape[1]
        if self._timed and (time := _to_seconds(frame.pts, frame.time_base)) is not None:
            yield from self._catch_up(time)
        yield self._count(samples)

    def _catch_up(self, time: float) -> Iterator[tuple[Samples, int]]:
        """Yields silence up to the time stamp of the next frame."""
        if self._origin is None:
            late_ogg = self._demuxer == "ogg" and self._start < OGG_START
            self._origin = 0.0 if late_ogg or self._demuxer in STARTS_AT_ZERO else -self._start
        gap = time + self._origin - self.seconds
        if gap < -1.0:  # time restarts, or the sound runs ahead of the clock
            self._origin -= gap
        elif gap > MAX_GAP or self._silence + gap > MAX_SILENCE or self._exceeds(time + self._origin):
            self._origin -= gap
            self.skipped += gap
        elif gap > MIN_GAP:
            self._silence += gap
            yield from self._fill(gap)

    def _exceeds(self, time: float) -> bool:
        """Whether a time stamp far ahead is past the end of the file."""
        return self.declared is not None and time > max(self.declared, self.seconds) + 1.0

    def _fill(self, seconds: float) -> Iterator[tuple[Samples, int]]:
        left = round(seconds * self._rate)
        while left > 0:
            count = min(left, BLOCK)
            yield self._count(np.zeros((count, self._channels), np.float32))
            left -= count

    def _count(self, samples: Samples) -> tuple[Samples, int]:
        self._frames += len(samples)
        self.seconds = self._earlier + self._frames / self._rate
        return samples, self._rate

    def _join(self, blocks: Iterator[tuple[Samples, int]]) -> Iterator[tuple[Signal, int]]:
        """Joins frames of one format into blocks of about `BLOCK` samples, at full scale 1."""
        held: list[Samples] = []
        count, form = 0, (0, 0, np.dtype(np.float32))
        for samples, rate in blocks:
            new = (rate, samples.shape[1], samples.dtype)
            if held and (new != form or count >= BLOCK):
                yield _to_signal(np.concatenate(held)), form[0]
                held, count = [], 0
            held.append(samples)
            count, form = count + len(samples), new
        if held:
            yield _to_signal(np.concatenate(held)), form[0]

    def _note_end(self, packet: "Packet") -> None:
        time = _to_seconds(packet.pts, packet.time_base)
        if time is not None and packet.size:
            self._end = max(self._end, time + (_to_seconds(packet.duration, packet.time_base) or 0.0) - self._start)

    def _find_declared(self, container: "av.container.InputContainer", stream: "av.AudioStream") -> None:
        self._start = _start_of(container)
        whole = container.duration / 1e6 if container.duration else None
        if self._demuxer in DECLARES_DURATION:
            self.declared = whole
        elif (self._demuxer == "mov" and stream.frames) or (self._demuxer == "ogg" and len(container.streams) == 1):
            # No header declares the length of fragmented MP4; Ogg pages have positions.
            self.declared = self._find_end_of(stream)
        elif self._demuxer == "matroska":
            self.declared = _find_matroska_duration(self._file)
        elif self._demuxer == "asf":
            self.declared = _find_asf_duration(self._file)
        if self.declared is not None and not 0 < self.declared < 1e7:
            self.declared = None

    def _find_end_of(self, stream: "av.AudioStream") -> float | None:
        """Returns the time at which a track should end (s)."""
        duration = _to_seconds(stream.duration, stream.time_base)
        start = max(0.0, _to_seconds(stream.start_time, stream.time_base) or 0.0)
        late = start if self._demuxer == "mov" or start < OGG_START else 0.0
        return None if duration is None else duration + late


def open_container(file: RawIOBase, demuxer: str) -> "av.container.InputContainer":
    """Opens a stream with the named format.

    Raises:
        av.error.FFmpegError: If that fails; also ValueError or OSError.
    """
    import av

    av.logging.set_level(None)
    arguments: dict[str, Any] = {"format": demuxer}
    if int(av.__version__.partition(".")[0]) < 19:  # later versions never raise for text in an unknown encoding
        arguments["metadata_errors"] = "ignore"
    return cast("av.container.InputContainer", av.open(cast("Any", file), **arguments))


def _find_tracks(container: "av.container.InputContainer") -> "list[av.AudioStream]":
    """Returns the decodable audio tracks of a container."""
    return [
        stream
        for stream in container.streams.audio
        if stream.codec_context is not None
        and stream.codec_context.sample_rate
        and stream.codec_context.layout.channels
    ]


def _is_truncated(packet: "Packet", demuxer: str) -> bool:
    """Whether a packet is shorter than it should be."""
    return packet.is_corrupt or packet.size < measure_frame(bytes(packet)[:16], 0, demuxer)


def _start_of(container: "av.container.InputContainer") -> float:
    start = container.start_time
    return start / 1e6 if start is not None and abs(start) < 1 << 62 else 0.0


def _to_seconds(count: int | None, base: Any) -> float | None:
    if count is None or base is None or not base.denominator:
        return None
    seconds = count * base.numerator / base.denominator
    return seconds if math.isfinite(seconds) else None


def _to_samples(frame: "av.AudioFrame", channels: int) -> Samples:
    """Returns the samples of a frame in shape ``(n_samples, channels)``, with the type and scale of the codec."""
    from av.audio.plane import AudioPlane

    dtype = _DTYPES[frame.format.packed.name]
    # PyAV before 13 cannot count the channels of an unnamed layout.
    channels = len(frame.layout.channels) or max(1, channels)
    # Not frame.planes, which reads beyond the end where there are more than 7 channels.
    if frame.format.is_planar:
        planes = [np.frombuffer(AudioPlane(frame, n), dtype, frame.samples) for n in range(channels)]  # type: ignore[call-overload]
        return planes[0][:, None] if len(planes) == 1 else np.stack(planes, axis=1)
    packed: Samples = np.frombuffer(AudioPlane(frame, 0), dtype, frame.samples * channels)  # type: ignore[call-overload]
    return packed.reshape(-1, channels)


def _to_signal(samples: Samples) -> Signal:
    """Converts samples to float at full scale 1."""
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    if samples.dtype.kind == "i":
        scale = 1.0 / (1 << (8 * samples.dtype.itemsize - 1))
        return (samples * scale).astype(np.float32)
    signal: Signal = np.ascontiguousarray(samples, np.float32)
    return signal


def _read_head(file: RawIOBase) -> bytes:
    """Reads the first bytes of a file, where containers keep their headers, and leaves its position as it was."""
    position = file.tell()
    file.seek(0)
    head = file.read(1 << 16)
    file.seek(position)
    return head


def _find_matroska_duration(file: RawIOBase) -> float | None:
    """Reads the duration (s) from the segment information; None for a live stream."""
    head = _read_head(file)
    info = head.find(b"\x15\x49\xa9\x66")
    cluster = head.find(b"\x1f\x43\xb6\x75")
    if info < 0:
        return None
    info_body = head[info : cluster if cluster > info else None]
    scale = 1_000_000
    at = info_body.find(b"\x2a\xd7\xb1")
    if at >= 0 and b"\x81" <= info_body[at + 3 : at + 4] <= b"\x88":
        scale = int.from_bytes(info_body[at + 4 : at + 4 + (info_body[at + 3] & 15)], "big")
    for sign, kind in ((b"\x44\x89\x88", ">f8"), (b"\x44\x89\x84", ">f4")):
        at = info_body.find(sign)
        value = info_body[at + 3 : at + 3 + int(kind[2:])]
        if at >= 0 and len(value) == int(kind[2:]):
            seconds = float(np.frombuffer(value, kind)[0]) * scale / 1e9
            return seconds if math.isfinite(seconds) else None
    return None


def _find_asf_duration(file: RawIOBase) -> float | None:
    """Reads the play duration without preroll (s) from the file properties object; None for a live stream."""
    head = _read_head(file)
    at = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if at < 0 or len(head) < at + 88:
        return None
    duration, _, preroll = np.frombuffer(head, "<u8", 3, at + 64).tolist()
    return float(duration / 1e7 - preroll / 1e3)
