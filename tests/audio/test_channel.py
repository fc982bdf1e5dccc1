import numpy as np
import pytest

from sercli.audio.channel import CHANNELS, TELEPHONE_RATE, apply_channel
from sercli.errors import UsageError


def make_tone(frequency: float, rate: int = 48_000, seconds: float = 0.5) -> np.ndarray:
    times = np.arange(int(rate * seconds)) / rate
    return (0.3 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_a_channel_keeps_the_time_and_ends_at_the_telephones_rate(name: str, rate: int) -> None:
    signal, found = apply_channel(make_tone(700, rate), rate, name)
    assert found == TELEPHONE_RATE
    assert len(signal) == pytest.approx(0.5 * TELEPHONE_RATE, abs=2)
    assert signal.dtype == np.float32


@pytest.mark.parametrize(("name", "floor"), [("telephone", 30.0), ("gsm", 3.0)])
def test_what_lies_in_the_band_comes_through_with_the_codecs_noise(name: str, floor: float) -> None:
    sent = make_tone(700, TELEPHONE_RATE)
    received, _ = apply_channel(sent, TELEPHONE_RATE, name)
    middle = slice(800, -800)
    noise = received[middle] - sent[middle]
    snr = 10 * np.log10(np.square(sent[middle]).mean() / np.square(noise).mean())
    assert floor < snr < 60


@pytest.mark.parametrize("name", CHANNELS)
def test_what_lies_beyond_the_band_does_not(name: str) -> None:
    received, _ = apply_channel(make_tone(6_000), 48_000, name)
    assert np.abs(received[400:-400]).max() < 0.01


def test_stereo_is_mixed_and_what_exceeds_full_scale_is_clipped() -> None:
    signal = np.stack([4 * make_tone(300), 4 * make_tone(300)], axis=1)
    received, _ = apply_channel(signal, 48_000, "telephone")
    assert received.ndim == 1
    assert np.abs(received).max() <= 1.0


def test_no_channel_leaves_the_signal_and_an_unknown_one_lists_those_there_are() -> None:
    signal = make_tone(300)
    same, rate = apply_channel(signal, 48_000, "")
    assert same is signal
    assert rate == 48_000
    with pytest.raises(UsageError, match="unknown channel 'fax': expected one of telephone, gsm"):
        apply_channel(signal, 48_000, "fax")
