import importlib.metadata
import tomllib
from pathlib import Path

import numpy as np
import pytest

from sercli.audio.augment import (
    PITCH_RANGE,
    STRETCH_RANGE,
    Augmentation,
    augment,
    augmentation_version,
    draw_augmentations,
)

TONE = (0.5 * np.sin(2 * np.pi * 400 * np.arange(16_000) / 16_000)).astype(np.float32)


def find_pitch(signal: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(signal * np.hanning(len(signal)), 1 << 17))
    return float(spectrum.argmax() * 16_000 / (1 << 17))


def test_a_pitch_shift_moves_the_pitch_and_keeps_the_length() -> None:
    shifted = augment(TONE, 16_000, Augmentation(semitones=2.0))
    assert len(shifted) == len(TONE)
    assert find_pitch(shifted) == pytest.approx(400 * 2 ** (2 / 12), rel=0.01)


def test_a_time_stretch_moves_the_length_and_keeps_the_pitch() -> None:
    stretched = augment(TONE, 16_000, Augmentation(speed=0.85))
    assert len(stretched) == pytest.approx(len(TONE) / 0.85, rel=0.01)
    assert find_pitch(stretched) == pytest.approx(400, rel=0.01)


def test_augmentations_are_seeded_and_in_range_and_alternate() -> None:
    drawn = draw_augmentations("ab" * 32, 40, seed=1)
    assert drawn == draw_augmentations("ab" * 32, 40, seed=1)
    assert drawn != draw_augmentations("ab" * 32, 40, seed=2)
    assert drawn != draw_augmentations("cd" * 32, 40, seed=1)
    assert drawn[:10] == draw_augmentations("ab" * 32, 10, seed=1)
    for pitch, tempo in zip(drawn[::2], drawn[1::2], strict=True):
        assert 0 < abs(pitch.semitones) <= PITCH_RANGE
        assert pitch.speed == 1.0
        assert STRETCH_RANGE[0] <= tempo.speed <= STRETCH_RANGE[1]
        assert tempo.semitones == 0.0


def test_every_augmentation_has_its_own_name() -> None:
    assert str(Augmentation(semitones=-1.5)) == "pitch-1.50"
    assert str(Augmentation(speed=0.93)) == "speed0.930"


@pytest.mark.parametrize(
    ("librosa", "soxr", "expected"),
    [
        ("0.11.0", "1.1.0", "librosa0.11-soxr1"),
        ("1.0.0", "1.2.3", "librosa1-soxr1"),
        ("1.7.2", "0.5.0", "librosa1-soxr0.5"),
    ],
)
def test_libraries_that_make_copies_differently_have_different_versions(
    monkeypatch: pytest.MonkeyPatch, librosa: str, soxr: str, expected: str
) -> None:
    versions = {"librosa": librosa, "soxr": soxr}
    monkeypatch.setattr(importlib.metadata, "version", versions.__getitem__)
    augmentation_version.cache_clear()
    assert augmentation_version() == expected
    augmentation_version.cache_clear()


def test_the_version_is_that_of_what_is_installed() -> None:
    assert augmentation_version().startswith(f"librosa{importlib.metadata.version('librosa')[0]}")


def test_every_dependency_has_an_upper_bound() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [name for name in project["dependencies"] if ",<" not in name] == []
