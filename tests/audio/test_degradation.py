import numpy as np
import pytest

from sercli.audio.degradation import DEGRADATIONS, TELEPHONE_RATE, degrade
from sercli.errors import UsageError


def make_tone(frequency: float, rate: int = 48_000, seconds: float = 0.5) -> np.ndarray:
    times = np.arange(int(rate * seconds)) / rate
    return (0.3 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_a_degradation_keeps_the_duration_and_returns_8_khz(name: str, rate: int) -> None:
    signal, found = degrade(make_tone(700, rate), rate, name)
    assert found == TELEPHONE_RATE
    assert len(signal) == pytest.approx(0.5 * TELEPHONE_RATE, abs=2)
    assert signal.dtype == np.float32


@pytest.mark.parametrize(("name", "floor"), [("telephone", 30.0), ("gsm", 3.0)])
def test_the_telephone_band_passes_with_the_noise_of_the_codec(name: str, floor: float) -> None:
    sent = make_tone(700, TELEPHONE_RATE)
    received, _ = degrade(sent, TELEPHONE_RATE, name)
    middle = slice(800, -800)
    noise = received[middle] - sent[middle]
    snr = 10 * np.log10(np.square(sent[middle]).mean() / np.square(noise).mean())
    assert floor < snr < 60


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_frequencies_above_the_band_are_removed(name: str) -> None:
    received, _ = degrade(make_tone(6_000), 48_000, name)
    assert np.abs(received[400:-400]).max() < 0.01


def test_stereo_is_mixed_and_clipped_at_full_scale() -> None:
    signal = np.stack([4 * make_tone(300), 4 * make_tone(300)], axis=1)
    received, _ = degrade(signal, 48_000, "telephone")
    assert received.ndim == 1
    assert np.abs(received).max() <= 1.0


def test_an_unknown_degradation_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="unknown degradation 'fax': expected one of telephone, gsm"):
        degrade(make_tone(300), 48_000, "fax")
