import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sercli.audio.decode import read_signal
from sercli.audio.signal import Signal
from sercli.audio.voice import BATCH, FRAME, VOICE_RATE, Probabilities, VoiceDetector, _load

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
SPEECH = (
    "man-even.wav",
    "man-high-fast.flac",
    "man-loud.wav",
    "man-low-slow.flac",
    "woman-even.ogg",
    "woman-high-fast.wav",
    "woman-low-slow.wav",
)


def read_sample(name: str) -> Signal:
    signal, rate = read_signal(SAMPLES / name)
    assert rate == VOICE_RATE
    return np.ascontiguousarray(signal[:, 0])


def detect(signal: Signal) -> Probabilities:
    return VoiceDetector().feed(signal, last=True)


def detect_parts(signal: Signal, cuts: list[int]) -> Probabilities:
    detector = VoiceDetector()
    parts = np.split(signal, sorted(cuts))
    return np.concatenate([detector.feed(part, last=n == len(parts) - 1) for n, part in enumerate(parts)])


@settings(deadline=None, max_examples=40)
@given(cuts=st.lists(st.integers(0, 31_000), max_size=8))
def test_probabilities_do_not_depend_on_how_the_signal_comes(cuts: list[int]) -> None:
    signal = read_sample("man-even.wav")
    np.testing.assert_allclose(detect_parts(signal, cuts), detect(signal), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [100, FRAME, 1_000, 65_536])
def test_probabilities_do_not_depend_on_the_size_of_blocks(size: int) -> None:
    signal = np.tile(read_sample("woman-low-slow.wav"), 4)
    assert len(signal) > BATCH * FRAME  # so that there is more than one batch
    found = detect_parts(signal, list(range(size, len(signal), size)))
    np.testing.assert_allclose(found, detect(signal), rtol=0, atol=1e-6)


@given(length=st.integers(0, 5 * FRAME))
@settings(deadline=None, max_examples=20)
def test_there_is_one_probability_for_each_frame_begun(length: int) -> None:
    signal = np.zeros(length, np.float32)
    assert len(VoiceDetector().feed(signal)) == length // FRAME
    found = detect(signal)
    assert found.dtype == np.float32
    assert len(found) == -(-length // FRAME)
    assert ((found >= 0) & (found <= 1)).all()


def test_silence_and_faint_noise_are_no_speech() -> None:
    noise = 0.003 * np.random.default_rng(0).standard_normal(5 * VOICE_RATE).astype(np.float32)
    assert detect(np.zeros(5 * VOICE_RATE, np.float32)).max() < 0.1
    assert detect(noise).max() < 0.2


@pytest.mark.parametrize("name", SPEECH)
def test_speech_is_found_where_it_is_loud(name: str) -> None:
    signal = read_sample(name)
    frames = signal[: len(signal) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.square(frames).mean(axis=1)
    found = detect(signal)[: len(frames)]
    loud = power > power.mean()
    assert (found[loud] >= 0.5).mean() > 0.9


def test_silence_around_speech_is_told_from_it() -> None:
    silence = np.zeros(2 * VOICE_RATE, np.float32)
    signal = np.concatenate([silence, read_sample("man-even.wav"), silence])
    found = detect(signal)
    assert found[: len(silence) // FRAME - 2].max() < 0.1
    assert found[-len(silence) // FRAME // 2 :].max() < 0.1
    assert found.max() > 0.9


def test_detection_leaves_the_threads_of_torch_alone() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        _load.cache_clear()
        detect(np.zeros(FRAME, np.float32))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert "silero_vad" not in sys.modules
