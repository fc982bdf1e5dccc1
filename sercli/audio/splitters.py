"""Streaming segmentation: spans of speech from speech probabilities, or fixed windows."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sercli.audio.vad import FRAME_SECONDS

ONSET, RELEASE = 0.5, 0.35  # probabilities at which speech begins and ends, as Silero recommends
MIN_SEGMENT = 1.0  # seconds; a shorter segment is not ended by a short pause
PAUSE = 0.6  # seconds without speech that end a segment
LONG_PAUSE = 1.0  # seconds without speech that end a segment shorter than MIN_SEGMENT
MIN_SPAN_SPEECH = 0.1  # seconds of speech; a segment with less is dropped as a click
SMOOTHING = 5  # frames over which probabilities are averaged to find the best place to split

# The VAD was trained on talking and misses shouts: it detects almost none of the loudest RAVDESS actress. Therefore,
# loud sound counts as speech too, unless the VAD rules it out.
HINT, HINT_SECONDS = 0.1, 2.0  # probability that some frame of the last seconds must reach
LOUDER = 3.0  # dB above the mean level of speech so far
SHOUT_OVER_NOISE = 25.0  # dB above the quietest frame so far, used until there is enough speech
MIN_REFERENCE = 1.0  # seconds of speech after which its mean level is the reference

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A time span of a signal.

    Attributes:
        start: Start, from the beginning of the recording (s).
        end: End, from the beginning of the recording (s).
        speech: Speech in the span (s); for overlapping windows, only what earlier windows did not count.
    """

    start: float
    end: float
    speech: float


class ShoutDetector:
    """Raises the speech probability of loud frames that the VAD misses; results do not depend on the block size."""

    def __init__(self) -> None:
        self._power, self._frames = 0.0, 0  # of speech so far
        self._floor = np.inf
        self._recent = np.zeros(int(HINT_SECONDS / FRAME_SECONDS), np.float32)

    def feed(self, probabilities: Vector, power: Vector) -> Vector:
        """Returns the probabilities of the next frames, raised to at least `ONSET` where there is a shout.

        Args:
            probabilities: Speech probabilities, shape ``(n_frames,)``.
            power: Mean square of each frame, shape ``(n_frames,)``.
        """
        if not len(probabilities):
            return probabilities
        speaking = probabilities >= ONSET
        speech = self._power + np.cumsum(np.where(speaking, power, 0.0))
        count = self._frames + np.cumsum(speaking)
        audible = np.where(power > 0, power, np.inf)  # digital silence does not reveal the noise level
        floor = np.minimum(np.minimum.accumulate(audible), self._floor)
        seen = np.concatenate([self._recent, probabilities])
        hint = np.lib.stride_tricks.sliding_window_view(seen, len(self._recent) + 1).max(axis=1) >= HINT
        known = count * FRAME_SECONDS >= MIN_REFERENCE
        over_speech = power >= speech / np.maximum(count, 1) * 10 ** (LOUDER / 10)
        over_noise = power >= floor * 10 ** (SHOUT_OVER_NOISE / 10)
        self._power, self._frames, self._floor = float(speech[-1]), int(count[-1]), float(floor[-1])
        self._recent = seen[-len(self._recent) :]
        loud = hint & np.where(known, over_speech, over_noise)
        raised: Vector = np.where(loud, np.maximum(probabilities, np.float32(ONSET)), probabilities)
        return raised


def count_speech(probabilities: Vector) -> float:
    """Counts seconds of speech, which begins at `ONSET` and ends below `RELEASE`."""
    speaking, count = False, 0
    for probability in probabilities.tolist():
        speaking = probability >= (RELEASE if speaking else ONSET)
        count += speaking
    return count * FRAME_SECONDS


