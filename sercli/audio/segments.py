"""Cutting speech into segments at its pauses, as a recording streams by."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sercli.audio.voice import FRAME_SECONDS, Probabilities

ONSET = 0.5  # probability from which on there is speech, as Silero recommends
RELEASE = 0.35  # probability under which it has ended, likewise
LONGEST = 6.0  # seconds of a segment; longer than nearly all utterances of training
SHORTEST = 1.0  # seconds under which a segment waits for more
PAUSE = 0.6  # seconds without speech that end a segment
LONG_PAUSE = 1.0  # seconds that end one of under `SHORTEST`
CLICK = 0.1  # seconds of speech under which a segment is dropped
SMOOTHING = 5  # frames that a cut looks for the least speech in

_LONGEST, _SHORTEST, _PAUSE, _LONG_PAUSE, _CLICK = (
    int(seconds / FRAME_SECONDS) for seconds in (LONGEST, SHORTEST, PAUSE, LONG_PAUSE, CLICK)
)  # in frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of speech.

    Attributes:
        start: in seconds from the recording's beginning.
        end: likewise.
        speech: seconds of it that are speech; of a window, what the one before has not counted.
    """

    start: float
    end: float
    speech: float


class Segmenter:
    """Turns probabilities of speech into segments of at most `LONGEST` seconds.

    Speech begins at `ONSET` and ends under `RELEASE`. What pauses of less than `PAUSE` part belongs together; of that,
    what is longer than `LONGEST` is cut where least speech is. Segments come out as soon as they are known, at the
    latest some eight seconds after their beginning.
    """

    def __init__(self) -> None:
        self._count = 0  # frames seen
        self._first = 0  # frame that `_held` begins with
        self._held: list[float] = []  # probabilities of the segment that grows, and of the pause after it
        self._speech: list[bool] = []  # which of `_held` are speech
        self._spoken = 0  # held frames up to the last one that is speech
        self._speaking = False

    @property
    def needed(self) -> float:
        """Second from which on the signal may still be asked for."""
        return (self._count - len(self._held)) * FRAME_SECONDS

    def feed(self, probabilities: Probabilities, *, last: bool = False) -> Iterator[Segment]:
        """Segments that are known now.

        Args:
            probabilities: of the frames that come next, as `sercli.audio.voice.VoiceDetector.feed` gives them.
            last: whether nothing will follow.
        """
        for probability in probabilities.tolist():
            self._speaking = probability >= (RELEASE if self._speaking else ONSET)
            if self._speaking or self._held:
                yield from self._take(probability)
            self._count += 1
        if last:
            yield from self._close()

    def _take(self, probability: float) -> Iterator[Segment]:
        if not self._held:
            self._first = self._count
        self._held.append(probability)
        self._speech.append(self._speaking)
        if self._speaking:
            self._spoken = len(self._held)
        elif len(self._held) - self._spoken >= (_PAUSE if self._spoken >= _SHORTEST else _LONG_PAUSE):
            yield from self._close()
        if len(self._held) >= _LONGEST + _SHORTEST:
            yield from self._cut()

    def _close(self) -> Iterator[Segment]:
        while self._spoken > _LONGEST:
            yield from self._cut()
        if self._held:
            yield from self._emit(len(self._held))

    def _cut(self) -> Iterator[Segment]:
        """Gives out what lies before the least speech, far enough from both ends."""
        if self._spoken <= _LONGEST:  # all the rest is pause
            yield from self._emit(len(self._held))
            return
        smooth = np.convolve(self._held, np.ones(SMOOTHING) / SMOOTHING, mode="same")
        most = min(_LONGEST, self._spoken - _SHORTEST)
        # Of equals the last, so that segments are not shorter than they have to be.
        yield from self._emit(most - int(smooth[_SHORTEST : most + 1][::-1].argmin()))

    def _emit(self, stop: int) -> Iterator[Segment]:
        """Gives out the held frames before `stop`, without the pauses at their ends."""
        spoken = [number for number in range(stop) if self._speech[number]]
        first = self._first
        rest = next((number for number in range(stop, len(self._held)) if self._speech[number]), len(self._held))
        self._held, self._speech = self._held[rest:], self._speech[rest:]
        self._first, self._spoken = first + rest, max(0, self._spoken - rest)
        if len(spoken) >= _CLICK:
            yield Segment(
                start=(first + spoken[0]) * FRAME_SECONDS,
                end=(first + spoken[-1] + 1) * FRAME_SECONDS,
                speech=len(spoken) * FRAME_SECONDS,
            )
