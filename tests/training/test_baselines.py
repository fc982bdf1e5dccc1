import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from sercli.cli.app import app
from sercli.corpora.index import read_index
from sercli.errors import UsageError
from sercli.features.extraction import extract_store
from sercli.features.parameters import StoreParameters
from sercli.features.store import FeatureStore
from sercli.metrics import unweighted_average_recall
from sercli.splits.protocols import make_folds
from sercli.training.baselines import (
    compute_baseline_logits,
    compute_functionals,
    score_baseline,
    stack_functionals,
    train_baseline,
)
from sercli.training.calibration import fit_temperature
from sercli.training.classifiers import BASELINES
from sercli.training.data import CorpusFeatures
from sercli.training.recipe_files import RECIPES
from sercli.training.train import train
from tests.toy_index import index_toy

EMOTIONS = ("neutral", "happy", "sad", "angry")


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> CorpusFeatures:
    folder = tmp_path_factory.mktemp("data")
    index = index_toy(folder, speakers=6, takes=3, emotions=EMOTIONS)
    extract_store(index, folder / "features.h5", StoreParameters(), copies=1)
    with FeatureStore(folder / "features.h5") as store:
        return CorpusFeatures(read_index(folder / "index.csv"), store, RECIPES["svm"].features)


def test_functionals_are_the_statistics_of_each_feature() -> None:
    matrix = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    vector = compute_functionals(matrix)
    assert vector.shape == (5 * 3 + 1,)
    np.testing.assert_allclose(vector[:3], matrix.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(vector[3:6], matrix.std(axis=0), rtol=1e-5)
    np.testing.assert_allclose(vector[9:12], np.median(matrix, axis=0), rtol=1e-5)
    assert vector[-1] == pytest.approx(np.log(50))
    assert np.isfinite(compute_functionals(matrix[:1])).all()


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_learns_unseen_speakers(features: CorpusFeatures, name: str) -> None:
    fold = make_folds(features.index, "loso", 0)[0]
    with threadpool_limits(1):
        trained = train_baseline(features, fold, name, copies=1, seed=0)
        probabilities = score_baseline(features, fold.test, trained)
    assert trained.setting in BASELINES[name].settings
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    truth = np.asarray([features.labels.index(features.index.utterances[member].emotion) for member in fold.test])
    assert unweighted_average_recall(truth, probabilities.argmax(axis=1)) > 0.5


@pytest.mark.parametrize("name", ["knn", "logistic"])
def test_the_setting_and_the_temperature_that_suit_development_speakers_are_kept(
    features: CorpusFeatures, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some labels are wrong, so that settings differ in how many they get right.
    utterances = list(features.index.utterances)
    for number in np.random.default_rng(0).choice(len(utterances), len(utterances) // 3, replace=False):
        utterances[number] = replace(utterances[number], emotion="sad")
    noisy = copy.copy(features)
    noisy.index = replace(features.index, utterances=tuple(utterances))
    fold = make_folds(features.index, "loso", 0)[0]
    trained = train_baseline(noisy, fold, name, copies=1, seed=0)
    each = {}
    for setting in BASELINES[name].settings:
        with monkeypatch.context() as patch:
            patch.setitem(BASELINES, name, replace(BASELINES[name], settings=(setting,)))
            each[setting] = train_baseline(noisy, fold, name, copies=1, seed=0).dev_uar
    assert trained.dev_uar == each[trained.setting] == max(each.values()) > min(each.values())
    dev = stack_functionals(noisy.read(rows) for member in fold.dev for rows in noisy.list_copies(member))
    logits = compute_baseline_logits(trained.pipeline, dev, len(noisy.labels))
    truth = np.asarray([noisy.labels.index(utterances[member].emotion) for member in fold.dev])
    assert trained.temperature == pytest.approx(fit_temperature(logits, truth))
    assert trained.temperature != 1.0


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("count", [2, 4, 6])
def test_a_baseline_learns_from_very_few_utterances(features: CorpusFeatures, name: str, count: int) -> None:
    """Of two emotions, or of one and an utterance of another; fewer than any number of neighbors."""
    fold = make_folds(features.index, "loso", 0)[0]
    emotions = [features.index.utterances[member].emotion for member in fold.train]
    happy, sad = (
        [m for m, e in zip(fold.train, emotions, strict=True) if e == emotion] for emotion in ("happy", "sad")
    )
    few = replace(fold, train=tuple(sorted([*happy[: count - 1], sad[0]])))
    trained = train_baseline(features, few, name, copies=0, seed=0)
    probabilities = score_baseline(features, fold.test, trained)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)


def test_numbers_of_neighbors_are_no_more_than_there_are_utterances() -> None:
    assert [BASELINES["knn"].list_settings(count) for count in (3, 5, 20, 100)] == [(3,), (5,), (5, 15), (5, 15, 30)]
    assert BASELINES["svm"].list_settings(1) == BASELINES["svm"].settings


def test_one_seed_gives_one_forest(features: CorpusFeatures) -> None:
    fold = make_folds(features.index, "loso", 0)[0]
    one, two = (train_baseline(features, fold, "forest", copies=0, seed=3) for _ in range(2))
    np.testing.assert_array_equal(score_baseline(features, fold.test, one), score_baseline(features, fold.test, two))


def test_emotions_that_were_never_seen_are_ruled_out(features: CorpusFeatures) -> None:
    fold = make_folds(features.index, "loso", 0)[0]
    trained = train_baseline(features, fold, "logistic", copies=0, seed=0)
    vectors = stack_functionals(features.read(rows) for n in fold.test for rows in features.list_copies(n))
    logits = compute_baseline_logits(trained.pipeline, vectors, len(features.labels) + 1)
    assert softmax(logits / trained.temperature, axis=1)[:, -1].max() < 0.01


def test_a_baseline_has_no_model_folder(features: CorpusFeatures, tmp_path: Path) -> None:
    folder = features.index.folder
    with pytest.raises(UsageError, match="recipe svm is a baseline"):
        train(folder / "index.csv", folder / "features.h5", "svm", tmp_path / "m")
    assert not (tmp_path / "m").exists()
    with pytest.raises(UsageError, match="recipe svm is a baseline"):
        app(["train", "--recipe", "svm", "--max-epochs", "3"], standalone_mode=False)
    with pytest.raises(UsageError, match="recipe svm has no epochs: leave out --max-epochs"):
        RECIPES["svm"].with_max_epochs(3)
