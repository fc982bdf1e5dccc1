import csv
import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sercli.corpora.index import Index, read_index
from sercli.errors import InputError, UsageError
from sercli.evaluation.results import (
    COLUMNS,
    TestRow,
    name_test,
    read_figures,
    read_predictions,
    summarise,
    write_predictions,
)
from sercli.evaluation.run import WORK_FOLDER, evaluate
from sercli.evaluation.units import load_corpus
from sercli.labels import EMOTIONS
from sercli.models.folder import load_model
from sercli.models.normalizer import Moments
from sercli.splits.protocols import make_folds
from sercli.training.recipes import RECIPES, Recipe
from tests.evaluation.toy_plan import DEFAULT, SMALL, make_plan


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
    report = evaluate(make_plan(data, index=index, recipe=recipe, jobs=2), tmp_path / "r")
    # Four emotions: chance is 0.25, and 96 utterances give it a standard deviation of 0.045.
    assert 0.1 < report["overall"]["uar"] < 0.4


def test_the_folder_holds_what_the_contract_names(results: Path) -> None:
    assert sorted(path.name for path in results.iterdir()) == [
        "confusion.png",
        "curves.png",
        "history.csv",
        "networks",
        "predictions.csv",
        "reliability.png",
        "report.json",
    ]
    header = (results / "predictions.csv").read_text().splitlines()[0]
    assert header == (
        "file,corpus,speaker,gender,seed,fold,truth,prediction,p_neutral,p_calm,p_happy,p_sad,p_angry,"
        "p_fearful,p_disgust,p_surprised"
    )


def test_every_utterance_is_tested_once_a_seed_by_a_network_that_has_not_seen_its_speaker(
    data: Path, results: Path
) -> None:
    rows = read_predictions(results / "predictions.csv")
    assert Counter(row.file for row in rows) == Counter(u.file for u in read_index(data / "index.csv").utterances)
    folds = {fold["fold"]: fold for fold in read_report(results)["folds"]}
    for row in rows:
        assert row.speaker in folds[row.fold]["test_speakers"]
        assert row.speaker not in folds[row.fold]["train_speakers"]
        assert row.speaker not in folds[row.fold]["dev_speakers"]


def test_all_figures_can_be_computed_again_from_the_predictions(results: Path) -> None:
    report = read_report(results)
    again = summarise(read_predictions(results / "predictions.csv"))
    assert {name: report[name] for name in again} == again


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
        probabilities = [float(row[f"p_{emotion}"]) for emotion in EMOTIONS]
        assert sum(probabilities) == pytest.approx(1.0)
        assert row["prediction"] == EMOTIONS[int(np.argmax(probabilities))]
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
    assert report["parameters"]["training"]["learning_rate"] == 0.003
    assert report["seconds"] > 0
    assert len(report["per_fold"]) == 6
    assert set(report["overall"]["per_gender"]) == {"female", "male"}


def test_folds_side_by_side_and_one_by_one_give_the_same(data: Path, results: Path, tmp_path: Path) -> None:
    evaluate(make_plan(data, jobs=2), tmp_path / "r")
    assert (tmp_path / "r" / "predictions.csv").read_bytes() == (results / "predictions.csv").read_bytes()


def test_two_evaluations_in_one_process_do_not_meet(data: Path, tmp_path: Path) -> None:
    index = read_index(data / "index.csv")
    some = replace(index, utterances=tuple(u for u in index.utterances if u.speaker != "ravdess-01"))
    quick = replace(SMALL, training=replace(SMALL.training, max_epochs=1))
    evaluate(make_plan(data, recipe=quick, jobs=2), tmp_path / "all")
    evaluate(make_plan(data, recipe=quick, jobs=2, index=some), tmp_path / "some")
    evaluate(make_plan(data, recipe=quick, jobs=1, index=some), tmp_path / "alone")
    found, alone = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("some", "alone"))
    assert found == alone


def test_a_folder_is_written_by_one_evaluation_at_a_time(data: Path, tmp_path: Path) -> None:
    quick = replace(SMALL, training=replace(SMALL.training, max_epochs=1))

    def start_another(done: int, *_: object) -> None:
        if done == 0:
            with pytest.raises(InputError, match="being written by another"):
                evaluate(make_plan(data, recipe=quick, protocol="paper"), tmp_path / "r")

    evaluate(make_plan(data, recipe=quick, protocol="paper"), tmp_path / "r", progress=start_another)


