import csv
import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sercli.corpora.index import Index, read_index
from sercli.errors import InputError, UsageError
from sercli.evaluation.predictions import COLUMNS, PredictionRow, Predictions, read_predictions, write_predictions
from sercli.evaluation.report import describe_test, read_scores
from sercli.evaluation.run import evaluate
from sercli.evaluation.scores import summarize
from sercli.labels import EMOTIONS
from sercli.models.model import load_model
from sercli.splits.protocols import make_folds
from sercli.training.calibration import fit_temperature, list_truth, pool_logits
from sercli.training.data import Batches, CorpusFeatures, TrainingPlan
from sercli.training.loop import FitResult, Teacher, fit
from sercli.training.recipe_files import RECIPES
from sercli.training.recipes import Recipe, TeacherConfig
from tests.evaluation.toy_plan import DEFAULT, SMALL, run_toy

LABELS = ("neutral", "happy", "sad", "angry")  # of the toy corpus


def permute_labels(index: Index) -> Index:
    """The same utterances with each other's emotions."""
    emotions = np.random.default_rng(5).permutation([u.emotion for u in index.utterances])
    pairs = zip(index.utterances, emotions.tolist(), strict=True)
    return replace(index, utterances=tuple(replace(u, emotion=emotion) for u, emotion in pairs))


