import librosa
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sercli.audio.preprocess import denoise, find_trim_bounds, normalize_level, preprocess, resample, to_mono
from sercli.config import AudioConfig
from sercli.errors import AudioError
from tests.sounds import preprocess_recording

pytestmark = pytest.mark.usefixtures("compiled_librosa")

Array = npt.NDArray[np.float32]


def make_burst(lead: int, body: int, tail: int, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    loud = 0.3 * rng.standard_normal(body)
    quiet = 1e-4 * rng.standard_normal(lead + body + tail)
    quiet[lead : lead + body] += loud
    return quiet.astype(np.float32)


@given(st.integers(0, 9_000), st.integers(1, 9_000), st.integers(0, 9_000), st.sampled_from([20.0, 40.0]))
@settings(max_examples=50)
def test_trim_equals_librosa(lead: int, body: int, tail: int, trim_db: float) -> None:
    signal = make_burst(lead, body, tail)
    _, (start, stop) = librosa.effects.trim(signal.astype(np.float64), top_db=trim_db)
    assert find_trim_bounds(signal, trim_db) == (start, stop)


def test_preprocessing_gives_mono_at_the_wanted_rate_and_level_without_silence() -> None:
    left = make_burst(24_000, 48_000, 24_000)
    stereo = np.stack([left, 0.5 * left], axis=1)
    signal = preprocess_recording(stereo, 48_000, AudioConfig(sample_rate=16_000, level_db=-20.0))
    assert signal.ndim == 1
    assert signal.dtype == np.float32
    assert 16_000 <= len(signal) <= 16_000 + 4 * 2_048
    assert np.sqrt(np.mean(signal**2)) == pytest.approx(0.1, rel=1e-3)


def test_level_before_preprocessing_does_not_matter() -> None:
    signal = make_burst(0, 20_000, 0)
    loud, quiet = (preprocess_recording(factor * signal, 16_000, AudioConfig()) for factor in (1.0, 0.01))
    np.testing.assert_allclose(loud, quiet, atol=1e-5)


@pytest.mark.parametrize("offset", [-0.3, 0.01, 0.05, 0.6])
def test_a_dc_offset_does_not_matter(offset: float) -> None:
    signal = make_burst(3_000, 20_000, 3_000)
    plain, shifted = (preprocess_recording(signal + np.float32(each), 16_000, AudioConfig()) for each in (0, offset))
    np.testing.assert_allclose(shifted, plain, atol=1e-5)


@pytest.mark.parametrize("level", [0.0, 1e-5, 0.5])
def test_a_recording_without_sound_leaves_nothing(level: float) -> None:
    assert len(preprocess_recording(np.full(16_000, level, np.float32), 16_000, AudioConfig())) == 0


@pytest.mark.parametrize("n_samples", [2, 3, 5])
def test_a_recording_of_a_few_samples_survives(n_samples: int) -> None:
    alternating = 0.5 * (-1.0) ** np.arange(n_samples, dtype=np.float32)
    assert len(preprocess_recording(alternating, 16_000, AudioConfig())) >= 1


@given(st.integers(0, 9_000), st.integers(100, 9_000), st.integers(0, 9_000))
@settings(max_examples=30)
def test_prepared_bounds_are_those_of_the_signal_that_is_kept(lead: int, body: int, tail: int) -> None:
    signal = make_burst(lead, body, tail)
    prepared = preprocess(signal, AudioConfig())
    kept = signal[prepared.start : prepared.stop]
    assert len(prepared.signal) == len(kept)
    centered = kept - signal.mean(dtype=np.float64)
    np.testing.assert_allclose(prepared.signal * np.std(kept) / np.std(prepared.signal), centered, atol=1e-5)


def test_resampling_keeps_a_tone_and_removes_what_would_alias() -> None:
    time = np.arange(48_000) / 48_000
    low, high = np.sin(2 * np.pi * 1_000 * time), np.sin(2 * np.pi * 12_000 * time)
    inside = resample((low + high).astype(np.float32), 48_000, 16_000)[1_000:-1_000]
    expected = np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000)[1_000:-1_000]
    np.testing.assert_allclose(inside, expected, atol=1e-3)


def test_mono_is_the_mean_of_the_channels() -> None:
    channels = np.asarray([[1.0, 0.0], [0.5, -0.5]], np.float32)
    np.testing.assert_array_equal(to_mono(channels), np.asarray([0.5, 0.0], np.float32))


def test_noise_reduction_lowers_the_noise_and_keeps_the_sound() -> None:
    rng = np.random.default_rng(0)
    time = np.arange(64_000) / 16_000
    speaking = (time % 1.0) < 0.2
    sound = 0.3 * np.sin(2 * np.pi * (400 + 300 * time) * time) * speaking
    noisy = (sound + 0.02 * rng.standard_normal(64_000)).astype(np.float32)
    cleaned = denoise(noisy, 16_000)
    pause = (time % 1.0) > 0.3
    before, after = (np.std(x[speaking]) / np.std(x[pause]) for x in (noisy, cleaned))
    assert after > 2 * before


@pytest.mark.parametrize("n_samples", [1, 600, 1_023, 1_024])
def test_noise_reduction_of_hardly_anything(n_samples: int) -> None:
    signal = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)
    cleaned = denoise(signal, 16_000)
    assert cleaned.shape == signal.shape
    assert np.isfinite(cleaned).all()


@pytest.mark.parametrize("channels", [1, 2])
def test_samples_far_beyond_full_scale_are_refused(channels: int) -> None:
    signal = np.full((4_800, channels), 3.3e38, np.float32) * np.sign(np.sin(np.arange(4_800)))[:, None]
    with pytest.raises(AudioError, match="far beyond full scale"):
        preprocess_recording(signal.astype(np.float32), 48_000, AudioConfig())


def test_level_of_zeros_stays() -> None:
    assert not normalize_level(np.zeros(10, np.float32), -20.0).any()
