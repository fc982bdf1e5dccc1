"""Splits a recording into preprocessed segments in bounded memory; used by training and prediction.

A recording up to `SegmentationConfig.max_whole` is one segment, as in training. A longer one is split at pauses found
by voice activity detection (VAD), into segments as long as those the network was trained on.
"""

from collections.abc import Callable, Generator, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sercli.audio.decode import AudioReader
from sercli.audio.preprocess import Preprocessed, StreamResampler, find_loud_frames, is_silent, preprocess
from sercli.audio.quality import QualityMeter, is_flat
from sercli.audio.signal import Blocks, Signal
from sercli.audio.splitters import ShoutDetector, Span, SpeechSplitter, WindowSplitter, count_speech
from sercli.audio.stereo import Route, find_route
from sercli.audio.vad import FRAME, HOP, SAMPLE_RATE, VoiceActivity, frame_power
from sercli.config import MIX, AudioConfig, Config
from sercli.progress import Heartbeat

SPEECH, WINDOWS = "speech", "windows"
METHODS = (SPEECH, WINDOWS)

MARGIN = 0.1  # seconds of signal added around a segment to keep soft onsets; trimming removes silence again
AUDIO_PER_HEARTBEAT = 60.0  # seconds of audio between two heartbeats


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationConfig(Config):
    """How recordings are split into segments; stored with models and feature stores.

    Attributes:
        method: ``speech`` splits at pauses, ``windows`` uses fixed windows.
        max_whole: Longest recording that stays one segment (s), 0 to 60; ignored for ``windows``.
        max_segment: Longest segment, or window length (s), 0.1 to 60.
        hop: Distance between window starts (s); ignored for ``speech``.
    """

    method: str = SPEECH
    max_whole: float = 8.0
    max_segment: float = 6.0
    hop: float = 6.0

    def __post_init__(self) -> None:
        self._require(condition=self.method in METHODS, name="method", expected=f"one of {', '.join(METHODS)}")
        self._require(condition=0 <= self.max_whole <= 60, name="max_whole", expected="0 to 60 s")
        self._require(condition=0.1 <= self.max_segment <= 60, name="max_segment", expected="0.1 to 60 s")
        self._require(condition=0.01 <= self.hop <= self.max_segment, name="hop", expected="0.01 s to max_segment")


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A preprocessed time span of one channel.

    Attributes:
        channel: ``mix``, or the channel number as text, from 1.
        start: Start, from the beginning of the recording (s).
        end: End, from the beginning of the recording (s).
        speech: Speech in the segment (s), its weight in the recording's result.
        onset: Start of `signal`, from the beginning of the recording (s).
        signal: Preprocessed signal, shape ``(n_samples,)``, at ``AudioConfig.sample_rate``.
    """

    channel: str
    start: float
    end: float
    speech: float
    onset: float
    signal: Signal


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSummary:
    """Summary of one channel after the last segment.

    Attributes:
        name: Name of the channel, as in `Segment.channel`.
        speech: Speech in its segments (s).
        warnings: How the channel differs from training data, as short phrases.
        unheard: Whether the VAD found no speech although the level varies; the whole channel is then scored.
    """

    name: str
    speech: float
    warnings: tuple[str, ...] = ()
    unheard: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Summary of a recording after the last segment.

    Attributes:
        duration: Duration (s).
        channels: Summaries of the channels, in order.
        warnings: Problems of the file, one line each.
    """

    duration: float
    channels: tuple[ChannelSummary, ...]
    warnings: tuple[str, ...] = ()


def read_segments(
    path: Path,
    audio: AudioConfig,
    segmentation: SegmentationConfig,
    *,
    channels: str = MIX,
    skip_vad: bool = False,
    listen: Callable[[Signal], None] | None = None,
) -> Iterator[Segment | Heartbeat | Summary]:
    """Yields the segments of a sound file.

    Args:
        path: Sound file.
        audio: Preprocessing parameters.
        segmentation: Segmentation parameters.
        channels: ``mix`` averages all channels, ``split`` keeps them apart; ``auto`` splits stereo files whose sides
            differ, such as calls, and mixes the rest.
        skip_vad: Whether to skip the VAD, which takes most of the time, for recordings of one segment that are clearly
            not silent. The segments are the same, but speech then counts all audible frames, and there are no warnings.
        listen: Called once with each decoded block, shape ``(n_samples, channels)``.

    Yields:
        The segments of each channel in time order, heartbeats between them, and a `Summary` at the end.

    Raises:
        AudioError: If nothing in the file can be decoded.
    """
    readers: list[AudioReader] = []

    def read() -> Blocks:
        readers.append(AudioReader(path))
        return _tap(readers[0], listen) if listen and len(readers) == 1 else readers[-1]

    for event in segment_blocks(read, audio, segmentation, channels=channels, skip_vad=skip_vad):
        # The first reader reads the whole file; later ones may read only a part.
        yield replace(event, warnings=readers[0].warnings) if isinstance(event, Summary) else event