def read_report(out: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return report


def test_unseen_speakers_are_learned(results: Path) -> None:
    assert read_report(results)["overall"]["uar"] > 0.6


@pytest.mark.parametrize("recipe", [SMALL, DEFAULT], ids=["paper", "default"])
def test_permuted_labels_stay_at_chance(data: Path, tmp_path: Path, recipe: Recipe) -> None:
    index = permute_labels(read_index(data / "index.csv"))
    report = run_toy(data, tmp_path / "r", index=index, recipe=recipe, protocol="k3")
    # Four emotions: chance is 0.25, and 96 utterances give it a standard deviation of 0.045.
    assert 0.1 < (report.scores.overall.uar or 0) < 0.4


def test_the_folder_holds_what_the_contract_names(results: Path) -> None:
    assert sorted(path.name for path in results.iterdir()) == [
        "confusion.png",
        "curves.png",
        "folds",
        "history.csv",
        "predictions.csv",
        "reliability.png",
        "report.json",
    ]
    assert sorted(path.name for path in (results / "folds").iterdir()) == [f"seed0-fold{n}" for n in range(1, 7)]
    assert sorted(path.name for path in (results / "folds" / "seed0-fold1").iterdir()) == [
        "MODEL_CARD.md",
        "fold.json",
        "history.csv",
        "model.json",
        "model.onnx",
        "model.safetensors",
        "predictions.csv",
    ]
    header = (results / "predictions.csv").read_text().splitlines()[0]
    assert header == ("file,corpus,speaker,gender,seed,fold,truth,prediction,p_neutral,p_happy,p_sad,p_angry")


def test_every_utterance_is_tested_once_a_seed_by_a_network_that_has_not_seen_its_speaker(
    data: Path, results: Path
) -> None:
    rows = read_predictions(results / "predictions.csv").rows
    assert Counter(row.file for row in rows) == Counter(u.file for u in read_index(data / "index.csv").utterances)
    folds = {fold["fold"]: fold for fold in read_report(results)["folds"]}
    for row in rows:
        assert row.speaker in folds[row.fold]["test_speakers"]
        assert row.speaker not in folds[row.fold]["train_speakers"]
        assert row.speaker not in folds[row.fold]["dev_speakers"]


def test_all_figures_can_be_computed_again_from_the_predictions(results: Path) -> None:
    report = read_report(results)
    scores = json.loads(json.dumps(summarize(read_predictions(results / "predictions.csv")).to_dict()))
    assert {name: report[name] for name in scores} == scores
    assert set(scores) == {"overall", "per_seed", "per_fold"}


def test_figures_equal_a_direct_reading_of_the_csv(results: Path) -> None:
    with (results / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    overall = read_report(results)["overall"]
    hits = [row["truth"] == row["prediction"] for row in rows]
    assert overall["accuracy"] == pytest.approx(np.mean(hits))
    recalls = [
        np.mean([row["prediction"] == emotion for row in rows if row["truth"] == emotion])
        for emotion in sorted({row["truth"] for row in rows})
    ]
    assert overall["uar"] == pytest.approx(np.mean(recalls))
    for row in rows:
        probabilities = [float(row[f"p_{label}"]) for label in LABELS]
        assert sum(probabilities) == pytest.approx(1.0)
        assert row["prediction"] == LABELS[int(np.argmax(probabilities))]
    confusion = np.asarray(overall["confusion"])
    assert confusion.sum() == len(rows)
    low, high = overall["uar_interval"]
    assert low <= overall["uar"] <= high


def test_the_report_says_how_it_came_about(results: Path) -> None:
    report = read_report(results)
    assert report["protocol"] == "loso"
    assert report["recipe"] == "paper"
    assert report["seeds"] == [0]
    assert report["command"] == "sercli evaluate"
    assert report["device"] == "cpu"
    assert report["versions"]["torch"]
    assert report["parameters"]["training"]["learning_rate"] == 0.01
    assert report["seconds"] > 0
    assert len(report["per_fold"]) == 6
    assert set(report["overall"]["per_gender"]) == {"female", "male"}


def test_two_evaluations_in_one_process_do_not_meet_and_jobs_change_nothing(data: Path, tmp_path: Path) -> None:
    index = read_index(data / "index.csv")
    some = replace(index, utterances=tuple(u for u in index.utterances if u.speaker != "ravdess-01"))
    two_folds: dict[str, Any] = {"recipe": SMALL.with_max_epochs(1), "protocol": "paper", "seeds": 2}
    run_toy(data, tmp_path / "all", jobs=2, **two_folds)
    run_toy(data, tmp_path / "some", jobs=2, index=some, **two_folds)
    run_toy(data, tmp_path / "alone", jobs=1, index=some, **two_folds)
    some_rows, alone = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("some", "alone"))
    assert some_rows == alone


def test_a_fold_is_scored_by_the_model_in_its_folder(data: Path, results: Path) -> None:
    index = read_index(data / "index.csv")
    fold = make_folds(index, "loso", 0)[2]
    model = load_model(results / "folds" / "seed0-fold3")
    with CorpusFeatures(index, data / "features.h5", SMALL.features) as corpus:
        probabilities = model.probabilities(pool_logits(corpus, fold.test, model))
        for member, row in zip(fold.test, probabilities, strict=True):
            matrices, speech = zip(*corpus.segments(member), strict=True)
            np.testing.assert_array_equal(row, model.predict_proba(matrices, speech))
    rows = read_predictions(results / "folds" / "seed0-fold3" / "predictions.csv").rows
    assert [row.file for row in rows] == [index.utterances[member].file for member in fold.test]
    np.testing.assert_array_equal([row.probabilities for row in rows], probabilities)
    assert list(rows) == [row for row in read_predictions(results / "predictions.csv").rows if row.fold == 3]


def test_a_fold_is_calibrated_on_its_development_utterances(data: Path, results: Path) -> None:
    index = read_index(data / "index.csv")
    with CorpusFeatures(index, data / "features.h5", SMALL.features) as corpus:
        for fold in make_folds(index, "loso", 0):
            model = load_model(results / "folds" / f"seed0-fold{fold.number}")
            of_dev, of_test = (
                fit_temperature(pool_logits(corpus, split, model), list_truth(corpus, split))
                for split in (fold.dev, fold.test)
            )
            assert model.temperature == pytest.approx(of_dev, rel=1e-3)
            assert model.temperature != pytest.approx(of_test, rel=1e-3)


def test_speakers_of_the_report_are_those_of_the_index_now(data: Path, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"recipe": SMALL.with_max_epochs(1), "protocol": "loso"}
    run_toy(data, tmp_path / "r", **arguments)
    old = read_predictions(tmp_path / "r/predictions.csv").rows
    index = read_index(data / "index.csv")
    renamed = [replace(u, speaker=f"{u.speaker}-b") for u in index.utterances]
    report = run_toy(data, tmp_path / "r", index=replace(index, utterances=tuple(renamed)), **arguments)
    new = read_predictions(tmp_path / "r/predictions.csv").rows
    assert [row.probabilities for row in new] == [row.probabilities for row in old], "nothing is trained again"
    assert [row.speaker for row in new] == [f"{row.speaker}-b" for row in old]
    assert all(speaker.endswith("-b") for fold in report.folds for speaker in (*fold.test_speakers, *fold.dev_speakers))


def test_at_least_one_seed_is_needed(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected at least 1 seed, found 0"):
        run_toy(data, tmp_path / "r", seeds=0)


def test_the_default_recipe_learns_unseen_speakers(default_results: Path) -> None:
    report = read_report(default_results)
    assert report["overall"]["uar"] > 0.6  # of four emotions
    bins = report["overall"]["reliability"]
    assert sum(each["count"] for each in bins) == report["overall"]["utterances"]


def test_a_corpus_is_tested_by_a_network_of_another_one(data: Path, tmp_path: Path) -> None:
    index = read_index(data / "index.csv")
    speakers = sorted({u.speaker for u in index.utterances})
    halves = tuple(
        replace(u, corpus="other" if u.speaker in speakers[:3] else u.corpus)
        for u in index.utterances
        if u.speaker in speakers[3:] or u.emotion != "sad"
    )
    report = run_toy(
        data,
        tmp_path / "r",
        index=replace(index, utterances=halves),
        recipe=SMALL.with_max_epochs(1),
        protocol="cross",
        train=["ravdess"],
        test=["other"],
    )
    assert report.protocol == "cross-ravdess-to-other"
    assert report.corpora.keys() == {"other", "ravdess"}
    rows = read_predictions(tmp_path / "r" / "predictions.csv").rows
    assert {row.corpus for row in rows} == {"other"}
    assert "sad" not in {row.truth for row in rows}
    assert report.scores.overall.per_corpus.keys() == {"other"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"protocol": "cross", "train": ["ravdess"]}, "--protocol cross requires --train and --test, and they"),
        ({"protocol": "loso", "train": ["ravdess"], "test": ["nemo"]}, "--protocol cross requires --train and --test"),
        ({"protocol": "cross", "train": ["nemo"], "test": ["nemo"]}, "expected different corpora to train and to test"),
        ({"protocol": "cross", "train": [], "test": ["nemo"]}, "found none to train on and nemo to test on"),
        ({"protocol": "cross"}, "--protocol cross requires --train and --test, and they"),
    ],
)
def test_corpora_to_train_and_test_on_go_with_protocol_cross(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate(tmp_path / "index.csv", tmp_path / "features.h5", "paper", tmp_path / "r", **arguments)


def test_utterances_that_are_not_in_the_store_are_named(data: Path, tmp_path: Path) -> None:
    index = read_index(data / "index.csv")
    stranger = replace(index.utterances[0], sha256="e" * 64)
    index = replace(index, utterances=(stranger, *index.utterances[1:]))
    steps: list[object] = []
    recipe = SMALL.with_max_epochs(1)
    report = run_toy(
        data, tmp_path / "r", index=index, recipe=recipe, protocol="paper", progress=lambda *step: steps.append(step)
    )
    assert report.excluded == (stranger.file,)
    assert steps[0] == (0, 1, TrainingPlan(missing=(stranger.file,))), "said before hours of training"


rows_strategy = st.builds(
    PredictionRow,
    file=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1),
    corpus=st.just("ravdess"),
    speaker=st.sampled_from(["a", "b", ""]),
    gender=st.sampled_from(["female", "male", ""]),
    seed=st.integers(0, 3),
    fold=st.integers(1, 3),
    truth=st.sampled_from(EMOTIONS),
    prediction=st.sampled_from(EMOTIONS),
    probabilities=st.tuples(*itertools.repeat(st.floats(0, 1), 8)),
)


