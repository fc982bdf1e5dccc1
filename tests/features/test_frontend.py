import warnings
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sercli.audio.decode import read_signal
from sercli.audio.preprocess import preprocess, resample
from sercli.config import FEATURE_NAMES, AudioConfig, FeatureConfig
from sercli.errors import UsageError
from sercli.features.frontend import FrontEnd

Array = npt.NDArray[np.float32]
CONFIG = FeatureConfig()
FRONT_END = FrontEnd(CONFIG)
TOLERANCE = 1e-4  # absolute, after librosa's own scaling


def compute_with_librosa(signal: Array, config: FeatureConfig = CONFIG) -> dict[str, npt.NDArray[np.floating]]:
    """Each feature by the library function that defines it."""
    rate, n_fft, hop = config.sample_rate, config.n_fft, config.hop_length
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # signals shorter than a frame are meant
        magnitude = np.abs(librosa.stft(signal, n_fft=n_fft, hop_length=hop))
    power = magnitude**2
    mel = librosa.feature.melspectrogram(
        S=power, sr=rate, n_fft=n_fft, n_mels=config.n_mels, fmin=config.fmin, fmax=config.fmax
    )
    logmel = librosa.power_to_db(mel)
    # In double precision: silence in 128 bands has 1,131 dB in the first coefficient, where single precision steps by
    # more than the tolerance.
    mfcc = librosa.feature.mfcc(S=logmel.astype(np.float64), n_mfcc=config.n_mfcc)
    chroma = librosa.feature.chroma_stft(S=power, sr=rate, n_fft=n_fft, tuning=0.0)
    contrast = librosa.feature.spectral_contrast(S=magnitude, sr=rate, n_fft=n_fft, hop_length=hop)
    found = {
        "mfcc": mfcc,
        "chroma": chroma,
        "logmel": logmel,
        "contrast": contrast,
        "tonnetz": librosa.feature.tonnetz(chroma=chroma, sr=rate),
        "rms": librosa.feature.rms(y=signal, frame_length=n_fft, hop_length=hop),
        "zcr": librosa.feature.zero_crossing_rate(signal, frame_length=n_fft, hop_length=hop),
    }
    if mfcc.shape[1] >= config.delta_width:
        found["delta"] = librosa.feature.delta(mfcc, width=config.delta_width)
        found["delta2"] = librosa.feature.delta(mfcc, width=config.delta_width, order=2)
    return found


def split_rows(matrix: Array, config: FeatureConfig = CONFIG) -> dict[str, Array]:
    stops = np.cumsum(list(config.sizes.values()))
    return dict(zip(config.sizes, np.split(matrix, stops[:-1]), strict=True))


def assert_equals_librosa(signal: Array) -> None:
    ours, theirs = split_rows(FRONT_END.extract(signal)), compute_with_librosa(signal)
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape, name
        np.testing.assert_allclose(ours[name], expected, rtol=0, atol=TOLERANCE, err_msg=name)


def make_noise(n_samples: int, seed: int = 0) -> Array:
    return (0.1 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def make_impulse() -> Array:
    signal = np.zeros(8_000, np.float32)
    signal[4_000] = 1.0
    return signal


MADE: dict[str, Callable[[], Array]] = {
    "noise": lambda: make_noise(20_000),
    "silence": lambda: np.zeros(16_000, np.float32),
    "impulse": make_impulse,
    "clipped": lambda: np.clip(20 * make_noise(16_000), -1, 1),
    "shorter than a frame": lambda: make_noise(700),
    "one sample": lambda: make_noise(1),
    "nine frames": lambda: make_noise(8 * 256),
    "from 8 kHz": lambda: resample(make_noise(8_000), 8_000, 16_000),
    "tone": lambda: (0.5 * np.sin(2 * np.pi * 440 / 16_000 * np.arange(16_000))).astype(np.float32),
    "small offset": lambda: np.full(9_000, 1e-3, np.float32),
}


@pytest.mark.parametrize("name", MADE)
def test_every_feature_equals_librosa_on_made_signals(name: str) -> None:
    assert_equals_librosa(MADE[name]())


@pytest.mark.corpus
def test_every_feature_equals_librosa_on_a_hundred_real_recordings(corpora: Path) -> None:
    recordings = sorted((corpora / "ravdess").rglob("*.flac"))[::14][:100]
    assert len(recordings) == 100
    for recording in recordings:
        assert_equals_librosa(preprocess(*read_signal(recording), AudioConfig()))


@pytest.mark.parametrize("frames", range(1, 9))
def test_deltas_of_fewer_frames_than_the_filter_hold_the_last_frame(frames: int) -> None:
    signal = make_noise((frames - 1) * CONFIG.hop_length + 5)
    rows = split_rows(FRONT_END.extract(signal))
    held = np.pad(rows["mfcc"], ((0, 0), (0, CONFIG.delta_width - frames)), mode="edge")
    for order, name in ((1, "delta"), (2, "delta2")):
        expected = librosa.feature.delta(held, width=CONFIG.delta_width, order=order)[:, :frames]
        np.testing.assert_allclose(rows[name], expected, rtol=0, atol=TOLERANCE)


@given(st.lists(st.integers(1, 12_000), min_size=1, max_size=5), st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_a_batch_of_ragged_lengths_gives_what_each_signal_gives_alone(lengths: list[int], seed: int) -> None:
    signals = [make_noise(length, seed + number) for number, length in enumerate(lengths)]
    features, frames = FRONT_END([torch.from_numpy(signal) for signal in signals])
    assert frames.tolist() == [1 + length // CONFIG.hop_length for length in lengths]
    for row, signal in enumerate(signals):
        alone = FRONT_END.extract(signal)
        np.testing.assert_allclose(features[row, :, : frames[row]], alone, rtol=0, atol=TOLERANCE)
        assert not features[row, :, frames[row] :].any()


@pytest.mark.parametrize("name", FEATURE_NAMES)
def test_a_feature_alone_is_the_same_as_among_all(name: str) -> None:
    signal = make_noise(9_000)
    alone = FrontEnd(FeatureConfig(names=(name,))).extract(signal)
    np.testing.assert_allclose(alone, split_rows(FRONT_END.extract(signal))[name], rtol=0, atol=1e-6)


def test_the_transform_of_other_devices_equals_that_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    signal = make_noise(9_000)
    expected = FRONT_END.extract(signal)
    monkeypatch.setattr("sercli.features.frontend._transform_on_cpu", torch.fft.rfft)
    np.testing.assert_allclose(FRONT_END.extract(signal), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_batch_on_cuda_equals_the_cpu() -> None:
    signals = [torch.from_numpy(make_noise(length, length)) for length in (20_000, 700, 9_000)]
    expected, _ = FRONT_END(signals)
    found, _ = FrontEnd(CONFIG).cuda()(signals)
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=TOLERANCE)


def test_a_signal_without_samples_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one sample"):
        FRONT_END.extract(np.zeros(0, np.float32))


def test_contrast_of_a_sample_rate_too_low_for_its_bands_is_refused() -> None:
    with pytest.raises(UsageError, match="over 12800 Hz, found 8000 Hz"):
        FrontEnd(FeatureConfig(sample_rate=8_000, fmax=4_000.0))
