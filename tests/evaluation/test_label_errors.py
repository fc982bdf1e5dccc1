"""Likely label errors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from sercli.corpora.index import Index, read_index
from sercli.errors import InputError
from sercli.evaluation.label_errors import rank_label_errors, read_label_errors
from sercli.labels import EMOTIONS
from sercli.training.recipe_files import RECIPES
from tests.evaluation.toy_plan import run_toy


def test_confident_joint_by_hand() -> None:
    # Thresholds are 0.7 and 0.6. The third sample is confidently of the second class, and the last of none; so one of
    # three labels of the first class is estimated to be wrong.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.6, 0.4]])
    truth = np.array([0, 0, 0, 1, 1])
    assert rank_label_errors(truth, probabilities) == [(2, 1)]


def test_class_without_samples_is_never_likely() -> None:
    probabilities = np.array([[0.05, 0.4, 0.55], [0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.2, 0.3, 0.5], [0.2, 0.3, 0.5]])
    assert rank_label_errors(np.array([0, 0, 0, 1, 1]), probabilities) == [(0, 1)]


@pytest.mark.parametrize("seed", [0, 1])
def test_most_planted_errors_are_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    right = rng.integers(4, size=400)
    features = rng.standard_normal((400, 8)) + 3.5 * np.eye(8)[right]
    planted = rng.choice(400, size=20, replace=False)
    truth = right.copy()
    truth[planted] = (right[planted] + rng.integers(1, 4, size=20)) % 4
    probabilities = cross_val_predict(LogisticRegression(), features, truth, cv=5, method="predict_proba")
    found = rank_label_errors(truth, probabilities)
    hits = [(sample, likely) for sample, likely in found if sample in planted]
    assert len(hits) >= 16
    assert sum(right[sample] == likely for sample, likely in hits) >= 16
    assert {sample for sample, _ in found[:10]} <= set(planted)
    assert len(found) <= 25


def mislabel(index: Index, every: int) -> tuple[Index, dict[str, str]]:
    """Gives one of so many utterances the label of another one; returns the right ones by file."""
    labels = sorted({utterance.emotion for utterance in index.utterances})
    rows = list(index.utterances)
    right = {}
    for number in range(every // 2, len(rows), every):
        right[rows[number].file] = rows[number].emotion
        wrong = labels[(labels.index(rows[number].emotion) + 2) % len(labels)]
        rows[number] = replace(rows[number], emotion=wrong)
    return replace(index, utterances=tuple(rows)), right


def test_planted_errors_in_a_corpus_are_found_by_an_evaluation(data: Path, tmp_path: Path) -> None:
    index, right = mislabel(read_index(data / "index.csv"), every=19)
    assert len(right) == 5
    run_toy(data, tmp_path / "results", index=index, recipe=RECIPES["logistic"], protocol="k3")
    check = read_label_errors(tmp_path / "results", index)
    errors = check.errors
    assert check.tested == len(index)
    assert len({error.file for error in errors} & set(right)) >= 4
    assert sum(right.get(error.file) == error.suggested for error in errors) >= 3
    assert len(errors) <= 12
    assert all(error.p_label < error.p_suggested and error.label in EMOTIONS for error in errors[:4])

    mended = replace(
        index, utterances=tuple(replace(u, emotion=right.get(u.file, u.emotion)) for u in index.utterances)
    )
    after = read_label_errors(tmp_path / "results", mended)
    assert not {error.file for error in after.errors} & set(right)
    assert after.tested == len(index) - len(right)

    others = replace(index, utterances=tuple(replace(u, file=f"other/{u.file}") for u in index.utterances))
    with pytest.raises(InputError, match="has no predictions for this index"):
        read_label_errors(tmp_path / "results", others)


def test_labels_that_the_evaluation_merged_are_not_corrected_ones(data: Path, tmp_path: Path) -> None:
    index, right = mislabel(read_index(data / "index.csv"), every=19)
    split = replace(
        index,
        utterances=tuple(replace(u, emotion="joy" if u.emotion == "happy" else u.emotion) for u in index.utterances),
    )
    run_toy(data, tmp_path / "r", index=split, recipe=RECIPES["logistic"], protocol="k3", label_map={"joy": "happy"})
    errors = read_label_errors(tmp_path / "r", split).errors
    assert len({error.file for error in errors} & set(right)) >= 4