@given(st.lists(rows_strategy, max_size=8))
@settings(max_examples=40)
def test_predictions_survive_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, rows: list[PredictionRow]
) -> None:
    path = tmp_path_factory.mktemp("predictions") / "predictions.csv"
    predictions = Predictions(labels=EMOTIONS, rows=tuple(rows))
    write_predictions(path, predictions)
    assert read_predictions(path) == predictions


@pytest.mark.parametrize(
    "text", [",".join((*COLUMNS, "p_a", "p_b")) + "\nonly,three,cells\n", "file,truth\na,joyful\n"]
)
def test_damaged_predictions_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError, match="row 1: not a prediction"):
        read_predictions(tmp_path / "p.csv")


def test_figures_for_the_card_must_be_of_the_same_recipe(results: Path, tmp_path: Path) -> None:
    figures = read_scores([results], SMALL.with_max_epochs(9).with_members(3))
    assert figures["loso"]["uar"] == read_report(results)["overall"]["uar"]
    assert figures["loso"]["speaker_independent"]
    assert (figures["loso"]["corpora"], figures["loso"]["labels"]) == (["ravdess"], list(LABELS))
    with pytest.raises(InputError, match="recipe 'paper', expected 'other'"):
        read_scores([results], replace(SMALL, name="other"))
    with pytest.raises(InputError, match=r"other parameters of recipe paper \(features, training\): evaluate again"):
        read_scores([results], replace(SMALL, features=("chroma",), training=replace(SMALL.training, copies=1)))
    with pytest.raises(InputError, match=r"other parameters of recipe paper \(teachers\): evaluate again"):
        read_scores([results], replace(SMALL, teachers=TeacherConfig(networks=2)))
    with pytest.raises(InputError, match=r"other parameters of recipe paper \(baseline\): evaluate again"):
        read_scores([results], replace(SMALL, baseline="svm"))
    distilled = json.loads((results / "report.json").read_text())
    distilled["parameters"]["teachers"] = TeacherConfig(networks=2).to_dict()
    (tmp_path / "report.json").write_text(json.dumps(distilled))
    with pytest.raises(InputError, match=r"other parameters of recipe paper \(teachers\): evaluate again"):
        read_scores([tmp_path], SMALL)
    more = json.loads((results / "report.json").read_text())
    more["parameters"]["features"]["names"].append("chroma")
    (tmp_path / "more").mkdir()
    (tmp_path / "more/report.json").write_text(json.dumps(more))
    with pytest.raises(InputError, match=r"other parameters of recipe paper \(features\): evaluate again"):
        read_scores([tmp_path / "more"], SMALL)
    student = replace(SMALL, teachers=TeacherConfig(networks=2))
    assert read_scores([tmp_path], student.with_max_epochs(1)) == read_scores([tmp_path], student)
    with pytest.raises(InputError, match="is a second report of loso: give one results folder per protocol"):
        read_scores([results, results], SMALL)


