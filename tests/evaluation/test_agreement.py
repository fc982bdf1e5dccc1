"""What is measured is what ships: the models of an evaluation answer in predict as they did in the test."""

import csv
from pathlib import Path

import numpy as np
import pytest

from sercli.evaluation.predictions import TestRow, read_predictions
from sercli.labels import EMOTIONS
from sercli.models.model import load_model
from sercli.prediction.batch import predict_folder
from tests.evaluation.toy_plan import DEFAULT, run_toy
from tests.toy_index import featurize_toy


def predict(rows: list[TestRow], folder: Path, model: Path, out: Path) -> list[dict[str, str]]:
    predict_folder([folder / row.file for row in rows], out, model=model, jobs=1)
    with out.open(newline="") as stream:
        answers = {Path(answer["file"]).name: answer for answer in csv.DictReader(stream)}
    return [answers[Path(row.file).name] for row in rows]


@pytest.mark.parametrize("name", ["results", "default_results"])
def test_predict_answers_as_the_test_did(data: Path, tmp_path: Path, request: pytest.FixtureRequest, name: str) -> None:
    fold = request.getfixturevalue(name) / "folds" / "seed0-fold2"
    rows = read_predictions(fold / "predictions.csv")
    answers = predict(rows, data, fold, tmp_path / "report.csv")
    assert [answer["status"] for answer in answers] == ["ok"] * len(rows)
    assert [answer["emotion"] for answer in answers] == [row.prediction for row in rows]
    for row, answer in zip(rows, answers, strict=True):
        probabilities = [float(answer[f"p_{emotion}"]) for emotion in EMOTIONS]
        np.testing.assert_allclose(probabilities, row.probabilities, rtol=0, atol=1e-3)


def test_recordings_of_several_segments_are_averaged_alike(tmp_path: Path) -> None:
    data = featurize_toy(tmp_path / "data", takes=1, copies=0, seconds=9.5)
    run_toy(data, tmp_path / "r", recipe=DEFAULT.limit(1))
    fold = tmp_path / "r" / "folds" / "seed0-fold1"
    rows = read_predictions(fold / "predictions.csv")
    assert load_model(fold).segmentation.max_whole < 9.5
    answers = predict(rows, data, fold, tmp_path / "report.csv")
    for row, answer in zip(rows, answers, strict=True):
        probabilities = [float(answer[f"p_{emotion}"]) for emotion in EMOTIONS]
        np.testing.assert_allclose(probabilities, row.probabilities, rtol=0, atol=1e-3)
