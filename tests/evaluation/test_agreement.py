"""What is measured is what ships: evaluation and prediction give the same answers."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from sercli.corpora.index import read_index
from sercli.features.extraction import extract_store
from sercli.features.parameters import StoreParameters
from tests.command import run_sercli
from tests.evaluation.toy_plan import DEFAULT, run_toy
from tests.toy_index import index_toy


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def assert_agreement(data: Path, fold: Path, tmp_path: Path) -> list[dict[str, str]]:
    """Predicts the test recordings of a fold with its model, by the command; returns the rows of the evaluation."""
    evaluated = read_rows(fold / "predictions.csv")
    folder = read_index(data / "index.csv").folder
    paths = [str(folder / row["file"]) for row in evaluated]
    status, _, err = run_sercli("predict", *paths, "--model", fold, "--out", "report.csv", cwd=tmp_path)
    assert status == 0, err
    predicted = {row["file"]: row for row in read_rows(tmp_path / "report.csv")}
    assert list(predicted) == paths
    for row, path in zip(evaluated, paths, strict=True):
        answer = predicted[path]
        assert (answer["status"], answer["emotion"]) == ("ok", row["prediction"])
        probabilities = {name: float(value) for name, value in row.items() if name.startswith("p_")}
        assert len(probabilities) >= 2
        assert {name: float(answer[name]) for name in probabilities} == pytest.approx(probabilities, abs=1e-3)
    return evaluated


def test_predict_gives_the_answers_of_evaluate(data: Path, default_results: Path, tmp_path: Path) -> None:
    folds = sorted((default_results / "folds").iterdir())
    assert len(folds) == 6
    rows = assert_agreement(data, folds[0], tmp_path)
    assert len(rows) == 16
    assert len({row["prediction"] for row in rows}) > 1


def test_both_cut_long_recordings_alike(tmp_path: Path) -> None:
    index = index_toy(tmp_path, speakers=4, emotions=("happy", "sad"), takes=2, seconds=10.0)
    extract_store(index, tmp_path / "features.h5", StoreParameters())
    recipe = replace(DEFAULT, training=replace(DEFAULT.training, max_epochs=2))
    run_toy(tmp_path, tmp_path / "results", recipe=recipe)
    fold = min((tmp_path / "results/folds").iterdir())
    assert len(assert_agreement(tmp_path, fold, tmp_path)) == 4
