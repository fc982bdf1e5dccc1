from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sercli.audio.cutters import Cutting, WindowCutter
from sercli.config import AudioConfig
from sercli.corpora.index import Index, Utterance
from sercli.features.extraction import extract_store
from sercli.features.frontend import FeatureConfig
from sercli.features.parameters import StoreParameters
from sercli.features.store import FeatureStore
from sercli.files import hash_file
from sercli.prediction.analysis import Analysis, AnalysisConfig, Piece, analyse
from sercli.prediction.discovery import Recording
from tests.sounds import make_tone, write_sound, write_tone

RATE = 16_000


def analyse_file(path: Path, cutting: Cutting | None = None) -> tuple[list[Piece], Analysis]:
    config = AnalysisConfig(audio=AudioConfig(), features=FeatureConfig(), cutting=cutting or Cutting(vad=False))
    *found, last = analyse(Recording(path=path, name=path.name), config)
    assert isinstance(last, Analysis)
    return [piece for piece in found if isinstance(piece, Piece)], last


@pytest.mark.parametrize(
    ("name", "sample_rate", "channels"),
    [("mono.wav", 16_000, 1), ("stereo.flac", 48_000, 2), ("telephone.wav", 8_000, 1), ("odd.ogg", 22_050, 2)],
)
def test_features_are_those_of_the_store(tmp_path: Path, name: str, sample_rate: int, channels: int) -> None:
    path = write_tone(tmp_path / name, seconds=2.3, sample_rate=sample_rate, channels=channels)
    utterance = Utterance(file=name, corpus="csv", emotion="calm", sha256=hash_file(path))
    parameters = StoreParameters(audio=AudioConfig(), features=FeatureConfig(), dtype="float32")
    extract_store(Index(folder=tmp_path, utterances=(utterance,)), tmp_path / "store.h5", parameters)
    with FeatureStore(tmp_path / "store.h5") as store:
        stored = store.read(0)
    ((piece,), _) = analyse_file(path)
    np.testing.assert_array_equal(piece.features, stored)


@given(length=st.integers(1, 4_000), window=st.integers(1, 500), hop=st.integers(1, 500), block=st.integers(1, 1_500))
def test_windows_cover_everything_whatever_the_blocks(length: int, window: int, hop: int, block: int) -> None:
    rate = AudioConfig().sample_rate
    hop = min(hop, window)
    cutter = WindowCutter(Cutting(vad=False), AudioConfig())
    cutter._window, cutter._hop = window, hop
    signal = np.ones(length, np.float32)
    spans = [
        (round(segment.start * rate), round(segment.end * rate))
        for start in range(0, length, block)
        for segment in cutter.feed(signal[start : start + block], last=start + block >= length)
    ]
    covered = np.zeros(length, bool)
    for start, stop in spans:
        assert stop - start == min(window, length)
        covered[start:stop] = True
    assert covered.all()
    assert spans[:-1] == [(number * hop, number * hop + window) for number in range(len(spans) - 1)]


@pytest.mark.parametrize("level", [0.0, 5e-5])
@pytest.mark.parametrize("vad", [False, True])
def test_silence_has_neither_pieces_nor_error(tmp_path: Path, level: float, vad: bool) -> None:
    path = write_sound(tmp_path / "silence.wav", level * np.ones(RATE), subtype="FLOAT")
    pieces, analysis = analyse_file(path, Cutting(vad=vad))
    assert (pieces, analysis.channels[0].speech, analysis.error) == ([], 0.0, "")
    assert analysis.duration == 1.0


@pytest.mark.parametrize("level", [1e20, 3e38])
def test_samples_far_beyond_full_scale_fail_or_are_levelled(tmp_path: Path, level: float) -> None:
    samples = np.concatenate([make_tone(level=level / 2), np.full((100, 1), level)])
    path = write_sound(tmp_path / "loud.wav", samples, subtype="FLOAT")
    pieces, analysis = analyse_file(path)
    assert analysis.error == "" or "too large" in analysis.error
    assert all(np.isfinite(piece.features).all() for piece in pieces)
    assert bool(pieces) != bool(analysis.error)
