from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sercli.audio.segmentation import SegmentationConfig
from sercli.audio.splitters import (
    HINT,
    LONG_PAUSE,
    MIN_SEGMENT,
    MIN_SPAN_SPEECH,
    ONSET,
    PAUSE,
    RELEASE,
    ShoutDetector,
    Span,
    SpeechSplitter,
    Vector,
    WindowSplitter,
    count_speech,
)
from sercli.audio.vad import FRAME_SECONDS

LONGEST = SegmentationConfig().max_segment
LATEST = LONGEST + 2  # seconds after its beginning at which a span is known

# Levels on both sides of each threshold, in runs from a frame to longer than a segment may be.
levels = st.sampled_from([0.0, 0.1, 0.3, 0.4, 0.45, 0.55, 0.9, 1.0])
runs = st.lists(st.tuples(levels, st.integers(1, 40) | st.integers(1, 260)), max_size=12)
streams = runs.map(lambda found: np.array([level for level, length in found for _ in range(length)], np.float32))


def split(probabilities: Vector) -> list[Span]:
    return list(SpeechSplitter(LONGEST).feed(probabilities, last=True))


def make(*runs: tuple[float, float]) -> Vector:
    """Runs of a level and a length in seconds."""
    return np.concatenate([np.full(to_frames(seconds), level, np.float32) for level, seconds in runs])


def to_frames(seconds: float) -> int:
    return round(seconds / FRAME_SECONDS)


def judge(probabilities: Vector) -> list[bool]:
    """Which frames are speech: from `ONSET` on, until under `RELEASE`."""
    found, speaking = [], False
    for probability in probabilities.tolist():
        speaking = probability >= ONSET or (speaking and probability >= RELEASE)
        found.append(speaking)
    return found


TWO_SPANS = make((0.0, 0.5), (0.9, 3.0), (0.1, 2.0), (0.8, 1.5))


def test_speech_around_a_pause_is_two_spans() -> None:
    assert len(split(TWO_SPANS)) == 2


@given(probabilities=streams, bounds=st.lists(st.integers(0, 1_500), max_size=10), own_end=st.booleans())
def test_spans_do_not_depend_on_how_probabilities_are_divided(
    probabilities: Vector, bounds: list[int], own_end: bool
) -> None:
    splitter = SpeechSplitter(LONGEST)
    parts = np.split(probabilities, sorted(bounds))
    if own_end:
        parts.append(np.zeros(0, np.float32))
    found = [each for number, part in enumerate(parts) for each in splitter.feed(part, last=number == len(parts) - 1)]
    assert found == split(probabilities)


@given(probabilities=streams)
@example(probabilities=TWO_SPANS)
def test_spans_are_in_order_apart_and_not_too_long(probabilities: Vector) -> None:
    found = split(probabilities)
    for each in found:
        assert 0 <= each.start < each.end <= len(probabilities) * FRAME_SECONDS + 1e-9
        assert each.end - each.start <= LONGEST
        assert 0 < each.speech <= each.end - each.start + 1e-9
    for one, other in pairwise(found):
        assert one.end <= other.start + 1e-9


@given(probabilities=streams)
@example(probabilities=TWO_SPANS)
def test_all_speech_is_in_a_span_except_for_clicks(probabilities: Vector) -> None:
    speech = np.array(judge(probabilities), bool)
    covered = np.zeros(len(speech), bool)
    for each in split(probabilities):
        start, stop = to_frames(each.start), to_frames(each.end)
        assert speech[start]
        assert speech[stop - 1]
        assert to_frames(each.speech) == int(speech[start:stop].sum())
        covered[start:stop] = True
    for lost, run in groupby(speech & ~covered):
        assert not lost or len(list(run)) * FRAME_SECONDS < MIN_SPAN_SPEECH


@given(probabilities=streams)
@example(probabilities=TWO_SPANS)
def test_a_long_pause_always_ends_a_span(probabilities: Vector) -> None:
    speech = judge(probabilities)
    for each in split(probabilities):
        inside = speech[to_frames(each.start) : to_frames(each.end)]
        pauses = [len(list(run)) * FRAME_SECONDS for spoken, run in groupby(inside) if not spoken]
        assert max(pauses, default=0) < LONG_PAUSE


@given(probabilities=streams, size=st.integers(1, 300))
@example(probabilities=TWO_SPANS, size=7)
def test_what_is_needed_lies_before_all_later_segments(probabilities: Vector, size: int) -> None:
    splitter, needed = SpeechSplitter(LONGEST), 0.0
    for start in range(0, len(probabilities), size):
        part = probabilities[start : start + size]
        for each in splitter.feed(part, last=start + size >= len(probabilities)):
            assert needed <= each.start + 1e-9
        assert needed <= splitter.needed_from
        needed = splitter.needed_from
        assert (start + len(part)) * FRAME_SECONDS - needed <= LATEST


@given(
    seconds=st.floats(LONGEST + 0.1, 30),
    seed=st.integers(0, 1_000),
    lowest=st.sampled_from([0.5, 0.9, 1.0]),
)
def test_speech_without_pause_is_cut_into_spans_that_are_not_short(seconds: float, seed: int, lowest: float) -> None:
    n_frames = to_frames(seconds)
    probabilities = np.random.default_rng(seed).uniform(lowest, 1, n_frames).astype(np.float32)
    found = split(probabilities)
    assert all(one.end == pytest.approx(other.start) for one, other in pairwise(found))
    assert found[0].start == 0
    assert found[-1].end == pytest.approx(n_frames * FRAME_SECONDS)
    for each in found:
        assert MIN_SEGMENT - FRAME_SECONDS < each.end - each.start <= LONGEST
        assert each.speech == pytest.approx(each.end - each.start)


