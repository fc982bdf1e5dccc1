from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sercli.audio.segments import CLICK, LONG_PAUSE, LONGEST, ONSET, PAUSE, RELEASE, SHORTEST, Segment, Segmenter
from sercli.audio.voice import FRAME_SECONDS, Probabilities

LATEST = 8.0  # seconds after its beginning at which a segment is known

# Levels on both sides of each threshold, in runs from a frame to longer than a segment may be.
levels = st.sampled_from([0.0, 0.1, 0.3, 0.4, 0.45, 0.55, 0.9, 1.0])
runs = st.lists(st.tuples(levels, st.integers(1, 40) | st.integers(1, 260)), max_size=12)
streams = runs.map(lambda found: np.array([level for level, length in found for _ in range(length)], np.float32))


def segment(probabilities: Probabilities) -> list[Segment]:
    return list(Segmenter().feed(probabilities, last=True))


def make(*runs: tuple[float, float]) -> Probabilities:
    """Runs of a level and a length in seconds."""
    return np.concatenate([np.full(to_frames(seconds), level, np.float32) for level, seconds in runs])


def to_frames(seconds: float) -> int:
    return round(seconds / FRAME_SECONDS)


def judge(probabilities: Probabilities) -> list[bool]:
    """Which frames are speech: from `ONSET` on, until under `RELEASE`."""
    found, speaking = [], False
    for probability in probabilities.tolist():
        speaking = probability >= ONSET or (speaking and probability >= RELEASE)
        found.append(speaking)
    return found


@settings(deadline=None)
@given(probabilities=streams, cuts=st.lists(st.integers(0, 1_500), max_size=10), own_end=st.booleans())
def test_segments_do_not_depend_on_how_probabilities_come(
    probabilities: Probabilities, cuts: list[int], own_end: bool
) -> None:
    segmenter = Segmenter()
    parts = np.split(probabilities, sorted(cuts))
    if own_end:
        parts.append(np.zeros(0, np.float32))
    found = [each for number, part in enumerate(parts) for each in segmenter.feed(part, last=number == len(parts) - 1)]
    assert found == segment(probabilities)


@settings(deadline=None)
@given(probabilities=streams)
def test_segments_are_in_order_apart_and_not_too_long(probabilities: Probabilities) -> None:
    found = segment(probabilities)
    for each in found:
        assert 0 <= each.start < each.end <= len(probabilities) * FRAME_SECONDS + 1e-9
        assert each.end - each.start <= LONGEST
        assert 0 < each.speech <= each.end - each.start + 1e-9
    for one, other in pairwise(found):
        assert one.end <= other.start + 1e-9


@settings(deadline=None)
@given(probabilities=streams)
def test_all_speech_is_in_a_segment_but_for_clicks(probabilities: Probabilities) -> None:
    speech = np.array(judge(probabilities), bool)
    covered = np.zeros(len(speech), bool)
    for each in segment(probabilities):
        start, stop = to_frames(each.start), to_frames(each.end)
        assert speech[start]
        assert speech[stop - 1]
        assert to_frames(each.speech) == int(speech[start:stop].sum())
        covered[start:stop] = True
    for lost, run in groupby(speech & ~covered):
        assert not lost or len(list(run)) * FRAME_SECONDS < CLICK


@settings(deadline=None)
@given(probabilities=streams)
def test_a_long_pause_always_parts(probabilities: Probabilities) -> None:
    speech = judge(probabilities)
    for each in segment(probabilities):
        inside = speech[to_frames(each.start) : to_frames(each.end)]
        pauses = [len(list(run)) * FRAME_SECONDS for spoken, run in groupby(inside) if not spoken]
        assert max(pauses, default=0) < LONG_PAUSE


