"""Peak envelopes: the same whatever the blocks, at the right place, in bounded memory."""

import numpy as np
import pytest

from sercli.audio.envelope import LEVELS, POINTS, EnvelopeMeter
from sercli.audio.signal import Signal


def draw(signal: Signal, channel: str = "mix", sizes: tuple[int, ...] = (4096,)) -> list[int]:
    meter = EnvelopeMeter()
    start = number = 0
    while start < len(signal):
        meter.add(signal[start : start + sizes[number % len(sizes)]])
        start += sizes[number % len(sizes)]
        number += 1
    assert len(meter._peaks) <= 16 * POINTS
    assert len(meter._rest) < 2 * meter._width
    return [LEVELS.index(level) for level in meter.draw(channel)]


def test_it_is_the_same_whatever_the_blocks() -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 0.1, (450_001, 2)).astype(np.float32)
    assert draw(signal, sizes=(4096,)) == draw(signal, sizes=(1, 100_000, 77)) == draw(signal, sizes=(450_001,))


@pytest.mark.parametrize("seconds", [0.2, 3, 900])
def test_a_click_is_where_it_was(seconds: float) -> None:
    signal = np.full((round(seconds * 8_000), 1), 0.01, np.float32)
    signal[len(signal) // 4] = 1.0
    levels = draw(signal, sizes=(65_536,))
    assert levels[POINTS // 4] == max(levels) == 63
    assert sum(level == 63 for level in levels) <= 2 + POINTS * 64 / len(signal)  # a point may share its bin
    assert levels[0] == levels[-1] == 1


def test_each_channel_has_its_own_and_one_scale() -> None:
    signal = np.zeros((16_000, 2), np.float32)
    signal[:8_000, 0] = 0.5
    signal[8_000:, 1] = 0.25
    left, right, both = (draw(signal, channel) for channel in ("1", "2", "mix"))
    assert (left[10], left[150], right[10], right[150]) == (63, 0, 0, 32)
    assert (both[10], both[150]) == (63, 32)


def test_silence_and_nothing() -> None:
    assert draw(np.zeros((100, 1), np.float32)) == [0] * POINTS
    assert draw(np.array([[-0.5]], np.float32)) == [63] * POINTS
    assert EnvelopeMeter().draw("mix") == ""
