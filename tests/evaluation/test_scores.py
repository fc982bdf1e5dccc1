"""Every score of kept predictions equals that of scikit-learn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support, recall_score

from sercli.evaluation.predictions import PredictionRow, read_predictions
from sercli.evaluation.scores import summarize

RESULTS = Path(__file__).parents[1] / "benchmarks/results"


def score(rows: Sequence[PredictionRow]) -> dict[str, Any]:
    truth, prediction = [row.truth for row in rows], [row.prediction for row in rows]
    options: dict[str, Any] = {"labels": sorted(set(truth)), "average": "macro", "zero_division": 0}
    return {
        "utterances": len(rows),
        "uar": pytest.approx(recall_score(truth, prediction, **options)),
        "accuracy": pytest.approx(accuracy_score(truth, prediction)),
        "macro_f1": pytest.approx(f1_score(truth, prediction, **options)),
    }


@pytest.mark.parametrize("name", ["emobox-student", "pooled-default"])
def test_every_score_equals_that_of_scikit_learn(name: str) -> None:
    predictions = read_predictions(RESULTS / name / "predictions.csv")
    rows, labels = predictions.rows, list(predictions.labels)
    found = summarize(predictions).to_dict()
    overall = found["overall"]
    assert score(rows).items() <= overall.items()
    for group, column in (("per_gender", "gender"), ("per_corpus", "corpus")):
        values = {getattr(row, column) for row in rows}
        assert overall[group] == {v: score([row for row in rows if getattr(row, column) == v]) for v in values}
    for group, columns in (("per_seed", ("seed",)), ("per_fold", ("seed", "fold"))):
        for each in found[group]:
            own = [row for row in rows if all(getattr(row, column) == each[column] for column in columns)]
            assert score(own).items() <= each.items()
    truth, prediction = [row.truth for row in rows], [row.prediction for row in rows]
    assert [list(row) for row in overall["confusion"]] == confusion_matrix(truth, prediction, labels=labels).tolist()
    measured = zip(*precision_recall_fscore_support(truth, prediction, labels=labels, zero_division=0), strict=True)
    for label, expected in zip(labels, measured, strict=True):
        assert list(overall["per_class"][label].values()) == pytest.approx(expected)
    low, high = overall["accuracy_interval"]
    assert low < overall["accuracy"] < high
    assert overall["accuracy_interval"] != overall["uar_interval"]
