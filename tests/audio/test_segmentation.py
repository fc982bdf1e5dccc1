"""From recordings to segments: whole up to a length, cut at pauses beyond it, and never silent about a shout."""

import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sercli.audio.preprocess import StreamResampler, preprocess
from sercli.audio.segmentation import (
    AUDIO_PER_HEARTBEAT,
    WINDOWS,
    ChannelSummary,
    Segment,
    SegmentationConfig,
    Summary,
    read_segments,
    segment_blocks,
)
from sercli.audio.signal import Signal
from sercli.config import AUTO, MIX, SPLIT, AudioConfig
from sercli.errors import UsageError
from sercli.progress import Heartbeat
from tests.sounds import read_sample, write_sound

SPOKEN = ("woman-low-slow.wav", "man-even.wav", "woman-even.ogg", "man-low-slow.flac")
RATE = 16_000
AUDIO, CONFIG = AudioConfig(), SegmentationConfig()
PAUSE = 1.2  # seconds between sentences
BLOCK = 65_536
Samples = npt.NDArray[np.floating[Any]]
Bounds = npt.NDArray[np.float64]
UNHEARD = "no speech detected, scored because the level varies like speech"


@dataclass(frozen=True)
class Found:
    segments: list[Segment]
    summary: Summary

    @property
    def channel(self) -> ChannelSummary:
        (channel,) = self.summary.channels
        return channel

    @property
    def bounds(self) -> Bounds:
        """Where each segment begins and ends (s), shape ``(n_segments, 2)``."""
        return np.array([(segment.start, segment.end) for segment in self.segments]).reshape(-1, 2)


def cut(
    signal: Samples, rate: int = RATE, *, config: SegmentationConfig = CONFIG, channels: str = MIX, block: int = BLOCK
) -> Found:
    """Segments of a signal of shape ``(n_samples,)`` or ``(n_samples, channels)``."""
    wide = signal.astype(np.float32).reshape(len(signal), -1)

    def read() -> Iterator[tuple[Signal, int]]:
        return ((wide[start : start + block], rate) for start in range(0, len(wide), block))

    *rest, summary = segment_blocks(read, AUDIO, config, channels=channels)
    assert isinstance(summary, Summary)
    assert summary.duration == pytest.approx(len(signal) / rate)
    return Found([each for each in rest if isinstance(each, Segment)], summary)


@cache
def read_leveled(name: str) -> Signal:
    signal = read_sample(name)
    scaled: Signal = signal / np.abs(signal).max() * np.float32(0.7)
    return scaled


@cache
def make_talk() -> tuple[Signal, tuple[tuple[float, float], ...]]:
    """Sentences with pauses before, between and after, and where the sound of each begins and ends (s)."""
    rng = np.random.default_rng(0)
    parts: list[Signal] = []
    spans = []
    for name in SPOKEN:
        sentence = read_leveled(name)
        parts.append(1e-4 * rng.standard_normal(round(PAUSE * RATE)).astype(np.float32))
        start = sum(map(len, parts)) / RATE
        loud = np.flatnonzero(np.abs(sentence) > 0.05 * np.abs(sentence).max())
        spans.append((start + loud[0] / RATE, start + loud[-1] / RATE))
        parts.append(sentence)
    return np.concatenate([*parts, parts[0]]), tuple(spans)


def make_hum(seconds: float) -> Samples:
    time = np.arange(round(seconds * RATE)) / RATE
    hum: Samples = 0.2 * np.sum([np.sin(2 * np.pi * 50 * k * time) / k for k in range(1, 8)], axis=0)
    return hum


def make_hiss(seconds: float, level: float = 0.05) -> Samples:
    hiss: Samples = level * np.random.default_rng(1).standard_normal(round(seconds * RATE))
    return hiss


def make_tone(seconds: float, frequency: float) -> Samples:
    tone: Samples = 0.3 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)
    return tone