def test_each_fold_is_tested_by_as_many_members_as_the_recipe_has(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    report = run_toy(data, out, recipe=SMALL.with_max_epochs(2).with_members(2), protocol="paper", seeds=2)
    assert report.test_name == "paper, 2 members"
    assert [fold.epochs for fold in report.folds] == [(2, 2), (2, 2)]
    assert load_model(out / "folds" / "seed1-fold1").network["members"] == 2
    with (out / "history.csv").open(newline="") as stream:
        epochs = [(row["seed"], row["network"], row["epoch"]) for row in csv.DictReader(stream)]
    assert epochs == [(seed, member, epoch) for seed in "01" for member in "12" for epoch in "12"]
    with pytest.raises(UsageError, match="svm has no network"):
        run_toy(data, tmp_path / "svm", recipe=RECIPES["svm"].with_members(2))


def test_seeds_are_reported_apart_and_together(data: Path, tmp_path: Path) -> None:
    report = run_toy(data, tmp_path / "r", recipe=SMALL.with_max_epochs(1), protocol="paper", seed=3, seeds=2)
    assert report.seeds == (3, 4)
    assert list(report.scores.per_seed) == [3, 4]
    each = [scores.uar for scores in report.scores.per_seed.values()]
    assert report.scores.spread["uar_by_seed_mean"] == pytest.approx(np.mean(each))  # type: ignore[arg-type]
    assert report.scores.spread["uar_by_seed_std"] == pytest.approx(np.std(each, ddof=1))  # type: ignore[arg-type]
    assert report.scores.overall.utterances == sum(scores.utterances for scores in report.scores.per_seed.values())


def test_few_arguments_are_enough(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").symlink_to(data)
    monkeypatch.chdir(tmp_path)
    report = evaluate(recipe=RECIPES["logistic"], protocol="paper", progress=True)
    assert report.folder == Path("results/paper-logistic")
    assert json.loads((report.folder / "report.json").read_text()) == json.loads(json.dumps(report.to_dict()))
    assert "evaluate paper: 100%" in capsys.readouterr().err


def test_the_description_of_a_test_names_degradation_and_members() -> None:
    report: dict[str, Any] = {"protocol": "emobox", "parameters": {"network": {"members": 3}}, "degradation": "gsm"}
    assert describe_test(report) == "emobox, gsm, 3 members"
    assert describe_test({**report, "degradation": ""}) == "emobox, 3 members"


def test_neither_a_fold_nor_its_teachers_have_seen_its_test(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_on: list[tuple[nn.Module, set[str], Teacher | None]] = []

    def note(
        network: nn.Module, train: Batches, dev: Batches, *arguments: Any, teacher: Teacher | None, **options: Any
    ) -> FitResult:
        trained_on.append((network, {u.file for u in (*train.utterances, *dev.utterances)}, teacher))
        return fit(network, train, dev, *arguments, teacher=teacher, **options)

    monkeypatch.setattr("sercli.training.trainer.fit", note)
    recipe = replace(SMALL.with_max_epochs(1), teachers=TeacherConfig(networks=2, max_epochs=1))
    run_toy(data, tmp_path / "r", recipe=recipe, protocol="paper", seeds=2)
    assert len(trained_on) == 2 * 3
    for seed in range(2):
        runs = trained_on[3 * seed : 3 * seed + 3]
        tested = read_predictions(tmp_path / "r" / "folds" / f"seed{seed}-fold1" / "predictions.csv").rows
        assert tested
        assert not {row.file for row in tested} & set().union(*(files for _, files, _ in runs))
        *_, teacher = (teacher for _, _, teacher in runs)
        assert teacher
        assert list(teacher.network.get_submodule("members").children()) == [network for network, _, _ in runs[:2]]
