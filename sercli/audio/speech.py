"""Which stretches of a signal are segments: from speech probabilities, or fixed windows, as the signal streams by."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sercli.audio.vad import FRAME_SECONDS

ONSET, RELEASE = 0.5, 0.35  # probabilities at which speech begins and ends, as Silero recommends
MIN_SEGMENT = 1.0  # seconds under which a segment waits for more
PAUSE = 0.6  # seconds without speech that end a segment
LONG_PAUSE = 1.0  # seconds that end one shorter than MIN_SEGMENT
MIN_SPEECH = 0.1  # seconds of speech under which a segment is dropped, as a click
SMOOTHING = 5  # frames over which a cut looks for the least speech

# Voice activity detection was trained on talking and misses shouts: of the loudest actress of RAVDESS it hears next to
# nothing. Loud sound that it does not rule out counts as speech too.
HINT, HINT_SECONDS = 0.1, 2.0  # probability reached somewhere within the last seconds
LOUDER = 3.0  # dB over the mean level of speech so far
OVER_NOISE = 25.0  # dB over the quietest frames so far, as long as there was little speech
MIN_REFERENCE = 1.0  # seconds of speech from which on its mean level is a reference

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of a signal.

    Attributes:
        start: seconds from the beginning of the recording.
        end: likewise.
        speech: seconds of speech in it; of overlapping windows, what earlier ones have not counted.
    """

    start: float
    end: float
    speech: float


class ShoutDetector:
    """Raises the probabilities of loud frames that voice activity detection misses; the same in whatever parts."""

    def __init__(self) -> None:
        self._power, self._frames = 0.0, 0  # of speech so far
        self._floor = np.inf
        self._recent = np.zeros(int(HINT_SECONDS / FRAME_SECONDS), np.float32)

    def feed(self, probabilities: Vector, power: Vector) -> Vector:
        """Probabilities of the next frames, `ONSET` or more where there is a shout.

        Args:
            probabilities: of speech, shape ``(n_frames,)``.
            power: mean square of each frame, shape ``(n_frames,)``.
        """
        if not len(probabilities):
            return probabilities
        speaking = probabilities >= ONSET
        speech = self._power + np.cumsum(np.where(speaking, power, 0.0))
        count = self._frames + np.cumsum(speaking)
        audible = np.where(power > 0, power, np.inf)  # digital silence says nothing about the noise
        floor = np.minimum(np.minimum.accumulate(audible), self._floor)
        seen = np.concatenate([self._recent, probabilities])
        hint = np.lib.stride_tricks.sliding_window_view(seen, len(self._recent) + 1).max(axis=1) >= HINT
        known = count * FRAME_SECONDS >= MIN_REFERENCE
        over_speech = power >= speech / np.maximum(count, 1) * 10 ** (LOUDER / 10)
        over_noise = power >= floor * 10 ** (OVER_NOISE / 10)
        self._power, self._frames, self._floor = float(speech[-1]), int(count[-1]), float(floor[-1])
        self._recent = seen[-len(self._recent) :]
        loud = hint & np.where(known, over_speech, over_noise)
        raised: Vector = np.where(loud, np.maximum(probabilities, np.float32(ONSET)), probabilities)
        return raised


def count_speech(probabilities: Vector) -> float:
    """Seconds of speech: begins at `ONSET` and ends below `RELEASE`."""
    speaking, count = False, 0
    for probability in probabilities.tolist():
        speaking = probability >= (RELEASE if speaking else ONSET)
        count += speaking
    return count * FRAME_SECONDS


class SpeechSplitter:
    """Turns speech probabilities into spans of at most `longest` seconds.

    Speech begins at `ONSET` and ends below `RELEASE`. Pauses shorter than `PAUSE` do not end a span; what is then
    longer than `longest` is cut where there is the least speech. Spans come out as soon as they are known, about two
    seconds after `longest` at the latest.

    Args:
        longest: longest span, in seconds.
    """

    def __init__(self, longest: float) -> None:
        self._longest = int(longest / FRAME_SECONDS)
        self._shortest = min(int(MIN_SEGMENT / FRAME_SECONDS), max(1, self._longest // 2))
        self._count = 0  # frames seen
        self._first = 0  # frame that `_held` begins with
        self._held: list[float] = []  # probabilities of the span that grows, and of the pause after it
        self._speech: list[bool] = []  # which of `_held` are speech
        self._spoken = 0  # held frames up to the last one that is speech
        self._speaking = False

    @property
    def needed_from(self) -> float:
        """Second from which on the signal may still be needed."""
        return (self._count - len(self._held)) * FRAME_SECONDS

    def feed(self, probabilities: Vector, *, last: bool = False) -> Iterator[Span]:
        """Spans that are known now.

        Args:
            probabilities: of the next frames.
            last: whether nothing will follow.
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
        """Emits what lies before the least speech, far enough from both ends."""
        if self._spoken <= self._longest:  # the rest is pause
            yield from self._emit(len(self._held))
            return
        smooth = np.convolve(self._held, np.ones(SMOOTHING) / SMOOTHING, mode="same")
        most = min(self._longest, self._spoken - self._shortest)
        # The last of equals, so that spans are no shorter than necessary.
        yield from self._emit(most - int(smooth[self._shortest : most + 1][::-1].argmin()))

    def _emit(self, stop: int) -> Iterator[Span]:
        """Emits the held frames before `stop`, without the pauses at both ends."""
        spoken = [number for number in range(stop) if self._speech[number]]
        first = self._first
        rest = next((number for number in range(stop, len(self._held)) if self._speech[number]), len(self._held))
        self._held, self._speech = self._held[rest:], self._speech[rest:]
        self._first, self._spoken = first + rest, max(0, self._spoken - rest)
        if len(spoken) >= int(MIN_SPEECH / FRAME_SECONDS):
            yield Span(
                start=(first + spoken[0]) * FRAME_SECONDS,
                end=(first + spoken[-1] + 1) * FRAME_SECONDS,
                speech=len(spoken) * FRAME_SECONDS,
            )


class WindowSplitter:
    """Fixed windows; the last one ends where the recording does, so that nothing is left out.

    Args:
        window: length of a window, in samples.
        hop: from one window to the next, in samples.
    """

    def __init__(self, window: int, hop: int) -> None:
        self._window, self._hop = window, hop
        self._total = 0
        self._start = 0  # of the next window
        self._done = 0  # samples that a window has covered

    @property
    def needed_from(self) -> int:
        """Sample from which on the signal may still be needed."""
        return max(0, min(self._start, self._total - self._window))

    def feed(self, n_samples: int, *, last: bool = False) -> Iterator[tuple[int, int, int]]:
        """Windows that are complete now: first sample, sample after the last, first sample not covered before.

        Args:
            n_samples: how many samples came.
            last: whether nothing will follow.
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
