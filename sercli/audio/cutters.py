"""Which parts of a recording are looked at: segments of speech, or fixed windows, as the recording streams by."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soxr

from sercli.audio.preprocess import find_sound, is_silent
from sercli.audio.quality import QualityMeter
from sercli.audio.segments import LONGEST, Segment, Segmenter
from sercli.audio.signal import Signal
from sercli.audio.voice import VOICE_RATE, VoiceDetector
from sercli.config import AudioConfig, Config

AUTO, MIX, SPLIT = CHANNEL_MODES = ("auto", "mix", "split")
PADDING = 0.1  # seconds of signal around a segment, for soft beginnings and ends; trimming takes silence off again


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting(Config):
    """Which parts of a recording are scored.

    Attributes:
        channels: ``mix`` takes the mean of all channels, ``split`` each for itself; ``auto`` splits what is stereo and
            differs from side to side, as calls do.
        vad: whether speech is looked for, and cut at its pauses.
        window: of fixed windows instead, in seconds.
        hop: from one such window to the next, in seconds.
    """

    channels: str = AUTO
    vad: bool = True
    window: float = LONGEST
    hop: float = LONGEST

    def __post_init__(self) -> None:
        self._require(
            condition=self.channels in CHANNEL_MODES, name="channels", expected=f"one of {', '.join(CHANNEL_MODES)}"
        )
        self._require(condition=0.1 <= self.window <= 60, name="window", expected="0.1 to 60 s")
        self._require(condition=0.01 <= self.hop <= self.window, name="hop", expected="0.01 s to the window")


class StreamResampler:
    """soxr at its quality HQ, as `sercli.audio.preprocess.resample`, for a signal that comes in parts.

    Args:
        source_rate: sample rate it has, in Hz.
        target_rate: sample rate wanted, in Hz.
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        self._stream = (
            soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32", quality="HQ")
            if source_rate != target_rate
            else None
        )
        self._given = 0

    def __call__(self, signal: Signal, *, last: bool) -> Signal:
        """What a part becomes, both in shape ``(n_samples,)``; with `last`, all that is still held back too."""
        if self._stream is None:
            return signal
        resampled: Signal = self._stream.resample_chunk(signal, last=last)
        self._given += len(resampled)
        # Of a recording of a few samples one is left, so that it is short rather than nothing.
        return signal[:1] if last and not self._given else resampled


class VoiceCutter:
    """Segments of speech.

    Args:
        rate: sample rate of the signal, in Hz.

    Attributes:
        meter: what is noticed on the way.
        padding: seconds of signal that a segment should have around it.
    """

    padding = PADDING

    def __init__(self, rate: int) -> None:
        self.meter = QualityMeter()
        self._resample = StreamResampler(rate, VOICE_RATE)
        self._detector = VoiceDetector()
        self._segmenter = Segmenter()
        self._seconds = 0.0
        self._rate = rate

    @property
    def needed(self) -> float:
        """Second from which on the signal may still be asked for."""
        return self._segmenter.needed

    def feed(self, signal: Signal, *, last: bool) -> Iterator[Segment]:
        """Parts that are known now.

        Args:
            signal: what comes next, in shape ``(n_samples,)``.
            last: whether nothing will follow.
        """
        self._seconds += len(signal) / self._rate
        voiced = self._resample(signal, last=last)
        probabilities = self._detector.feed(voiced, last=last)
        self.meter.listen(voiced, probabilities)
        for segment in self._segmenter.feed(probabilities, last=last):
            # The last frame may reach beyond the recording.
            end = min(segment.end, self._seconds) if last else segment.end
            if end > segment.start:
                yield Segment(start=segment.start, end=end, speech=min(segment.speech, end - segment.start))


class WindowCutter:
    """Fixed windows; the last one ends where the recording does, so that nothing is left out.

    Args:
        cutting: window and hop.
        audio: of the signal.

    Attributes:
        meter: what is noticed on the way.
        padding: seconds of signal that a window should have around it.
    """

    padding = 0.0

    def __init__(self, cutting: Cutting, audio: AudioConfig) -> None:
        self.meter = QualityMeter()
        self._rate, self._trim_db = audio.sample_rate, audio.trim_db
        self._window, self._hop = (max(1, round(seconds * self._rate)) for seconds in (cutting.window, cutting.hop))
        self._buffer = np.zeros(0, np.float32)
        self._origin = 0  # sample that the buffer begins with
        self._start = 0  # sample that the next window begins with
        self._done = 0  # samples that a window has covered

    @property
    def needed(self) -> float:
        """Second from which on the signal may still be asked for."""
        return self._origin / self._rate

    def feed(self, signal: Signal, *, last: bool) -> Iterator[Segment]:
        """Parts that are known now.

        Args:
            signal: what comes next, in shape ``(n_samples,)``.
            last: whether nothing will follow.
        """
        self._buffer = np.concatenate([self._buffer, signal])
        total = self._origin + len(self._buffer)
        while self._start + self._window <= total:
            yield from self._emit(self._start, self._start + self._window)
            self._start += self._hop
        if last and self._done < total:
            yield from self._emit(max(0, total - self._window), total)
        # As much is kept as a last window might want.
        unneeded = min(self._start, total - self._window) - self._origin
        if unneeded > 0:
            self._buffer, self._origin = self._buffer[unneeded:], self._origin + unneeded

    def _emit(self, start: int, stop: int) -> Iterator[Segment]:
        # What windows have in common counts once.
        fresh = self._buffer[max(start, self._done) - self._origin : stop - self._origin]
        self._done = stop
        if not is_silent(self._buffer[start - self._origin : stop - self._origin]):
            share = 0.0 if is_silent(fresh) else float(find_sound(fresh, self._trim_db).mean())
            sound = share * len(fresh) / self._rate
            yield Segment(start=start / self._rate, end=stop / self._rate, speech=sound)
