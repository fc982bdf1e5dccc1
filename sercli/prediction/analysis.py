"""The work on one recording that needs no network, as a stream: decoding, voice activity, segments, features."""

import contextlib
import hashlib
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from sercli.audio.cutters import AUTO, MIX, PADDING, SPLIT, Cutting, StreamResampler, VoiceCutter, WindowCutter
from sercli.audio.decode import read_blocks
from sercli.audio.preprocess import preprocess, to_mono
from sercli.audio.segments import Segment
from sercli.audio.signal import Signal
from sercli.audio.stereo import SAME, correlate_sides
from sercli.config import AudioConfig
from sercli.errors import AudioError, SercliError
from sercli.features.frontend import FeatureConfig, get_front_end
from sercli.files import HASH_BLOCK, one_line
from sercli.prediction.discovery import Recording

Matrix = npt.NDArray[np.float32]

REPORT_EVERY = 60.0  # seconds of audio after which a sign of life is given
HASH_SIGN = 1.0  # seconds after which one is given while a file is only read


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisConfig:
    """All that decides what is found in a recording.

    Attributes:
        audio: preprocessing, that of the model.
        features: of the front end, likewise.
        cutting: which parts.
    """

    audio: AudioConfig
    features: FeatureConfig
    cutting: Cutting = field(default_factory=Cutting)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A segment ready for the network.

    Attributes:
        channel: that it is of, as the report calls it.
        segment: where it lies.
        features: in shape ``(n_features, n_frames)``.
    """

    channel: str
    segment: Segment
    features: Matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A sign of life.

    Attributes:
        seconds: of audio that are done.
    """

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """What is known of a channel when all of it was heard.

    Attributes:
        name: ``mix``, or its number from 1 as text.
        speech: seconds of it that are speech.
        warnings: in what it is unlike what models are trained on.
    """

    name: str
    speech: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What there is to say of a recording when all its pieces are out.

    Attributes:
        duration: in seconds.
        channels: each that was scored.
        sha256: of the file; empty if it could not be read.
        error: why it could not be used, in one line; empty if it could.
    """

    duration: float = 0.0
    channels: tuple[Channel, ...] = ()
    sha256: str = ""
    error: str = ""


Finding = Piece | Progress | Analysis


def analyse(recording: Recording, config: AnalysisConfig) -> Iterator[Finding]:
    """Works a recording through in bounded memory; what goes wrong is told in `Analysis.error`.

    Leaves torch with one thread in this thread.

    Args:
        recording: the sound file.
        config: what to do.

    Yields:
        pieces as they are found, signs of life between them, and one `Analysis` at the end.
    """
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)  # recordings are worked on side by side instead
    sha256 = ""
    try:
        if recording.problem:
            raise AudioError(recording.problem)
        with np.errstate(all="ignore"):  # samples of 1e38 and their like are refused by their features
            sha256 = yield from _hash(recording.path)
            yield from _analyse(recording.path, config, sha256)
    except (SercliError, OSError, MemoryError) as reason:
        yield Analysis(error=one_line(reason), sha256=sha256)
    except Exception as reason:  # noqa: BLE001 - whatever a library says of one recording, the batch goes on
        yield Analysis(error=f"{type(reason).__name__}: {one_line(reason)}", sha256=sha256)


def _hash(path: Path) -> Generator[Progress, None, str]:
    """Digest of a file's content, with signs of life where it is large or slow to read; empty if it cannot be read."""
    digest = hashlib.sha256()
    with contextlib.suppress(OSError):
        if not path.is_file():
            return ""
        with path.open("rb") as stream:
            said = time.monotonic()
            while block := stream.read(HASH_BLOCK):
                digest.update(block)
                if time.monotonic() - said > HASH_SIGN:
                    said = time.monotonic()
                    yield Progress(seconds=0.0)
        return digest.hexdigest()
    return ""


