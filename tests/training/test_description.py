from dataclasses import replace
from pathlib import Path

import pytest

from sercli.corpora.index import Index
from sercli.features.extraction import extract_store
from sercli.features.parameters import StoreParameters
from sercli.splits.fold import Fold
from sercli.training.data import CorpusFeatures
from sercli.training.description import identify_training
from sercli.training.recipe_files import RECIPES
from tests.training.toy import (
    SMALL,
)


def test_other_labels_are_another_training(
    features: CorpusFeatures, fold: Fold, monkeypatch: pytest.MonkeyPatch
) -> None:
    relabelled = replace(features.index, utterances=tuple(replace(u, emotion="sad") for u in features.index.utterances))
    before = identify_training(features, fold, SMALL, 0)
    with monkeypatch.context() as patch:
        patch.setattr(features, "index", relabelled)
        assert identify_training(features, fold, SMALL, 0) != before
    assert identify_training(features, fold, SMALL, 0) == before


def test_an_identity_names_what_training_depends_on_and_nothing_else(
    index: Index, features: CorpusFeatures, spectra: CorpusFeatures, fold: Fold, tmp_path: Path
) -> None:
    default = RECIPES["default"]
    extract_store(index, tmp_path / "plain.h5", StoreParameters())
    with CorpusFeatures(index, tmp_path / "plain.h5", ("logmel",)) as plain:
        assert identify_training(plain, fold, default, 0) == identify_training(spectra, fold, default, 0), "no copies"
    before = identify_training(features, fold, SMALL, 0)
    others = [
        identify_training(features, fold, SMALL, 1),
        identify_training(features, fold, SMALL.with_members(2), 0),
        identify_training(features, replace(fold, train=fold.train[1:]), SMALL, 0),
        identify_training(features, fold, replace(SMALL, features=("logmel",)), 0),
        identify_training(features, fold, replace(SMALL, training=replace(SMALL.training, copies=0)), 0),
    ]
    assert len({before, *others}) == 6


def test_the_corpus_counts_only_where_the_loss_depends_on_it(
    features: CorpusFeatures, fold: Fold, monkeypatch: pytest.MonkeyPatch
) -> None:
    masked = replace(SMALL, training=replace(SMALL.training, masked=True))
    before = [identify_training(features, fold, recipe, 0) for recipe in (SMALL, masked)]
    others = replace(features.index, utterances=tuple(replace(u, corpus="other") for u in features.index.utterances))
    monkeypatch.setattr(features, "index", others)
    after = [identify_training(features, fold, recipe, 0) for recipe in (SMALL, masked)]
    assert [one == two for one, two in zip(before, after, strict=True)] == [True, False]
