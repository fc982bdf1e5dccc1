from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from sercli.models.model import load_model
from sercli.splits.development import make_training_split
from sercli.training.calibration import fit_temperature, list_truth, pool_logits
from sercli.training.data import CorpusFeatures
from tests.training.toy import (
    SMALL,
    run_train,
)


def test_the_temperature_found_is_the_one_that_was_put_in() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4_000, 8))
    truth = np.asarray([rng.choice(8, p=row) for row in softmax(logits, axis=1)])
    assert fit_temperature(3.0 * logits, truth) == pytest.approx(3.0, rel=0.08)


def test_development_scores_and_temperature_are_those_of_the_saved_model(
    data: Path, features: CorpusFeatures, tmp_path: Path
) -> None:
    result = run_train(data, tmp_path / "m", SMALL)
    model = load_model(tmp_path / "m")
    fold = make_training_split(features.index, 1)
    truth = list_truth(features, fold.dev)
    logits = pool_logits(features, fold.dev, model)
    assert model.temperature == fit_temperature(logits, truth) != 1.0
    probabilities = model.probabilities(logits)
    hits = probabilities.argmax(axis=1) == truth
    assert result.trained.dev.accuracy == hits.mean() == model.facts["training"]["dev_accuracy"]
    loss = -np.log(probabilities[np.arange(len(truth)), truth]).mean()
    assert result.trained.dev.loss == pytest.approx(loss)
    one = fold.dev[3]
    matrices, speech = zip(*features.segments(one), strict=True)
    np.testing.assert_array_equal(probabilities[3], model.predict_proba(matrices, speech))