def test_half_a_minute_of_even_speech_is_cut_into_as_few_spans_as_possible() -> None:
    found = split(make((0.9, 30.0)))
    assert len(found) == 6  # of 187 frames at most, 5.984 s
    assert sum(each.speech for each in found) == pytest.approx(to_frames(30.0) * FRAME_SECONDS)


@given(before=st.floats(1.2, 5.5), after=st.floats(2.5, 8), depth=st.sampled_from([0.36, 0.5, 0.7]))
def test_a_cut_falls_in_a_dip(before: float, after: float, depth: float) -> None:
    dip = 0.24
    first, second, *_ = split(make((0.95, before), (depth, dip), (0.95, LONGEST + after)))
    assert first.end == second.start
    assert to_frames(before) <= to_frames(first.end) <= to_frames(before) + to_frames(dip)


def test_short_pauses_stay_in_a_span_and_longer_ones_end_it() -> None:
    within = make((0.0, 0.5), (0.9, 2.0), (0.0, PAUSE - 0.1), (0.9, 2.0), (0.0, 0.2))
    (one,) = split(within)
    assert (one.start, one.end) == pytest.approx((0.5, 5.0), abs=2 * FRAME_SECONDS)
    assert one.speech == pytest.approx(4.0, abs=2 * FRAME_SECONDS)
    assert len(split(make((0.9, 2.0), (0.0, PAUSE), (0.9, 2.0)))) == 2


def test_a_short_span_waits_for_more_over_a_longer_pause() -> None:
    assert len(split(make((0.9, 0.5), (0.0, 0.8), (0.9, 0.5)))) == 1
    assert len(split(make((0.9, 0.5), (0.0, LONG_PAUSE), (0.9, 0.5)))) == 2


def test_speech_goes_on_between_the_thresholds_but_does_not_begin_there() -> None:
    assert split(make((0.45, 3.0))) == []
    (one,) = split(make((0.0, 0.5), (0.6, 0.5), (0.4, 1.0), (0.3, 0.5)))
    assert one.speech == pytest.approx(1.5, abs=2 * FRAME_SECONDS)


def test_clicks_are_dropped() -> None:
    assert split(make((0.0, 1.0), (0.9, 2 * FRAME_SECONDS), (0.0, 2.0))) == []
    assert len(split(make((0.0, 1.0), (0.9, 4 * FRAME_SECONDS), (0.0, 2.0)))) == 1


def test_nothing_gives_nothing() -> None:
    assert split(np.zeros(0, np.float32)) == []
    assert split(np.zeros(2_000, np.float32)) == []


@given(probabilities=streams)
def test_speech_is_counted_between_its_thresholds(probabilities: Vector) -> None:
    assert count_speech(probabilities) == pytest.approx(sum(judge(probabilities)) * FRAME_SECONDS)


@settings(max_examples=50)
@given(probabilities=streams, bounds=st.lists(st.integers(0, 1_500), max_size=10), seed=st.integers(0, 99))
def test_shouts_do_not_depend_on_how_probabilities_are_divided(
    probabilities: Vector, bounds: list[int], seed: int
) -> None:
    power = (10 ** np.random.default_rng(seed).uniform(-9, 0, len(probabilities))).astype(np.float32)
    detector, together = ShoutDetector(), ShoutDetector().feed(probabilities, power)
    parts = [
        detector.feed(*each)
        for each in zip(np.split(probabilities, sorted(bounds)), np.split(power, sorted(bounds)), strict=True)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), together)
    assert (together >= probabilities).all()


@pytest.mark.parametrize(
    ("hint", "level", "spoken", "raised"),
    [
        (HINT, 26.0, 0.0, True),  # far over the noise
        (HINT, 24.0, 0.0, False),  # not far enough
        (HINT - 0.01, 60.0, 0.0, False),  # loud, but surely not a voice
        (HINT, 20.0 + 3.1, 2.0, True),  # louder than the speech so far
        (HINT, 20.0 + 2.9, 2.0, False),
    ],
)
def test_loud_sound_that_may_be_a_voice_counts_as_speech(
    hint: float, level: float, spoken: float, raised: bool
) -> None:
    """Noise, speech 20 dB over it, noise, and then sound in which the detector hears next to nothing."""
    loud = 20
    probabilities = make((0.0, 1.0), (0.9, spoken), (0.0, 1.0), (hint, loud * FRAME_SECONDS))
    db = make((-60.0, 1.0), (-40.0, spoken), (-60.0, 1.0), (-60.0 + level, loud * FRAME_SECONDS))
    found = ShoutDetector().feed(probabilities, (10 ** (db / 10)).astype(np.float32))
    assert (found[-loud:] >= ONSET).tolist() == [raised] * loud
    np.testing.assert_array_equal(found[:-loud], probabilities[:-loud])


@given(length=st.integers(1, 4_000), window=st.integers(1, 500), hop=st.integers(1, 500), block=st.integers(1, 1_500))
def test_windows_cover_everything_whatever_the_blocks(length: int, window: int, hop: int, block: int) -> None:
    hop = min(hop, window)
    splitter, spans, needed = WindowSplitter(window, hop), [], 0
    for start in range(0, length, block):
        size = min(block, length - start)
        for span in splitter.feed(size, last=start + size == length):
            assert span[0] >= needed
            spans.append(span)
        assert needed <= splitter.needed_from
        needed = splitter.needed_from
    covered = np.zeros(length, bool)
    for start, stop, fresh in spans:
        assert stop - start == min(window, length)
        assert covered[start:fresh].all()
        assert not covered[fresh:stop].any()
        covered[start:stop] = True
    assert covered.all()
    assert [span[:2] for span in spans[:-1]] == [(n * hop, n * hop + window) for n in range(len(spans) - 1)]