def _tap(blocks: Blocks, listen: Callable[[Signal], None]) -> Blocks:
    for block, rate in blocks:
        listen(block)
        yield block, rate


def segment_blocks(
    read: Callable[[], Blocks],
    audio: AudioConfig,
    segmentation: SegmentationConfig,
    *,
    channels: str = MIX,
    skip_vad: bool = False,
) -> Iterator[Segment | Heartbeat | Summary]:
    """Like `read_segments`, for blocks returned by `read`, which may be called more than once."""
    summary = yield from _segment_once(read, audio, segmentation, channels, skip_vad=skip_vad)
    if summary is None:
        return
    unheard = {channel.name for channel in summary.channels if channel.unheard}
    if unheard:
        windows = replace(segmentation, method=WINDOWS, hop=segmentation.max_segment)
        again = yield from _segment_once(read, audio, windows, channels, only=unheard)
        speech = {channel.name: channel.speech for channel in again.channels} if again else {}
        merged = [
            replace(channel, speech=channel.speech + speech.get(channel.name, 0.0)) for channel in summary.channels
        ]
        summary = replace(summary, channels=tuple(merged))
    yield summary


def _segment_once(
    read: Callable[[], Blocks],
    audio: AudioConfig,
    segmentation: SegmentationConfig,
    channels: str,
    *,
    only: Set[str] | None = None,
    skip_vad: bool = False,
) -> Generator[Segment | Heartbeat, None, Summary | None]:
    """Yields the segments of one pass, of all channels or `only` some; returns the summary, None without blocks."""
    segmenter: _Segmenter | None = None
    route = Route(MIX)
    frames, reported, rate = 0, 0.0, 1
    waiting: Signal | None = None  # held back until it is known whether it is the last block
    for block, rate in read():
        if segmenter is None or waiting is None:
            route = find_route(read, channels, block.shape[1])
            segmenter = _Segmenter(route.names(block.shape[1]), rate, audio, segmentation, only, skip_vad=skip_vad)
        else:
            yield from segmenter.feed(route.apply(waiting), last=False)
        waiting = block
        frames += len(block)
        if frames / rate >= reported + AUDIO_PER_HEARTBEAT:
            reported = frames / rate
            yield Heartbeat(seconds=reported)
    if segmenter is None or waiting is None:
        return None
    yield from segmenter.feed(route.apply(waiting), last=True)
    return Summary(duration=frames / rate, channels=segmenter.summarize())


class _Segmenter:
    """Turns decoded samples of all channels into segments."""

    def __init__(
        self,
        names: Sequence[str],
        source_rate: int,
        audio: AudioConfig,
        config: SegmentationConfig,
        only: Set[str] | None,
        *,
        skip_vad: bool,
    ) -> None:
        self._audio, self._config, self._rate, self._skip_vad = audio, config, audio.sample_rate, skip_vad
        self._resample = StreamResampler(source_rate, audio.sample_rate, len(names))
        self._channels = [
            _Channel(name, audio, config, skipped=only is not None and name not in only) for name in names
        ]
        self._held = np.zeros((len(names), 0), np.float32)
        self._stream: VoiceActivity | None = None

    def feed(self, signals: Signal, *, last: bool) -> Iterator[Segment]:
        if not self._skip_vad:
            for channel, signal in zip(self._channels, signals, strict=True):
                channel.meter.count(signal)
        self._held = np.concatenate([self._held, self._resample(signals, last=last)], axis=1)
        if self._config.method == WINDOWS:
            for channel, signal in zip(self._channels, self._held, strict=True):
                yield from channel.cut_windows(signal, last=last)
            self._held = self._held[:, :0]
            return
        hop = max(1, round(HOP * self._rate / SAMPLE_RATE))
        if self._stream is None:
            # The same length whatever the block size, so that the level is the same too.
            opening = max(hop, int(self._config.max_whole * self._rate) + 1)
            if last and self._held.shape[1] <= self._config.max_whole * self._rate:
                yield from self._take_whole()
                return
            if not last and self._held.shape[1] < opening:
                return
            self._stream = VoiceActivity(self._held[:, :opening], self._rate)
        while self._held.shape[1] >= hop or last:
            part, self._held = self._held[:, :hop], self._held[:, hop:]
            ending = last and not self._held.shape[1]
            centered = self._stream.center(part)
            probabilities, power = self._stream.detect(centered, last=ending)
            for channel, *part_of_channel in zip(self._channels, centered, probabilities, power, strict=True):
                yield from channel.cut_speech(*part_of_channel, last=ending)
            if ending:
                return

    def _take_whole(self) -> Iterator[Segment]:
        """Emits each channel as one segment, unless it contains no speech."""
        signals = self._held - self._held.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
        if self._skip_vad and not self._is_flat(signals):
            for channel, signal in zip(self._channels, self._held, strict=True):
                yield from channel.take_whole(signal, np.zeros(0, np.float32), np.zeros(0, np.float32), sure=True)
            return
        probabilities, power = VoiceActivity(signals, self._rate).detect(signals, last=True)
        for number, channel in enumerate(self._channels):
            yield from channel.take_whole(self._held[number], probabilities[number], power[number])

    def _is_flat(self, signals: Signal) -> bool:
        """Whether the level of a channel does not show that there is sound, so that the VAD is needed."""
        if self._rate != SAMPLE_RATE:
            return True
        power = frame_power(np.pad(signals, ((0, 0), (0, -signals.shape[1] % FRAME))))
        return any(is_flat(channel) for channel in power)

    def summarize(self) -> tuple[ChannelSummary, ...]:
        return tuple(channel.summarize() for channel in self._channels)


