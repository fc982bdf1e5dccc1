from pathlib import Path

import numpy as np
import pytest

from sercli.audio.decode import AudioReader
from sercli.audio.preprocess import SILENCE
from sercli.audio.signal import Signal
from sercli.audio.stereo import SAME, correlate_sides
from tests.sounds import read_sample, write_sound

RATE = 16_000


def make_noise(seconds: float = 3.0, level: float = 0.1, seed: int = 0) -> Signal:
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def correlate(left: Signal, right: Signal, block: int = 7_000) -> float | None:
    sides = np.stack([left, right], axis=1)
    return correlate_sides((sides[start : start + block], RATE) for start in range(0, len(sides), block))


@pytest.fixture
def speech() -> Signal:
    return read_sample("man-even.wav")


@pytest.fixture
def other(speech: Signal) -> Signal:
    return np.resize(read_sample("woman-low-slow.wav"), speech.shape)


def test_dual_mono_is_one_signal(speech: Signal) -> None:
    assert correlate(speech, speech) == pytest.approx(1)
    assert correlate(speech, 0.2 * speech) == pytest.approx(1)


@pytest.mark.parametrize("suffix", [".mp3", ".ogg"])
def test_dual_mono_is_one_signal_after_a_lossy_codec(tmp_path: Path, speech: Signal, suffix: str) -> None:
    path = write_sound(tmp_path / f"a{suffix}", np.stack([speech, 0.5 * speech], axis=1).astype(np.float64))
    correlation = correlate_sides(AudioReader(path))
    assert correlation is not None
    assert correlation > 0.99 > SAME


def test_two_speakers_are_two_signals(speech: Signal, other: Signal) -> None:
    correlation = correlate(speech, other)
    assert correlation is not None
    assert abs(correlation) < 0.2 < SAME


@pytest.mark.parametrize("suffix", [".mp3", ".ogg"])
def test_two_speakers_are_two_signals_after_a_lossy_codec(
    tmp_path: Path, speech: Signal, other: Signal, suffix: str
) -> None:
    path = write_sound(tmp_path / f"a{suffix}", np.stack([speech, other], axis=1).astype(np.float64))
    correlation = correlate_sides(AudioReader(path))
    assert correlation is not None
    assert abs(correlation) < 0.2


def test_inverted_dual_mono_is_recognized(speech: Signal) -> None:
    assert correlate(speech, -speech) == pytest.approx(-1)


def test_a_silent_side_tells_nothing(speech: Signal) -> None:
    silence = np.zeros_like(speech)
    assert correlate(speech, silence) is None
    assert correlate(silence, speech) is None
    assert correlate(silence, silence) is None
    assert correlate(speech, silence + 0.3) is None  # an offset is no sound
    assert correlate(speech, np.float32(0.5 * SILENCE) * np.sign(speech)) is None


def test_nothing_tells_nothing() -> None:
    assert correlate_sides([]) is None


def test_an_offset_does_not_fake_correlation() -> None:
    left, right = make_noise(seed=1), make_noise(seed=2)
    correlation = correlate(0.1 * left + 0.5, 0.1 * right + 0.5)
    assert correlation is not None
    assert abs(correlation) < 0.05
    assert correlate(0.1 * left + 0.5, 0.1 * left - 0.3) == pytest.approx(1, abs=1e-4)


def test_a_common_hum_under_two_speakers_does_not_make_them_one(speech: Signal, other: Signal) -> None:
    hum = (0.01 * np.sin(2 * np.pi * 50 * np.arange(len(speech)) / RATE)).astype(np.float32)
    correlation = correlate(speech + hum, other + hum)
    assert correlation is not None
    assert correlation < SAME


def test_correlation_does_not_depend_on_blocks(speech: Signal, other: Signal) -> None:
    mixed = speech + 0.3 * other
    assert correlate(speech, mixed, 100) == pytest.approx(correlate(speech, mixed, 10**6), abs=0.01)


def test_silence_before_the_sound_does_not_count_as_heard(speech: Signal) -> None:
    blocks = [(np.zeros((700 * 100, 2), np.float32), 100), (np.stack([speech, -speech], axis=1), 100)]
    assert correlate_sides(blocks) == pytest.approx(-1)