def test_an_interrupted_evaluation_goes_on_and_ends_the_same(data: Path, results: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    done: list[str] = []

    def interrupt(number: int, total: int, what: str) -> None:
        assert total == 6
        done.extend([what] if what else [])
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(make_plan(data), out, progress=interrupt)
    assert not (out / "report.json").exists()
    assert len(list((out / WORK_FOLDER).glob("*.json"))) == 2
    evaluate(make_plan(data), out, progress=lambda _done, _total, what: done.extend([what] if what else []))
    assert len(done) == 6, "finished folds are not trained again"
    assert (out / "predictions.csv").read_bytes() == (results / "predictions.csv").read_bytes()


@pytest.fixture(scope="module")
def default_results(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results") / "loso-default"
    evaluate(make_plan(data, recipe=DEFAULT, jobs=2), out)
    return out


def test_the_default_recipe_learns_unseen_speakers(default_results: Path) -> None:
    report = read_report(default_results)
    assert report["overall"]["uar"] > 0.6  # of four emotions
    bins = report["overall"]["reliability"]
    assert sum(found["count"] for found in bins) == report["overall"]["utterances"]


def test_the_networks_of_an_evaluation_can_be_tested_again_through_a_telephone(
    data: Path, default_results: Path, tmp_path: Path
) -> None:
    plan = make_plan(data, recipe=DEFAULT, networks=default_results)
    again = evaluate(plan, tmp_path / "again")
    clean = read_report(default_results)
    assert again["overall"]["confusion"] == clean["overall"]["confusion"]
    telephone = evaluate(replace(plan, channel="telephone"), tmp_path / "telephone")
    assert telephone["channel"] == "telephone"
    assert (data / "features.telephone.h5").exists()
    one, two = (read_predictions(out / "predictions.csv") for out in (default_results, tmp_path / "telephone"))
    assert [row.file for row in one] == [row.file for row in two]
    assert [row.probabilities for row in one] != [row.probabilities for row in two]
    assert telephone["overall"]["uar"] > 0.4
    enrolled = evaluate(replace(plan, enrolled=True), tmp_path / "enrolled")
    assert enrolled["enrolled"]
    assert enrolled["overall"]["uar"] > 0.4
    model, fold = load_model(default_results / "networks" / "seed0-fold1"), make_folds(plan.index, "loso", 0)[0]
    corpus = load_corpus(plan.index, plan.store, ("logmel",))
    matrices = [corpus.matrix(row) for row in corpus.originals(fold.test)]
    moments = Moments()
    moments.add(np.concatenate(matrices))  # of the one speaker that loso tests
    own = model.normalizer.enrol(moments)
    logits = model.logits([torch.from_numpy(matrix.T) for matrix in matrices], [own] * len(matrices))
    found = [row.probabilities for row in read_predictions(tmp_path / "enrolled" / "predictions.csv") if row.fold == 1]
    np.testing.assert_allclose(np.log(found), logits.log_softmax(dim=1).numpy(), rtol=1e-3, atol=1e-2)
    assert np.abs(np.log(found) - np.log([row.probabilities for row in one if row.fold == 1])).max() > 0.1
    assert name_test(enrolled) == "loso, enrolled speakers"
    assert name_test(telephone) == "loso, telephone"
    assert not (tmp_path / "telephone" / "networks").exists()


def test_networks_of_another_training_are_not_used(data: Path, default_results: Path, tmp_path: Path) -> None:
    other = replace(DEFAULT, training=replace(DEFAULT.training, weight_decay=0.5))
    with pytest.raises(InputError, match="trained on other data, folds or another recipe"):
        evaluate(make_plan(data, recipe=other, networks=default_results), tmp_path / "r")
    with pytest.raises(InputError, match="no networks in"):
        evaluate(make_plan(data, recipe=DEFAULT, networks=tmp_path), tmp_path / "r")
    with pytest.raises(UsageError, match="has no network"):
        evaluate(make_plan(data, recipe=RECIPES["svm"], enrolled=True), tmp_path / "r")


def test_enrolment_needs_named_speakers(data: Path, default_results: Path, tmp_path: Path) -> None:
    index = read_index(data / "index.csv")
    nameless = replace(index, utterances=(replace(index.utterances[0], speaker=""), *index.utterances[1:]))
    plan = make_plan(data, index=nameless, recipe=DEFAULT, networks=default_results, enrolled=True, protocol="paper")
    with pytest.raises(InputError, match="needs the speaker of every utterance"):
        evaluate(plan, tmp_path / "r")


def test_a_corpus_is_tested_by_a_network_of_another_one(data: Path, tmp_path: Path) -> None:
    index = read_index(data / "index.csv")
    speakers = sorted({u.speaker for u in index.utterances})
    halves = tuple(
        replace(u, corpus="other" if u.speaker in speakers[:3] else u.corpus)
        for u in index.utterances
        if u.speaker in speakers[3:] or u.emotion != "sad"
    )
    quick = replace(SMALL, training=replace(SMALL.training, max_epochs=1))
    plan = make_plan(data, index=replace(index, utterances=halves), recipe=quick, protocol="cross-ravdess-to-other")
    report = evaluate(plan, tmp_path / "r")
    assert report["corpora"].keys() == {"other", "ravdess"}
    rows = read_predictions(tmp_path / "r" / "predictions.csv")
    assert {row.corpus for row in rows} == {"other"}
    assert "sad" not in {row.truth for row in rows}
    assert report["overall"]["per_corpus"].keys() == {"other"}


def test_utterances_that_are_not_in_the_store_are_named(data: Path, tmp_path: Path) -> None:
    index = read_index(data / "index.csv")
    stranger = replace(index.utterances[0], sha256="e" * 64)
    quick = replace(SMALL, training=replace(SMALL.training, max_epochs=1))
    plan = make_plan(
        data, index=replace(index, utterances=(stranger, *index.utterances[1:])), recipe=quick, protocol="paper"
    )
    report = evaluate(plan, tmp_path / "r")
    assert report["excluded"] == [stranger.file]


rows_strategy = st.builds(
    TestRow,
    file=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1),
    corpus=st.just("ravdess"),
    speaker=st.sampled_from(["a", "b", ""]),
    gender=st.sampled_from(["female", "male", ""]),
    seed=st.integers(0, 3),
    fold=st.integers(1, 3),
    truth=st.sampled_from(EMOTIONS),
    probabilities=st.tuples(*itertools.repeat(st.floats(0, 1), 8)),
)


@given(st.lists(rows_strategy, max_size=8))
@settings(max_examples=40, deadline=None)
def test_predictions_survive_the_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list[TestRow]) -> None:
    path = tmp_path_factory.mktemp("predictions") / "predictions.csv"
    write_predictions(path, rows)
    assert read_predictions(path) == rows


