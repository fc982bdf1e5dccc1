from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from sercli.corpora.index import read_index, write_index
from sercli.models.model import load_model
from sercli.splits.development import make_training_split
from sercli.training.calibration import CORPUS_SHIFT, fit_temperature, list_truth, pool_logits
from sercli.training.data import CorpusFeatures
from sercli.training.train import train
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
    fitted = fit_temperature(logits, truth)
    assert model.temperature == CORPUS_SHIFT * fitted
    assert fitted != 1.0
    probabilities = replace(model, temperature=fitted).probabilities(logits)
    hits = probabilities.argmax(axis=1) == truth
    assert result.trained.dev.accuracy == hits.mean() == model.facts["training"]["dev_accuracy"]
    loss = -np.log(probabilities[np.arange(len(truth)), truth]).mean()
    assert result.trained.dev.loss == pytest.approx(loss)
    one = fold.dev[3]
    matrices, speech = zip(*features.segments(one), strict=True)
    np.testing.assert_array_equal(model.probabilities(logits[3]), model.predict_proba(matrices, speech))


def test_the_confidence_is_for_other_recordings_unless_ones_own_were_trained_on(data: Path, tmp_path: Path) -> None:
    index = read_index(data / "index.csv")
    some, others = tmp_path / "mixed.csv", tmp_path / "published.csv"
    speakers = sorted({utterance.speaker for utterance in index.utterances})
    own = tuple(replace(u, corpus="csv") if u.speaker in speakers[:3] else u for u in index.utterances)
    write_index(some, replace(index, utterances=own))
    write_index(others, index)
    models = {
        path.stem: train(
            path, data / "features.h5", SMALL.with_max_epochs(1), tmp_path / path.stem, seed=1, device="cpu"
        ).trained.model
        for path in (some, others)
    }
    assert models["mixed"].facts["calibrated_for"] == "recordings of the same corpora"
    assert models["published"].facts["calibrated_for"] == "recordings of other corpora"
    for name, model in models.items():
        with CorpusFeatures(read_index(tmp_path / f"{name}.csv"), data / "features.h5", SMALL.features) as features:
            dev = make_training_split(features.index, 1).dev
            fitted = fit_temperature(pool_logits(features, dev, model), list_truth(features, dev))
        assert model.temperature / fitted == pytest.approx({"mixed": 1.0, "published": CORPUS_SHIFT}[name])
        card = (tmp_path / name / "MODEL_CARD.md").read_text()
        assert f"The confidence is calibrated for {model.facts['calibrated_for']}.\n\n" in card
        assert ("it is calibrated for recordings of other corpora; for" in card) == (name == "published")
