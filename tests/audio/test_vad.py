import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sercli.audio.vad import CONTEXT, FRAME, SAMPLE_RATE, STATE, VoiceDetector
from tests.sounds import read_sample

SPEECH = (
    "man-even.wav",
    "man-high-fast.flac",
    "man-loud.wav",
    "man-low-slow.flac",
    "woman-even.ogg",
    "woman-high-fast.wav",
    "woman-low-slow.wav",
)
Vector = npt.NDArray[np.float32]


def detect(signal: Vector, **options: Any) -> Vector:
    probabilities: Vector = VoiceDetector().feed(signal[None], last=True, **options)[0]
    return probabilities


def detect_in_parts(signal: Vector, bounds: list[int], **options: Any) -> Vector:
    detector = VoiceDetector()
    parts = np.split(signal, sorted(bounds))
    found = [detector.feed(part[None], last=n == len(parts) - 1, **options)[0] for n, part in enumerate(parts)]
    return np.concatenate(found)


@cache
def load_original() -> onnxruntime.InferenceSession:
    """The network as the package silero-vad ships it."""
    spec = importlib.util.find_spec("silero_vad")
    assert spec is not None
    assert spec.origin is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    path = Path(spec.origin).parent / "data/silero_vad_16k_sequence.onnx"
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def detect_by_original(signal: Vector) -> Vector:
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), signal, np.zeros(-len(signal) % FRAME, np.float32)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + FRAME)[::FRAME]
    state = np.zeros((1, 1, STATE), np.float32)
    probabilities: Vector
    (probabilities,) = load_original().run(["speech_probs"], {"input": frames.copy(), "h": state, "c": state})
    return probabilities


@cache
def make_noisy(seed: int) -> Vector:
    """A sentence over noise, louder and softer, with a hum and a stretch of digital silence."""
    rng = np.random.default_rng(seed)
    speech = np.tile(read_sample(SPEECH[seed % len(SPEECH)]), 2)
    level = 10 ** rng.uniform(-2, 0.3)
    noise = 0.1 * level * 10 ** rng.uniform(-2, 0) * rng.standard_normal(len(speech))
    hum = 0.1 * level * 10 ** rng.uniform(-2, 0) * np.sin(2 * np.pi * 100 * np.arange(len(speech)) / SAMPLE_RATE)
    mixed = level * speech + noise + hum
    mixed[len(mixed) // 3 : len(mixed) // 2] = 0
    return mixed.astype(np.float32)


@pytest.mark.parametrize("seed", range(14))
def test_probabilities_equal_those_of_the_original_network(seed: int) -> None:
    signal = make_noisy(seed)
    signal = np.where(signal == 0, np.float32(1e-6), signal)  # frames of digital silence would be skipped
    expected = detect_by_original(signal)
    assert expected.max() > 0.5 > expected.min()
    np.testing.assert_allclose(detect(signal), expected, rtol=0, atol=1e-4)


@settings(max_examples=15)
@given(bounds=st.lists(st.integers(0, 31_000), max_size=8), seed=st.integers(0, 6))
def test_probabilities_do_not_depend_on_how_the_signal_is_divided(bounds: list[int], seed: int) -> None:
    signal = make_noisy(seed)[:31_000]
    np.testing.assert_allclose(detect_in_parts(signal, bounds), detect(signal), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [100, FRAME, 1_000, 65_536])
def test_probabilities_do_not_depend_on_the_size_of_blocks(size: int) -> None:
    signal = np.tile(read_sample("woman-low-slow.wav"), 4)
    assert len(signal) > 65_536
    found = detect_in_parts(signal, list(range(size, len(signal), size)))
    np.testing.assert_allclose(found, detect(signal), rtol=0, atol=1e-5)


@settings(max_examples=10)
@given(channels=st.lists(st.integers(0, 13), min_size=1, max_size=4), size=st.integers(300, 40_000))
def test_channels_side_by_side_equal_channels_alone(channels: list[int], size: int) -> None:
    signals = np.stack([np.resize(make_noisy(seed), 40_000) for seed in channels])
    detector = VoiceDetector(len(channels))
    floor = 0.01
    found = [
        detector.feed(signals[:, start : start + size], floor=floor, last=start + size >= 40_000)
        for start in range(0, 40_000, size)
    ]
    expected = np.stack([detect(signal, floor=floor) for signal in signals])
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, rtol=0, atol=1e-5)


def test_silent_frames_are_skipped_and_change_nothing() -> None:
    speech = read_sample("man-even.wav")
    speech = speech[: len(speech) // FRAME * FRAME]
    half = len(speech) // FRAME // 2
    found = []
    for count in (1, 100):
        silence = np.zeros(count * FRAME, np.float32)
        all_frames = detect(np.concatenate([speech[: half * FRAME], silence, speech[half * FRAME :]]))
        assert not all_frames[half : half + count].any()
        found.append(np.delete(all_frames, slice(half, half + count)))
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[0][:half], detect(speech)[:half], rtol=0, atol=1e-6)


def test_each_channel_has_a_floor_of_its_own() -> None:
    speech = read_sample("man-even.wav")
    floor = np.array([[0.0], [2.0]], np.float32)
    found = VoiceDetector(2).feed(np.stack([speech, speech]), floor=floor, last=True)
    np.testing.assert_allclose(found[0], detect(speech), rtol=0, atol=1e-6)
    assert not found[1].any()


@given(length=st.integers(0, 5 * FRAME))
@settings(max_examples=20)
def test_each_frame_that_has_begun_has_one_probability(length: int) -> None:
    signal = 0.1 * np.random.default_rng(0).standard_normal(length).astype(np.float32)
    assert VoiceDetector().feed(signal[None]).shape == (1, length // FRAME)
    found = detect(signal)
    assert found.dtype == np.float32
    assert len(found) == -(-length // FRAME)
    assert ((found >= 0) & (found <= 1)).all()


def test_silence_and_faint_noise_are_not_speech() -> None:
    noise = 0.003 * np.random.default_rng(0).standard_normal(5 * SAMPLE_RATE).astype(np.float32)
    assert detect(np.zeros(5 * SAMPLE_RATE, np.float32)).max() < 0.1
    assert detect(noise).max() < 0.2


@pytest.mark.parametrize("name", SPEECH)
def test_speech_is_found_where_it_is_loud(name: str) -> None:
    signal = read_sample(name)
    frames = signal[: len(signal) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.square(frames).mean(axis=1)
    found = detect(signal)[: len(frames)]
    loud = power > power.mean()
    assert (found[loud] >= 0.5).mean() > 0.9


def test_silence_around_speech_is_not_speech() -> None:
    silence = np.zeros(2 * SAMPLE_RATE, np.float32)
    found = detect(np.concatenate([silence, read_sample("man-even.wav"), silence]))
    assert found[: len(silence) // FRAME - 2].max() < 0.1
    assert found[-len(silence) // FRAME // 2 :].max() < 0.1
    assert found.max() > 0.9