@pytest.mark.parametrize("text", [",".join(COLUMNS) + "\nonly,three,cells\n", "file,truth\na,joyful\n"])
def test_damaged_predictions_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError, match="row 1: not a prediction"):
        read_predictions(tmp_path / "p.csv")


def test_figures_for_the_card_must_be_of_the_same_recipe(results: Path) -> None:
    figures = read_figures([results], "paper")
    assert figures["loso"]["uar"] == read_report(results)["overall"]["uar"]
    with pytest.raises(InputError, match="recipe 'paper', expected 'other'"):
        read_figures([results], "other")


def test_the_networks_of_all_seeds_answer_together(data: Path, tmp_path: Path) -> None:
    quick = SMALL.limit(4)
    plan = make_plan(data, recipe=quick, seeds=(0, 1), jobs=2)
    single = evaluate(plan, tmp_path / "single")
    both = evaluate(replace(plan, networks=tmp_path / "single", ensemble=True), tmp_path / "both")
    assert name_test(both) == "loso, ensemble of 2"
    assert both["ensemble"] == [0, 1]
    assert both["seeds"] == [0]
    dev_speakers = [(fold["seed"], fold["fold"], fold["dev_speakers"]) for fold in single["folds"]]
    assert sorted((fold["seed"], fold["fold"], fold["dev_speakers"]) for fold in both["folds"]) == sorted(dev_speakers)
    assert both["training_commands"] == ["sercli evaluate"]
    rows, members = (read_predictions(tmp_path / name / "predictions.csv") for name in ("both", "single"))
    assert len(rows) == len(members) / 2 == both["overall"]["utterances"]
    for row in rows[::7]:
        each = [np.array(m.probabilities) for m in members if m.file == row.file]
        mean = np.sqrt(each[0] * each[1])
        assert row.probabilities == pytest.approx((mean / mean.sum()).tolist(), abs=1e-6)
    assert single["overall"]["utterances"] == len(members)


def test_each_fold_is_tested_by_as_many_members_as_are_wanted(data: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    plan = make_plan(data, recipe=SMALL.limit(2).join(2))
    report = evaluate(plan, tmp_path / "r", count_progress=lambda done, total: seen.append((done, total)))
    assert name_test(report) == "loso, 2 networks as one"
    networks = sorted((tmp_path / "r" / "networks").iterdir())
    assert [len(load_model(folder).network.members) for folder in networks] == [2] * len(report["folds"])  # type: ignore[arg-type]
    assert seen[-1] == (4 * len(report["folds"]),) * 2
    assert seen == sorted(seen), "the bar never goes back"
    with (tmp_path / "r" / "history.csv").open(newline="") as stream:
        epochs = [(row["fold"], row["member"], row["epoch"]) for row in csv.DictReader(stream)]
    assert epochs == [(str(fold["fold"]), m, e) for fold in report["folds"] for m in "12" for e in "12"]
    with pytest.raises(UsageError, match="svm has no network"):
        evaluate(make_plan(data, recipe=RECIPES["svm"].join(2)), tmp_path / "svm")


def test_an_ensemble_is_never_tested_on_what_a_member_has_learned(data: Path, tmp_path: Path) -> None:
    plan = make_plan(data, recipe=SMALL.limit(1), seeds=(0, 1), protocol="paper", ensemble=True)
    with pytest.raises(UsageError, match="tests other utterances with each seed"):
        evaluate(replace(plan, networks=tmp_path), tmp_path / "r")
    with pytest.raises(UsageError, match="give --networks and --seeds"):
        evaluate(plan, tmp_path / "r")