@settings(deadline=None)
@given(probabilities=streams, size=st.integers(1, 300))
def test_what_is_needed_lies_before_all_later_segments(probabilities: Probabilities, size: int) -> None:
    segmenter, needed = Segmenter(), 0.0
    for start in range(0, len(probabilities), size):
        part = probabilities[start : start + size]
        for each in segmenter.feed(part, last=start + size >= len(probabilities)):
            assert needed <= each.start + 1e-9
        assert needed <= segmenter.needed
        needed = segmenter.needed
        assert (start + len(part)) * FRAME_SECONDS - needed <= LATEST


@settings(deadline=None)
@given(
    seconds=st.floats(LONGEST + 0.1, 30),
    seed=st.integers(0, 1_000),
    lowest=st.sampled_from([0.5, 0.9, 1.0]),
)
def test_speech_without_pause_is_cut_into_pieces_that_are_not_short(seconds: float, seed: int, lowest: float) -> None:
    n_frames = to_frames(seconds)
    probabilities = np.random.default_rng(seed).uniform(lowest, 1, n_frames).astype(np.float32)
    found = segment(probabilities)
    assert all(one.end == pytest.approx(other.start) for one, other in pairwise(found))
    assert found[0].start == 0
    assert found[-1].end == pytest.approx(n_frames * FRAME_SECONDS)
    for each in found:
        assert SHORTEST - FRAME_SECONDS < each.end - each.start <= LONGEST
        assert each.speech == pytest.approx(each.end - each.start)


def test_half_a_minute_of_even_speech_is_cut_into_as_few_pieces_as_can_be() -> None:
    found = segment(make((0.9, 30.0)))
    assert len(found) == 6  # of 187 frames at most, 5.984 s
    assert sum(each.speech for each in found) == pytest.approx(to_frames(30.0) * FRAME_SECONDS)


@given(before=st.floats(1.2, 5.5), after=st.floats(2.5, 8), depth=st.sampled_from([0.36, 0.5, 0.7]))
def test_a_cut_falls_in_a_dip(before: float, after: float, depth: float) -> None:
    dip = 0.24
    first, second, *_ = segment(make((0.95, before), (depth, dip), (0.95, LONGEST + after)))
    assert first.end == second.start
    assert to_frames(before) <= to_frames(first.end) <= to_frames(before) + to_frames(dip)


def test_short_pauses_stay_in_a_segment_and_longer_ones_part() -> None:
    within = make((0.0, 0.5), (0.9, 2.0), (0.0, PAUSE - 0.1), (0.9, 2.0), (0.0, 0.2))
    (one,) = segment(within)
    assert (one.start, one.end) == pytest.approx((0.5, 5.0), abs=2 * FRAME_SECONDS)
    assert one.speech == pytest.approx(4.0, abs=2 * FRAME_SECONDS)
    assert len(segment(make((0.9, 2.0), (0.0, PAUSE), (0.9, 2.0)))) == 2


def test_a_short_segment_waits_for_more_over_a_longer_pause() -> None:
    assert len(segment(make((0.9, 0.5), (0.0, 0.8), (0.9, 0.5)))) == 1
    assert len(segment(make((0.9, 0.5), (0.0, LONG_PAUSE), (0.9, 0.5)))) == 2


def test_speech_goes_on_between_the_thresholds_but_does_not_begin_there() -> None:
    assert segment(make((0.45, 3.0))) == []
    (one,) = segment(make((0.0, 0.5), (0.6, 0.5), (0.4, 1.0), (0.3, 0.5)))
    assert one.speech == pytest.approx(1.5, abs=2 * FRAME_SECONDS)


def test_clicks_are_dropped() -> None:
    assert segment(make((0.0, 1.0), (0.9, 2 * FRAME_SECONDS), (0.0, 2.0))) == []
    assert len(segment(make((0.0, 1.0), (0.9, 4 * FRAME_SECONDS), (0.0, 2.0)))) == 1


def test_nothing_gives_nothing() -> None:
    assert segment(np.zeros(0, np.float32)) == []
    assert segment(np.zeros(2_000, np.float32)) == []
