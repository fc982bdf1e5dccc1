"""Level, clipping, noise and silence of recordings."""

from pathlib import Path

import numpy as np
import pytest

from sercli.audio.levels import measure_levels
from sercli.errors import AudioError
from tests.sounds import Samples, write_sound

RATE = 16_000


def make_sound(seconds: float = 2.0, *, level: float, noise: float = 0.0, pause: float = 0.0) -> Samples:
    """A sine of this amplitude that pauses at the end, in noise of this standard deviation."""
    time = np.arange(round(seconds * RATE)) / RATE
    sine = level * np.sin(2 * np.pi * 220 * time) * (time < seconds - pause)
    return sine + noise * np.random.default_rng(0).standard_normal(len(time))


def test_level_and_peak_of_a_sine(tmp_path: Path) -> None:
    levels = measure_levels(write_sound(tmp_path / "a.wav", make_sound(level=0.5)))
    assert levels.peak == pytest.approx(-6.02, abs=0.05)
    assert levels.level == pytest.approx(-9.03, abs=0.05)
    assert (levels.clipped, levels.silence, levels.is_silent) == (0, 0, False)


def test_pauses_are_silence_and_leave_the_level_as_it_is(tmp_path: Path) -> None:
    levels = measure_levels(write_sound(tmp_path / "a.wav", make_sound(level=0.5, pause=0.5)))
    assert levels.silence == pytest.approx(0.25, abs=0.02)
    assert levels.level == pytest.approx(-9.03, abs=0.1)


@pytest.mark.parametrize(("noise", "snr"), [(0.1, 11.3), (0.001, 51.0)])
def test_noise_in_pauses_is_measured(tmp_path: Path, noise: float, snr: float) -> None:
    levels = measure_levels(write_sound(tmp_path / "a.wav", make_sound(level=0.5, noise=noise, pause=0.5)))
    assert levels.snr == pytest.approx(snr, abs=1.0)


def test_clipped_samples_are_counted_in_every_channel(tmp_path: Path) -> None:
    both = np.stack([np.clip(make_sound(level=2.0), -1, 1), make_sound(level=0.1)], axis=1)
    assert 0.2 < measure_levels(write_sound(tmp_path / "a.wav", both)).clipped < 0.5


@pytest.mark.parametrize("samples", [1, 100, RATE])
def test_silent_recordings(tmp_path: Path, samples: int) -> None:
    levels = measure_levels(write_sound(tmp_path / "a.wav", np.zeros(samples)))
    assert levels.is_silent
    assert np.isfinite([levels.peak, levels.level, levels.snr]).all()


def test_recording_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match="is not a sound file"):
        measure_levels(tmp_path / "a.wav")


def test_a_float_recording_of_any_level_has_a_finite_one(tmp_path: Path) -> None:
    levels = measure_levels(write_sound(tmp_path / "a.wav", 1e25 * make_sound(level=0.5), subtype="FLOAT"))
    assert np.isfinite(levels.level)
    assert np.isfinite(levels.snr or 0)