class SpeechSplitter:
    """Splits a stream of speech probabilities into spans of at most `longest` seconds.

    Speech begins at `ONSET` and ends below `RELEASE`. Pauses shorter than `PAUSE` do not end a span; a longer span is
    split where speech is least likely. Spans are emitted as soon as they are final, at most about two seconds after
    `longest`.

    Args:
        longest: Longest span (s).
    """

    def __init__(self, longest: float) -> None:
        self._longest = int(longest / FRAME_SECONDS)
        self._shortest = min(int(MIN_SEGMENT / FRAME_SECONDS), max(1, self._longest // 2))
        self._count = 0  # frames seen
        self._first = 0  # first frame in `_held`
        self._held: list[float] = []  # probabilities of the current span and the pause after it
        self._speech: list[bool] = []  # whether each frame in `_held` is speech
        self._spoken = 0  # number of held frames up to the last speech frame
        self._speaking = False

    @property
    def needed_from(self) -> float:
        """Earliest time of the signal that is still needed (s)."""
        return (self._count - len(self._held)) * FRAME_SECONDS

    def feed(self, probabilities: Vector, *, last: bool = False) -> Iterator[Span]:
        """Yields the spans that are now final.

        Args:
            probabilities: Speech probabilities of the next frames.
            last: Whether these are the last frames.
        """
        for probability in probabilities.tolist():
            self._speaking = probability >= (RELEASE if self._speaking else ONSET)
            if self._speaking or self._held:
                yield from self._take(probability)
            self._count += 1
        if last:
            yield from self._close()

    def _take(self, probability: float) -> Iterator[Span]:
        if not self._held:
            self._first = self._count
        self._held.append(probability)
        self._speech.append(self._speaking)
        if self._speaking:
            self._spoken = len(self._held)
        else:
            pause = PAUSE if self._spoken >= self._shortest else LONG_PAUSE
            if len(self._held) - self._spoken >= int(pause / FRAME_SECONDS):
                yield from self._close()
        if len(self._held) >= self._longest + self._shortest:
            yield from self._cut()

    def _close(self) -> Iterator[Span]:
        while self._spoken > self._longest:
            yield from self._cut()
        if self._held:
            yield from self._emit(len(self._held))

    def _cut(self) -> Iterator[Span]:
        """Emits everything before the frame least likely to be speech, far enough from both ends."""
        if self._spoken <= self._longest:  # the rest is pause
            yield from self._emit(len(self._held))
            return
        smooth = np.convolve(self._held, np.ones(SMOOTHING) / SMOOTHING, mode="same")
        most = min(self._longest, self._spoken - self._shortest)
        # Take the last minimum, so that spans are not shorter than necessary.
        yield from self._emit(most - int(smooth[self._shortest : most + 1][::-1].argmin()))

    def _emit(self, stop: int) -> Iterator[Span]:
        """Emits the held frames before `stop`, without the pauses at both ends."""
        spoken = [number for number in range(stop) if self._speech[number]]
        first = self._first
        rest = next((number for number in range(stop, len(self._held)) if self._speech[number]), len(self._held))
        self._held, self._speech = self._held[rest:], self._speech[rest:]
        self._first, self._spoken = first + rest, max(0, self._spoken - rest)
        if len(spoken) >= int(MIN_SPAN_SPEECH / FRAME_SECONDS):
            yield Span(
                start=(first + spoken[0]) * FRAME_SECONDS,
                end=(first + spoken[-1] + 1) * FRAME_SECONDS,
                speech=len(spoken) * FRAME_SECONDS,
            )


class WindowSplitter:
    """Splits a stream into fixed windows; the last one ends with the recording, so that nothing is left out.

    Args:
        window: Window length (samples).
        hop: Distance between window starts (samples).
    """

    def __init__(self, window: int, hop: int) -> None:
        self._window, self._hop = window, hop
        self._total = 0
        self._start = 0  # first sample of the next window
        self._done = 0  # samples covered by windows so far

    @property
    def needed_from(self) -> int:
        """Earliest sample of the signal that is still needed."""
        return max(0, min(self._start, self._total - self._window))

    def feed(self, n_samples: int, *, last: bool = False) -> Iterator[tuple[int, int, int]]:
        """Yields the windows that are now complete: first sample, end, first sample not covered before.

        Args:
            n_samples: Number of new samples.
            last: Whether these are the last samples.
        """
        self._total += n_samples
        while self._start + self._window <= self._total:
            yield self._emit(self._start, self._start + self._window)
            self._start += self._hop
        if last and self._done < self._total:
            yield self._emit(max(0, self._total - self._window), self._total)

    def _emit(self, start: int, stop: int) -> tuple[int, int, int]:
        fresh = max(start, self._done)
        self._done = stop
        return start, stop, fresh
