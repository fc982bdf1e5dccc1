import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt
import pytest

from sercli.audio.decode import read_signal
from sercli.audio.preprocess import resample
from sercli.config import AudioConfig
from sercli.errors import UsageError
from sercli.features.frontend import FEATURES, Feature, FeatureConfig, compute_features, extract_features
from tests.sounds import preprocess_recording

pytestmark = pytest.mark.usefixtures("compiled_librosa")

Array = npt.NDArray[np.float32]
CONFIG = FeatureConfig()
TOLERANCE = 1e-4  # absolute, after librosa's own scaling


def compute_with_librosa(signal: Array, config: FeatureConfig = CONFIG) -> dict[str, npt.NDArray[np.floating]]:
    """Each feature by the library function that defines it, in shape ``(rows, n_frames)``."""
    rate, n_fft, hop = config.sample_rate, config.n_fft, config.hop_length
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # some signals are shorter than a frame on purpose
        magnitude = np.abs(librosa.stft(signal, n_fft=n_fft, hop_length=hop))
    power = magnitude**2
    mel = librosa.feature.melspectrogram(
        S=power, sr=rate, n_fft=n_fft, n_mels=config.n_mels, fmin=config.fmin, fmax=config.fmax
    )
    logmel = librosa.power_to_db(mel)
    # In double precision: silence in 128 bands has 1,131 dB in the first coefficient, where single precision steps by
    # more than the tolerance.
    mfcc = librosa.feature.mfcc(S=logmel.astype(np.float64), n_mfcc=config.n_mfcc)
    chroma = librosa.feature.chroma_stft(S=power, sr=rate, n_fft=n_fft, tuning=0.0, n_chroma=config.n_chroma)
    contrast = librosa.feature.spectral_contrast(S=magnitude, sr=rate, n_fft=n_fft, hop_length=hop)
    features = {
        "mfcc": mfcc,
        "chroma": chroma,
        "logmel": logmel,
        "contrast": contrast,
        "tonnetz": librosa.feature.tonnetz(chroma=chroma, sr=rate),
        "rms": librosa.feature.rms(y=signal, frame_length=n_fft, hop_length=hop),
        "zcr": librosa.feature.zero_crossing_rate(signal, frame_length=n_fft, hop_length=hop),
    }
    if mfcc.shape[1] >= config.delta_width:
        features["delta"] = librosa.feature.delta(mfcc, width=config.delta_width)
        features["delta2"] = librosa.feature.delta(mfcc, width=config.delta_width, order=2)
    return features


def assert_equals_librosa(signal: Array, config: FeatureConfig = CONFIG) -> None:
    ours, theirs = compute_features(signal, config), compute_with_librosa(signal, config)
    assert set(theirs) >= set(config.names) - {"delta", "delta2"}
    for name, expected in theirs.items():
        assert ours[name].T.shape == expected.shape, name
        np.testing.assert_allclose(ours[name].T, expected, rtol=0, atol=TOLERANCE, err_msg=name)


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
    "quiet": lambda: 1e-4 * make_noise(9_000),
}


@pytest.mark.parametrize("name", MADE)
def test_every_feature_equals_librosa_on_made_signals(name: str) -> None:
    assert_equals_librosa(MADE[name]())


@pytest.mark.parametrize(
    "config",
    [
        FeatureConfig(sample_rate=22_050, n_fft=2_048, hop_length=512, fmin=0.0, fmax=11_025.0),
        FeatureConfig(n_fft=1_000, hop_length=160, n_mels=80, n_mfcc=13, delta_width=5),
        FeatureConfig(n_fft=512, hop_length=100, n_mels=40, n_chroma=24, n_mfcc=40, fmax=7_600.0),
    ],
)
def test_every_feature_equals_librosa_with_other_parameters(config: FeatureConfig) -> None:
    assert_equals_librosa(make_noise(15_000), config)


@pytest.mark.corpus
def test_every_feature_equals_librosa_on_a_hundred_real_recordings(corpora: Path) -> None:
    recordings = sorted((corpora / "ravdess").rglob("*.flac"))[::14][:100]
    assert len(recordings) == 100
    for recording in recordings:
        assert_equals_librosa(preprocess_recording(*read_signal(recording), AudioConfig()))


@pytest.mark.parametrize("frames", range(1, 9))
def test_deltas_of_fewer_frames_than_the_filter_repeat_the_last_frame(frames: int) -> None:
    rows = compute_features(make_noise((frames - 1) * CONFIG.hop_length + 5), CONFIG)
    extended = np.pad(rows["mfcc"].T, ((0, 0), (0, CONFIG.delta_width - frames)), mode="edge")
    for order, name in ((1, "delta"), (2, "delta2")):
        expected = librosa.feature.delta(extended, width=CONFIG.delta_width, order=order)[:, :frames]
        np.testing.assert_allclose(rows[name].T, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_alone_is_the_same_as_among_all(name: str) -> None:
    signal = make_noise(9_000)
    alone = compute_features(signal, FeatureConfig(names=(name,)))[name]
    np.testing.assert_array_equal(alone, compute_features(signal, CONFIG)[name])


def test_the_matrix_holds_the_features_in_order_in_half_precision() -> None:
    signal = make_noise(9_000)
    matrix, features = extract_features(signal, CONFIG), compute_features(signal, CONFIG)
    assert matrix.dtype == np.float16
    assert matrix.shape == (CONFIG.n_features, 1 + 9_000 // CONFIG.hop_length)
    for name in FEATURES:
        np.testing.assert_array_equal(matrix[CONFIG.rows((name,))], features[name].T.astype(np.float16))


def test_a_signal_without_samples_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one sample"):
        extract_features(np.zeros(0, np.float32), CONFIG)


def test_contrast_of_a_sample_rate_too_low_for_its_bands_is_refused() -> None:
    with pytest.raises(UsageError, match="over 12800 Hz, found 8000 Hz"):
        extract_features(make_noise(900), FeatureConfig(sample_rate=8_000, fmax=4_000.0))


def test_a_new_feature_leaves_the_others_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {name: CONFIG.fingerprint_of(name) for name in FEATURES}
    peak = Feature(rows=lambda _: 1, compute=lambda analysis: np.abs(analysis.frames).max(axis=1, keepdims=True))
    monkeypatch.setitem(FEATURES, "peak", peak)
    config = FeatureConfig()
    assert config.names == (*known, "peak")
    assert {name: config.fingerprint_of(name) for name in known} == known
    signal = make_noise(3_000)
    assert extract_features(signal, config)[-1].max() == np.abs(signal).max().astype(np.float16)


def test_only_a_features_own_parameters_and_version_are_in_its_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    other = FeatureConfig(n_mels=80)
    changed = {name for name in FEATURES if other.fingerprint_of(name) != CONFIG.fingerprint_of(name)}
    assert changed == {"logmel", "mfcc", "delta", "delta2"}
    before = CONFIG.fingerprint_of("rms")
    monkeypatch.setitem(FEATURES, "rms", Feature(rows=FEATURES["rms"].rows, compute=FEATURES["rms"].compute, version=2))
    assert CONFIG.fingerprint_of("rms") != before


def test_the_front_end_imports_numpy_alone() -> None:
    code = (
        "import sys, numpy as np\n"
        "from sercli.features.frontend import FeatureConfig, extract_features\n"
        "assert extract_features(np.ones(2000, np.float32), FeatureConfig()).size\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'librosa', 'scipy', 'numba'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