class _Channel:
    """Buffer and state of one channel."""

    def __init__(self, name: str, audio: AudioConfig, config: SegmentationConfig, *, skipped: bool) -> None:
        self.name, self.meter = name, QualityMeter()
        self._audio, self._rate, self._skipped = audio, audio.sample_rate, skipped
        self._shouts = ShoutDetector()
        self._speech_splitter = SpeechSplitter(config.max_segment)
        window, hop = (max(1, round(seconds * self._rate)) for seconds in (config.max_segment, config.hop))
        self._window_splitter = WindowSplitter(window, hop)
        self._speech_method = config.method == SPEECH
        self._buffer = np.zeros(0, np.float32)
        self._origin = 0  # position of the first sample in the buffer
        self._total = 0  # number of samples so far
        self._speech = 0.0
        self._count = 0  # number of segments
        self._heard = True  # whether the VAD found speech where something was scored

    def take_whole(
        self, signal: Signal, probabilities: Signal, power: Signal, *, sure: bool = False
    ) -> Iterator[Segment]:
        self.meter.listen(power, probabilities)
        prepared = preprocess(signal, self._audio)
        speech = count_speech(self._shouts.feed(probabilities, power))
        if not len(prepared.signal) or not (speech or sure or not self.meter.is_silent):
            return
        self._heard = speech > 0
        if not self._heard:
            speech = (
                float(find_loud_frames(prepared.signal, self._audio.trim_db).mean()) * len(prepared.signal) / self._rate
            )
        yield self._make(prepared.start, prepared.stop, speech, prepared)

    def cut_speech(self, signal: Signal, probabilities: Signal, power: Signal, *, last: bool) -> Iterator[Segment]:
        self.meter.listen(power, probabilities)
        self._extend(signal)
        raised = self._shouts.feed(probabilities, power)
        for span in self._speech_splitter.feed(raised, last=last):
            yield from self._cut_span(span)
        self._forget(round((self._speech_splitter.needed_from - MARGIN) * self._rate))

    def _cut_span(self, span: Span) -> Iterator[Segment]:
        end = min(span.end, self._total / self._rate)  # the last frame may extend past the end of the recording
        start = max(0, round((span.start - MARGIN) * self._rate) - self._origin)
        stop = round((end + MARGIN) * self._rate) - self._origin
        prepared = preprocess(self._buffer[start:stop], self._audio)
        if len(prepared.signal) and end > span.start:
            first, last = round(span.start * self._rate), round(end * self._rate)
            yield self._make(first, last, min(span.speech, end - span.start), prepared, self._origin + start)

    def cut_windows(self, signal: Signal, *, last: bool) -> Iterator[Segment]:
        if self._skipped:
            return
        self._extend(signal)
        for start, stop, fresh in self._window_splitter.feed(len(signal), last=last):
            window = self._buffer[start - self._origin : stop - self._origin]
            prepared = preprocess(window, self._audio)
            if len(prepared.signal):
                rest = window[fresh - start :]
                share = 0.0 if is_silent(rest) else float(find_loud_frames(rest, self._audio.trim_db).mean())
                yield self._make(start, stop, share * len(rest) / self._rate, prepared, start)
        self._forget(self._window_splitter.needed_from)

    def _make(self, start: int, stop: int, speech: float, prepared: Preprocessed, origin: int = 0) -> Segment:
        """Makes a segment; `prepared` is of samples that begin at `origin`."""
        self._speech += speech
        self._count += 1
        times = {"start": start / self._rate, "end": stop / self._rate}
        onset = (origin + prepared.start) / self._rate
        return Segment(channel=self.name, speech=speech, onset=onset, signal=prepared.signal, **times)

    def _extend(self, signal: Signal) -> None:
        self._buffer = np.concatenate([self._buffer, signal])
        self._total += len(signal)

    def _forget(self, before: int) -> None:
        if before > self._origin:
            self._buffer, self._origin = self._buffer[before - self._origin :], before

    def summarize(self) -> ChannelSummary:
        unheard = self._speech_method and not self._count and self._total > 0 and not self.meter.is_silent
        has_speech = self._heard and not unheard
        warnings = self.meter.judge(self._speech, has_speech=has_speech) if self._count or not has_speech else ()
        return ChannelSummary(name=self.name, speech=self._speech, warnings=warnings, unheard=unheard)
