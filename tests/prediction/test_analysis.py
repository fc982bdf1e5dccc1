from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sercli.audio.decode import read_signal
from sercli.audio.preprocess import preprocess
from sercli.config import AudioConfig, FeatureConfig
from sercli.corpora.index import Index, Utterance
from sercli.features.extraction import extract_store
from sercli.features.frontend import FrontEnd
from sercli.features.parameters import StoreParameters
from sercli.features.store import FeatureStore
from sercli.files import hash_file
from sercli.prediction.analysis import Analysis, analyse, cut_windows
from sercli.prediction.discovery import Recording
from tests.sounds import Samples, make_tone, write_sound, write_tone

RATE = 16_000


@pytest.fixture(scope="module")
def front_end() -> FrontEnd:
    return FrontEnd(FeatureConfig())


def analyse_file(path: Path, front_end: FrontEnd) -> Analysis:
    return analyse(Recording(path=path, name=path.name), AudioConfig(), front_end)


def pause(seconds: float) -> Samples:
    return np.zeros((round(seconds * RATE), 1))


@pytest.mark.parametrize(
    ("name", "sample_rate", "channels"),
    [("mono.wav", 16_000, 1), ("stereo.flac", 48_000, 2), ("telephone.wav", 8_000, 1), ("odd.ogg", 22_050, 2)],
)
def test_features_are_those_of_the_store(
    tmp_path: Path, front_end: FrontEnd, name: str, sample_rate: int, channels: int
) -> None:
    path = write_tone(tmp_path / name, seconds=2.3, sample_rate=sample_rate, channels=channels)
    utterance = Utterance(file=name, corpus="csv", emotion="calm", sha256=hash_file(path))
    parameters = StoreParameters(audio=AudioConfig(), features=FeatureConfig(), dtype="float32")
    extract_store(Index(folder=tmp_path, utterances=(utterance,)), tmp_path / "store.h5", parameters)
    with FeatureStore(tmp_path / "store.h5") as store:
        stored = store.read(0)
    (window,) = analyse_file(path, front_end).windows
    np.testing.assert_array_equal(window, stored)


def test_a_long_recording_is_the_very_signal_of_training_cut_into_windows(tmp_path: Path, front_end: FrontEnd) -> None:
    path = write_tone(tmp_path / "long.wav", seconds=13.0, sample_rate=44_100, channels=2)
    analysis = analyse_file(path, front_end)
    signal = preprocess(*read_signal(path), AudioConfig())
    assert sum(analysis.lengths) == len(signal)
    assert len(analysis.windows) == 3
    start = analysis.lengths[0]
    second = front_end.extract(signal[start : start + analysis.lengths[1]])
    np.testing.assert_array_equal(analysis.windows[1], second)


@given(length=st.integers(0, 500), longest=st.integers(1, 100))
def test_windows_are_few_of_equal_length_and_leave_nothing_out(length: int, longest: int) -> None:
    signal = np.arange(length, dtype=np.float32)
    windows = cut_windows(signal, longest)
    np.testing.assert_array_equal(np.concatenate(windows), signal)
    lengths = [len(window) for window in windows]
    assert max(lengths) <= longest
    assert max(lengths) - min(lengths) <= 1
    assert len(windows) == max(1, -(-length // longest))


def test_speech_leaves_pauses_out_within_and_at_the_ends(tmp_path: Path, front_end: FrontEnd) -> None:
    tone = make_tone(seconds=1.0)
    samples = np.concatenate([pause(1.5), tone, pause(2.0), tone, pause(0.5)])
    analysis = analyse_file(write_sound(tmp_path / "pauses.wav", samples), front_end)
    assert analysis.duration == pytest.approx(6.0)
    assert analysis.speech == pytest.approx(2.0, abs=0.3)


@pytest.mark.parametrize("level", [0.0, 5e-5])
def test_silence_has_neither_windows_nor_error(tmp_path: Path, front_end: FrontEnd, level: float) -> None:
    path = write_sound(tmp_path / "silence.wav", level * np.ones(RATE), subtype="FLOAT")
    analysis = analyse_file(path, front_end)
    assert (analysis.windows, analysis.speech, analysis.error) == ((), 0.0, "")
    assert analysis.duration == 1.0


@pytest.mark.parametrize("level", [1e20, 3e38])
def test_samples_far_beyond_full_scale_fail_or_are_levelled(tmp_path: Path, front_end: FrontEnd, level: float) -> None:
    samples = np.concatenate([make_tone(level=level / 2), np.full((100, 1), level)])
    path = write_sound(tmp_path / "loud.wav", samples, subtype="FLOAT")
    analysis = analyse_file(path, front_end)
    assert analysis.error == "" or "too large" in analysis.error
    assert all(np.isfinite(window).all() for window in analysis.windows)
    assert bool(analysis.windows) != bool(analysis.error)