def make_bursts(seconds: float, *, pitch: float = 700.0, seed: int = 0) -> Samples:
    """High-pitched, distorted harmonic bursts: as loud as a shout, and next to nothing to voice activity detection."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(pitch * (1 + 0.3 * np.sin(2 * np.pi * 3 * time))) / RATE
    carrier = np.tanh(20 * np.sum([np.sin(k * phase) for k in range(1, 6)], axis=0))
    envelope = np.clip(3 * np.sin(2 * np.pi * 1.3 * time), 0, 1)
    bursts: Samples = 0.6 * carrier * envelope + 1e-4 * rng.standard_normal(len(time))
    return bursts


@pytest.mark.parametrize("name", SPOKEN)
def test_a_short_recording_is_scored_whole_and_trimmed_as_in_training(name: str) -> None:
    signal = read_leveled(name)
    (segment,) = cut(signal).segments
    expected = preprocess(signal, AUDIO)
    np.testing.assert_array_equal(segment.signal, expected.signal)
    assert (segment.start, segment.end) == (expected.start / RATE, expected.stop / RATE)
    assert 0 < segment.speech <= len(signal) / RATE


@pytest.mark.parametrize(("excess", "whole"), [(0, True), (1, False)])
def test_the_longest_whole_recording_is_exact_to_a_sample(excess: int, whole: bool) -> None:
    talk, _ = make_talk()
    found = cut(talk[: round(CONFIG.max_whole * RATE) + excess])
    assert (len(found.segments) == 1) == whole


def test_a_long_recording_is_cut_at_its_pauses() -> None:
    talk, spans = make_talk()
    found = cut(talk)
    assert len(found.segments) == len(spans)
    for segment, (start, end) in zip(found.segments, spans, strict=True):
        assert (segment.start, segment.end) == pytest.approx((start, end), abs=0.7)
        assert segment.speech <= segment.end - segment.start
    assert found.channel.speech == pytest.approx(sum(segment.speech for segment in found.segments))
    assert found.channel.warnings == ()


def test_speech_without_pauses_is_cut_into_segments_of_bounded_length() -> None:
    sentence = read_leveled("man-even.wav")
    loud = np.flatnonzero(np.abs(sentence) > 0.05)
    found = cut(np.tile(sentence[loud[0] : loud[-1]], 20))
    assert len(found.segments) > 5
    for segment in found.segments:
        assert segment.end - segment.start <= CONFIG.max_segment + 1e-6
    for one, other in itertools.pairwise(found.segments):
        assert one.end <= other.start + 1e-6
    assert found.channel.speech > 0.75 * found.summary.duration


@pytest.mark.parametrize("block", [777, 16_001, 200_000])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("long", [True, False])
def test_segments_do_not_depend_on_the_size_of_blocks(block: int, rate: int, long: bool) -> None:
    talk, _ = make_talk()
    signal = StreamResampler(RATE, rate)((talk[: 10 * RATE] if long else talk[: 4 * RATE])[None], last=True)[0]
    found, expected = cut(signal, rate, block=block), cut(signal, rate)
    assert len(expected.segments) == (3 if long else 1)
    np.testing.assert_allclose(found.bounds, expected.bounds, rtol=0, atol=1e-6)
    assert found.channel == expected.channel
    for one, other in zip(found.segments, expected.segments, strict=True):
        np.testing.assert_allclose(one.signal, other.signal, rtol=0, atol=1e-4)


def test_memory_does_not_grow_with_the_recording() -> None:
    talk, _ = make_talk()
    wide = np.stack([talk, np.roll(talk, 40_000)], axis=1)

    def measure(times: int) -> int:
        def read() -> Iterator[tuple[Signal, int]]:
            return ((wide[i : i + BLOCK], RATE) for _ in range(times) for i in range(0, len(wide), BLOCK))

        tracemalloc.start()
        try:
            for found in segment_blocks(read, AUDIO, CONFIG, channels=SPLIT):
                del found
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    measure(1)  # loads the weights
    short, long = measure(2), measure(7)
    assert long < 1.2 * short


@pytest.mark.parametrize("offset", [-0.05, 0.01, 0.05, 0.2])
def test_a_dc_offset_changes_next_to_nothing(offset: float) -> None:
    talk, _ = make_talk()
    for signal in (talk, talk[: 4 * RATE], talk[: 9 * RATE]):
        expected, found = cut(signal), cut(signal + np.float32(offset))
        assert len(found.segments) == len(expected.segments)
        assert found.bounds == pytest.approx(expected.bounds, abs=0.1)
        assert found.channel.speech == pytest.approx(expected.channel.speech, abs=0.2)
        assert found.channel.warnings == expected.channel.warnings


@pytest.mark.parametrize("level", [-20, -30, -40, -50, -57])
def test_the_level_changes_next_to_nothing(level: int) -> None:
    talk, _ = make_talk()
    for signal in (talk, talk[: 4 * RATE]):
        expected, found = cut(signal), cut(np.round(signal * 10 ** (level / 20) * 32_768) / 32_768)
        assert len(found.segments) == len(expected.segments)
        if level > -50:  # below, trimming a whole recording leaves the noise of 16 bits
            assert found.bounds == pytest.approx(expected.bounds, abs=0.7)
        assert found.channel.speech == pytest.approx(expected.channel.speech, rel=0.15)
        quiet = [warning for warning in found.channel.warnings if warning.startswith("very quiet (peak ")]
        assert len(quiet) == (level <= -57)


@pytest.mark.parametrize("seconds", [2.0, 20.0])
@pytest.mark.parametrize("pitch", [700.0, 900.0, 1_200.0])
def test_loud_sound_that_comes_and_goes_is_never_without_speech(seconds: float, pitch: float) -> None:
    found = cut(make_bursts(seconds, pitch=pitch))
    assert found.segments
    assert found.channel.speech > 0


@pytest.mark.parametrize("seconds", [2.0, 20.0])
def test_where_only_the_level_is_that_of_speech_all_is_scored_with_a_warning(seconds: float) -> None:
    """Sound that swells by 10 dB and that the voice detector surely does not take for a voice."""
    swell = 10 ** (np.sin(2 * np.pi * 0.8 * np.arange(round(seconds * RATE)) / RATE) / 4)
    found = cut(make_hiss(seconds) * swell)
    assert found.channel.warnings == (UNHEARD,)
    ends = found.bounds
    assert (ends[0, 0], ends[-1, 1]) == pytest.approx((0.0, seconds))
    assert found.channel.speech == pytest.approx(seconds, rel=0.1)
    assert {segment.channel for segment in found.segments} == {MIX}


@pytest.mark.parametrize("seconds", [0.5, 2.0, 20.0])
@pytest.mark.parametrize(
    "make",
    [
        lambda seconds: np.zeros(round(seconds * RATE)),
        lambda seconds: np.full(round(seconds * RATE), 0.3),
        lambda seconds: make_hiss(seconds, 2e-5),
        make_hum,
        make_hiss,
        lambda seconds: make_hiss(seconds, 0.001),
        *[
            lambda seconds, frequency=frequency: make_tone(seconds, frequency)
            for frequency in (60, 220, 440, 1_000, 3_000)
        ],
        lambda seconds: make_tone(seconds, 440) + make_tone(seconds, 554) + make_tone(seconds, 659),
    ],
    ids=["zeros", "offset", "faint", "hum", "hiss", "soft-hiss", "60", "220", "440", "1000", "3000", "chord"],
)
def test_silence_hum_hiss_and_steady_tones_are_without_speech(make: Callable[[float], Samples], seconds: float) -> None:
    found = cut(make(seconds))
    assert found.segments == []
    assert (found.channel.speech, found.channel.warnings) == (0.0, ())


def test_a_silent_side_is_still_a_side() -> None:
    for signal in (make_talk()[0], read_leveled("man-even.wav")):
        sides = np.stack([signal, np.zeros_like(signal)], axis=1)
        for wide, spoken in ((sides, "1"), (sides[:, ::-1], "2")):
            found = cut(wide, channels=AUTO)
            assert [channel.name for channel in found.summary.channels] == ["1", "2"]
            assert {segment.channel for segment in found.segments} == {spoken}
            assert [channel.speech > 0 for channel in found.summary.channels] == [spoken == "1", spoken == "2"]


def test_a_side_that_voice_activity_does_not_hear_is_scored_and_the_other_not_twice() -> None:
    talk, spans = make_talk()
    swell = 10 ** (np.sin(2 * np.pi * 0.8 * np.arange(len(talk)) / RATE) / 4)
    hiss = (make_hiss(len(talk) / RATE) * swell).astype(np.float32)
    found = cut(np.stack([talk, hiss], axis=1), channels=AUTO)
    assert [segment.channel for segment in found.segments] == ["1"] * len(spans) + ["2"] * 3
    one, two = found.summary.channels
    assert (one.warnings, two.warnings) == ((), (UNHEARD,))
    assert two.speech == pytest.approx(sum(each.speech for each in found.segments if each.channel == "2"))


def test_sides_are_cut_as_each_alone() -> None:
    talk, _ = make_talk()
    other = np.roll(talk, 30_000) * np.float32(0.1)
    found = cut(np.stack([talk, other], axis=1), channels=AUTO)
    for name, signal in (("1", talk), ("2", other)):
        own = Found([each for each in found.segments if each.channel == name], found.summary)
        np.testing.assert_allclose(own.bounds, cut(signal).bounds, rtol=0, atol=0.04)


@pytest.mark.parametrize("channels", [AUTO, MIX])
def test_dual_mono_is_mixed_and_its_inverse_not_canceled(channels: str) -> None:
    talk, _ = make_talk()
    expected = cut(talk)
    assert len(expected.segments) > 1
    for factor in (1, -1):
        found = cut(np.stack([talk, np.float32(factor) * talk], axis=1), channels=channels)
        assert found.summary == expected.summary
        for one, other in zip(found.segments, expected.segments, strict=True):
            np.testing.assert_allclose(one.signal, other.signal, rtol=0, atol=1e-6)


def test_a_call_of_six_channels_is_mixed_unless_it_is_split() -> None:
    talk, _ = make_talk()
    wide = np.stack([np.roll(talk, 20_000 * number) for number in range(6)], axis=1)
    assert [each.name for each in cut(wide, channels=AUTO).summary.channels] == [MIX]
    assert [each.name for each in cut(wide, channels=SPLIT).summary.channels] == list("123456")


@pytest.mark.parametrize("seconds", [0.5, 5.0, 6.0, 6.1, 14.0])
def test_fixed_windows_cover_everything(seconds: float) -> None:
    signal = make_tone(seconds, 300)
    found = cut(signal, config=SegmentationConfig(method=WINDOWS))
    starts = np.minimum(np.arange(0, seconds, 6.0), max(0.0, seconds - 6.0))
    np.testing.assert_allclose(found.bounds[:, 0], starts, rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.bounds[:, 1], np.minimum(starts + 6.0, seconds), rtol=0, atol=1e-3)
    fresh = np.diff(found.bounds[:, 1], prepend=0.0)
    assert [segment.speech for segment in found.segments] == pytest.approx(fresh.tolist(), abs=0.05)
    assert found.channel.speech == pytest.approx(seconds, abs=0.05)


def test_a_window_is_scored_although_all_that_is_new_in_it_is_silent() -> None:
    signal = np.concatenate([make_tone(2.0, 300), np.zeros(6 * RATE)])
    found = cut(signal, config=SegmentationConfig(method=WINDOWS, max_segment=3.0, hop=1.0))
    assert [segment.start for segment in found.segments] == [0.0, 1.0]
    assert found.channel.speech == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("seconds", [63.0, 140.0])
def test_a_long_recording_gives_signs_of_life(tmp_path: Path, seconds: float) -> None:
    path = write_sound(
        tmp_path / "long.wav", np.resize(make_talk()[0].astype(np.float64), round(seconds * 8_000)), 8_000
    )
    beats = [each.seconds for each in read_segments(path, AUDIO, CONFIG) if isinstance(each, Heartbeat)]
    steps = np.diff([0.0, *beats, seconds])
    assert steps[:-1].min() >= AUDIO_PER_HEARTBEAT
    assert steps.max() < AUDIO_PER_HEARTBEAT + 10


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "pauses"}, "method should be one of speech, windows"),
        ({"max_whole": -1.0}, "max_whole should be 0 to 60 s"),
        ({"max_segment": 61.0}, r"max_segment should be 0\.1 to 60 s"),
        ({"hop": 7.0}, r"hop should be 0\.01 s to max_segment"),
        ({"hop": float("nan")}, "hop"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SegmentationConfig.from_dict({**CONFIG.to_dict(), **values})
