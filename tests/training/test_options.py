"""The options that train, evaluate and tune share."""

from dataclasses import fields
from pathlib import Path

import pytest

import sercli
from sercli.corpora.index import read_index
from sercli.errors import InputError, UsageError
from sercli.training.options import TrainingOptions, TrainingSettings
from tests.toy_index import index_toy


def test_every_option_has_a_default() -> None:
    assert {field.name: field.type for field in fields(TrainingSettings)} == TrainingOptions.__annotations__
    assert TrainingSettings().seed == 0


@pytest.mark.parametrize("name", ["train", "evaluate", "tune"])
def test_an_unknown_option_is_refused_before_anything_is_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=rf"{name}\(\) got an unexpected .* 'seeed'; did you mean seed"):
        getattr(sercli, name)(tmp_path / "index.csv", tmp_path / "features.h5", "default", tmp_path / "out", seeed=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["train", "evaluate", "tune", "featurize"])
@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_outside_the_range_is_refused_before_anything_is_read(name: str, seed: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"expected a seed of 0 to 2147483647, found {seed}"):
        getattr(sercli, name)(tmp_path / "index.csv", tmp_path / "features.h5", "default", seed=seed)
    assert not list(tmp_path.iterdir())


def test_utterances_are_selected_by_corpus_and_label(tmp_path: Path) -> None:
    index_toy(tmp_path, speakers=2, takes=1, seconds=0.1)
    path = tmp_path / "index.csv"
    assert TrainingSettings().read_utterances(str(path)) == read_index(path)
    settings = TrainingSettings(corpora=["ravdess"], emotions=["neutral", "sad"], label_map={"angry": "sad"})
    merged = settings.read_utterances(path)
    assert merged.labels == ("neutral", "sad")
    assert len(merged) == 3 * len(read_index(path)) // 4
    # Labels from Python are normalized like those from the command line.
    unclean = TrainingSettings(corpora=["ravdess"], emotions=["Neutral ", "SAD"], label_map={" angry": "Sad "})
    assert unclean.read_utterances(path) == merged
    with pytest.raises(InputError, match="corpus 'nemo' is not in the index"):
        TrainingSettings(corpora=["nemo"]).read_utterances(path)
