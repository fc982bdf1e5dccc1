import librosa
import numpy as np
import pytest

from sercli.config import AudioConfig
from sercli.errors import UsageError
from sercli.features.filters import find_contrast_bands, make_chroma_filters, make_mel_filters, mel_frequencies
from sercli.features.parameters import StoreParameters

pytestmark = pytest.mark.usefixtures("compiled_librosa")


@pytest.mark.parametrize(
    ("rate", "n_fft", "bands", "low", "high"), [(16_000, 1_024, 128, 40, 8_000), (8_000, 256, 10, 0, 900)]
)
def test_mel_filters_equal_librosa(rate: int, n_fft: int, bands: int, low: float, high: float) -> None:
    expected = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=bands, fmin=low, fmax=high)
    np.testing.assert_allclose(make_mel_filters(rate, n_fft, bands, low, high), expected, rtol=1e-5, atol=1e-9)
    frequencies = librosa.mel_frequencies(bands, fmin=low, fmax=high)
    np.testing.assert_allclose(mel_frequencies(bands, low, high), frequencies, rtol=1e-9)


@pytest.mark.parametrize("n_chroma", [12, 24, 7])
def test_chroma_filters_equal_librosa(n_chroma: int) -> None:
    expected = librosa.filters.chroma(sr=16_000, n_fft=1_024, tuning=0.0, n_chroma=n_chroma)
    np.testing.assert_allclose(make_chroma_filters(16_000, 1_024, n_chroma).T, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("rate", "n_fft"), [(16_000, 64), (48_000, 128), (48_000, 64)])
def test_contrast_needs_bins_in_every_band(rate: int, n_fft: int) -> None:
    with pytest.raises(UsageError, match=f"raise n_fft, found {n_fft}"):
        find_contrast_bands(rate, n_fft)


def test_preprocessing_and_features_have_one_sample_rate() -> None:
    with pytest.raises(UsageError, match="need one sample rate, found 8000 and 16000 Hz"):
        StoreParameters(audio=AudioConfig(sample_rate=8_000))
