import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sercli.audio.decode import read_signal
from sercli.audio.degradation import degrade
from sercli.audio.segmentation import Segment, segment_blocks
from sercli.corpora.index import read_index, write_index
from sercli.errors import InputError, UsageError
from sercli.evaluation.compare import compare
from sercli.evaluation.predictions import read_predictions
from sercli.evaluation.scores import summarize
from sercli.features.frontend import extract_features
from sercli.files import read_json_object, write_json
from sercli.models.model import load_model
from sercli.splits.protocols import make_folds
from sercli.training.data import TrainingPlan
from sercli.training.recipe_files import RECIPES
from tests.evaluation.toy_plan import DEFAULT, SMALL, run_toy


def test_the_models_of_the_folder_are_tested_on_degraded_recordings(data: Path, default_results: Path) -> None:
    out = default_results
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    calls: list[tuple[int, int, TrainingPlan | None]] = []
    report = run_toy(data, out, recipe=DEFAULT, degrade="telephone", jobs=2, progress=lambda *call: calls.append(call))
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps, "nothing is trained or reported again"
    assert report.folder == out / "telephone"
    assert (report.degradation, report.test_name) == ("telephone", "loso, telephone")
    assert sorted(path.name for path in report.folder.iterdir()) == [
        "confusion.png",
        "predictions.csv",
        "reliability.png",
        "report.json",
    ]
    assert summarize(read_predictions(report.folder / "predictions.csv")) == report.scores
    rows, clean = (read_predictions(folder / "predictions.csv").rows for folder in (report.folder, out))
    assert [(row.file, row.seed, row.fold) for row in rows] == [(row.file, row.seed, row.fold) for row in clean]
    assert [row.probabilities for row in rows] != [row.probabilities for row in clean]
    assert (report.scores.overall.uar or 0) > 0.5  # of four emotions
    total = len(rows)
    assert calls[:2] == [(6, 6, TrainingPlan(missing=())), (0, total, None)], "all folds were trained before"
    assert calls[-1] == (total, total, None)
    assert not list(data.glob("*telephone*"))
    comparison = compare([out, report.folder])
    assert {row.protocol for row in comparison.rows} == {"loso", "loso, telephone"}
    assert not comparison.comparable


def test_the_report_of_an_earlier_evaluation_is_replaced(data: Path, default_results: Path, tmp_path: Path) -> None:
    out = shutil.copytree(default_results, tmp_path / "r")
    report = read_json_object(out / "report.json")
    folds = [{**fold, "identity": "another"} for fold in report["folds"]]
    write_json(out / "report.json", {**report, "recipe": "another", "folds": folds})
    run_toy(data, out, recipe=DEFAULT, degrade="gsm")
    again = read_json_object(out / "report.json")
    assert (again["recipe"], again["folds"]) == (report["recipe"], report["folds"])


def test_degraded_results_of_other_models_are_removed_with_them(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    arguments: dict[str, Any] = {"recipe": DEFAULT.with_max_epochs(1), "protocol": "k2"}
    run_toy(data, out, **arguments, degrade="telephone")
    run_toy(data, out, **arguments)
    assert (out / "telephone/report.json").exists(), "it is of the same models"
    kept = tmp_path / "kept"
    shutil.copytree(out, kept)
    run_toy(data, out, **{**arguments, "seed": 1}, restart=True)
    assert not (out / "telephone").exists()
    shutil.rmtree(kept / "folds")
    run_toy(data, kept, **{**arguments, "seed": 1})
    assert not (kept / "telephone").exists()


def test_a_damaged_fold_does_not_take_the_other_seeds_out_of_the_report(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    arguments: dict[str, Any] = {"recipe": SMALL.with_max_epochs(1), "protocol": "paper"}
    run_toy(data, out, **arguments, seeds=2)
    (out / "folds" / "seed0-fold1" / "model.onnx").unlink()
    with pytest.raises(InputError, match=r"does not have \(seed1-fold1\)"):
        run_toy(data, out, **arguments, degrade="gsm")
    assert read_json_object(out / "report.json")["seeds"] == [0, 1]


def test_a_degraded_recording_is_scored_as_predict_would_score_it(data: Path, default_results: Path) -> None:
    out = default_results
    run_toy(data, out, recipe=DEFAULT, degrade="gsm")
    row = read_predictions(out / "gsm" / "predictions.csv").rows[0]
    model = load_model(out / "folds" / "seed0-fold1")
    signal, rate = degrade(*read_signal(data / row.file), "gsm")
    segments = [
        segment
        for segment in segment_blocks(lambda: [(signal[:, None], rate)], model.audio, model.segmentation)
        if isinstance(segment, Segment)
    ]
    matrices = [extract_features(segment.signal, model.features) for segment in segments]
    expected = model.predict_proba(matrices, [segment.speech for segment in segments])
    np.testing.assert_array_equal(row.probabilities, expected)


def test_missing_folds_are_trained_first(data: Path, tmp_path: Path) -> None:
    report = run_toy(data, tmp_path / "r", recipe=SMALL.with_max_epochs(1), protocol="paper", degrade="telephone")
    assert (tmp_path / "r" / "folds" / "seed0-fold1" / "model.onnx").exists()
    clean = read_json_object(tmp_path / "r" / "report.json")
    assert (clean["degradation"], clean["overall"]["utterances"]) == ("", report.scores.overall.utterances)
    more = run_toy(
        data, tmp_path / "r", recipe=SMALL.with_max_epochs(1), protocol="paper", seeds=2, degrade="telephone"
    )
    assert more.scores.overall.utterances == 2 * report.scores.overall.utterances
    run_toy(data, tmp_path / "r", recipe=SMALL.with_max_epochs(1), protocol="paper", degrade="gsm")
    assert (tmp_path / "r" / "folds" / "seed1-fold1").exists(), "a test of some folds removes no others"


def test_recordings_that_cannot_be_tested_are_named(data: Path, tmp_path: Path) -> None:
    index = read_index(data / "index.csv")
    tested = {index.utterances[number].file for number in make_folds(index, "paper", 0)[0].test}
    utterances = tuple(replace(u, file="gone.wav") if u.file == min(tested) else u for u in index.utterances)
    write_index(data / "index-gone.csv", replace(index, utterances=utterances))
    report = run_toy(
        data,
        tmp_path / "r",
        index=replace(index, utterances=utterances),
        recipe=SMALL.with_max_epochs(1),
        protocol="paper",
        degrade="telephone",
    )
    assert [(failure.file, failure.reason) for failure in report.failures] == [("gone.wav", "no such file")]
    assert report.excluded == ("gone.wav",)
    assert report.scores.overall.utterances == len(tested) - 1


def test_what_cannot_be_degraded_is_refused_before_any_work(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown degradation 'fax': expected one of telephone, gsm"):
        run_toy(data, tmp_path / "r", degrade="fax")
    with pytest.raises(UsageError, match="svm has no network: leave out --degrade and --members"):
        run_toy(data, tmp_path / "r", recipe=RECIPES["svm"], degrade="gsm")
    assert not (tmp_path / "r").exists()