def _analyse(path: Path, config: AnalysisConfig, sha256: str) -> Iterator[Finding]:
    streams: list[_ChannelStream] = []
    route = _Route(MIX)
    frames, reported, rate = 0, 0.0, 1
    waiting: Signal | None = None  # a block is worked on when it is known whether it is the last
    for block, rate in read_blocks(path):
        if waiting is None:
            route = _find_route(path, config.cutting.channels, block.shape[1])
            streams = [_ChannelStream(name, rate, config) for name in route.names(block.shape[1])]
        else:
            yield from _feed(streams, route, waiting, last=False)
        waiting = block
        frames += len(block)
        if frames / rate >= reported + REPORT_EVERY:
            reported = frames / rate
            yield Progress(seconds=reported)
    if waiting is not None:
        yield from _feed(streams, route, waiting, last=True)
    yield Analysis(duration=frames / rate, channels=tuple(stream.summarise() for stream in streams), sha256=sha256)


@dataclass(frozen=True, slots=True)
class _Route:
    """How the channels of a file become those that are scored."""

    mode: str
    inverted: bool = False  # both sides are one signal, of opposite sign: their mean would be silence

    def names(self, channels: int) -> list[str]:
        return [str(number + 1) for number in range(channels)] if self.mode == SPLIT else [MIX]

    def apply(self, block: Signal) -> list[Signal]:
        if self.mode == SPLIT:
            return [np.ascontiguousarray(block[:, number]) for number in range(block.shape[1])]
        return [np.ascontiguousarray(block[:, 0])] if self.inverted else [to_mono(block)]


def _find_route(path: Path, mode: str, channels: int) -> _Route:
    if channels == 1:
        return _Route(MIX)
    if mode != AUTO or channels != 2:
        return _Route(MIX if mode == AUTO else mode)
    correlation = correlate_sides(read_blocks(path))
    if correlation is None or correlation >= SAME:
        return _Route(MIX)
    return _Route(MIX, inverted=True) if correlation <= -SAME else _Route(SPLIT)


def _feed(streams: Iterable["_ChannelStream"], route: _Route, block: Signal, *, last: bool) -> Iterator[Piece]:
    for stream, signal in zip(streams, route.apply(block), strict=True):
        yield from stream.feed(signal, last=last)


class _ChannelStream:
    """One channel from decoded samples to pieces."""

    _cutter: VoiceCutter | WindowCutter

    def __init__(self, name: str, rate: int, config: AnalysisConfig) -> None:
        self._name, self._config = name, config
        self._rate = config.audio.sample_rate
        self._resample = StreamResampler(rate, self._rate)
        self._cutter = VoiceCutter(self._rate) if config.cutting.vad else WindowCutter(config.cutting, config.audio)
        self._front_end = get_front_end(config.features)
        self._buffer = np.zeros(0, np.float32)
        self._origin = 0  # sample that the buffer begins with
        self._speech = 0.0

    def feed(self, signal: Signal, *, last: bool) -> Iterator[Piece]:
        self._cutter.meter.count(signal)
        signal = self._resample(signal, last=last)
        self._buffer = np.concatenate([self._buffer, signal])
        for segment in self._cutter.feed(signal, last=last):
            if piece := self._make_piece(segment):
                self._speech += piece.segment.speech
                yield piece
        unneeded = round((self._cutter.needed - PADDING) * self._rate) - self._origin
        if unneeded > 0:
            self._buffer, self._origin = self._buffer[unneeded:], self._origin + unneeded

    def _make_piece(self, segment: Segment) -> Piece | None:
        padding = self._cutter.padding
        start = max(0, round((segment.start - padding) * self._rate) - self._origin)
        stop = round((segment.end + padding) * self._rate) - self._origin
        signal = preprocess(self._buffer[start:stop], self._rate, self._config.audio)
        if not len(signal):
            return None
        return Piece(channel=self._name, segment=segment, features=self._front_end.extract(signal))

    def summarise(self) -> Channel:
        warnings = self._cutter.meter.judge(self._speech) if self._speech else ()
        return Channel(name=self._name, speech=self._speech, warnings=warnings)
