"""What earlier and interrupted evaluations leave behind, and what the next one makes of it."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sercli.corpora.index import read_index
from sercli.errors import InputError
from sercli.evaluation.run import WORK_FOLDER, evaluate
from sercli.evaluation.units import load_corpus
from sercli.features.extraction import extract_store
from sercli.features.frontend import FeatureConfig
from sercli.features.journal import journal_path
from sercli.features.parameters import StoreParameters
from sercli.features.store import FeatureStore
from sercli.features.writer import StoreWriter
from sercli.splits.protocols import make_folds
from sercli.training.recipes import RECIPES, Recipe
from sercli.training.session import train_fold
from tests.evaluation.toy_plan import SMALL, make_plan

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "other",
    [replace(SMALL.limit(1), network=replace(SMALL.network, dense_size=8)), SMALL.limit(1)],
    ids=["another network", "fewer epochs"],
)
def test_what_another_recipe_left_unfinished_is_not_used(
    data: Path, results: Path, tmp_path: Path, other: Recipe
) -> None:
    out = tmp_path / "r"

    def interrupt(number: int, *_: object) -> None:
        if number:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(make_plan(data, recipe=other), out, progress=interrupt)
    evaluate(make_plan(data, jobs=2), out)
    assert (out / "predictions.csv").read_bytes() == (results / "predictions.csv").read_bytes()
    with pytest.raises(InputError, match="was trained on other data, folds or another recipe"):
        evaluate(make_plan(data, recipe=other, networks=out), tmp_path / "again")


def test_networks_are_replaced_with_the_report_and_not_before(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    plan = make_plan(data, recipe=SMALL.limit(1))
    evaluate(replace(plan, seeds=(0, 1), jobs=2), out)
    before = {path: path.read_bytes() for path in sorted((out / "networks").rglob("*")) if path.is_file()}

    def interrupt(number: int, *_: object) -> None:
        if number:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(replace(plan, recipe=SMALL.limit(2)), out, progress=interrupt)
    assert all(path.read_bytes() == content for path, content in before.items())
    evaluate(replace(plan, recipe=SMALL.limit(2), jobs=2), out)
    assert sorted(path.name for path in (out / "networks").iterdir()) == [f"seed0-fold{n}" for n in range(1, 7)]


def test_an_evaluation_stopped_after_its_last_network_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, plan = tmp_path / "r", make_plan(data, recipe=SMALL.limit(1), jobs=2)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sercli.evaluation.run.write_predictions", stop)
        with pytest.raises(KeyboardInterrupt):
            evaluate(plan, out)
    trained = {path: path.read_bytes() for path in (out / "networks").rglob("*.safetensors")}
    assert len(trained) == 6
    evaluate(plan, out)
    assert all(path.read_bytes() == weights for path, weights in trained.items())
    assert (out / "report.json").exists()
    assert not (out / WORK_FOLDER).exists()


def test_a_channel_store_of_other_parameters_is_made_anew(data: Path, results: Path, tmp_path: Path) -> None:
    telephone = data / "features.telephone.h5"
    index = read_index(data / "index.csv")
    stale = StoreParameters(features=FeatureConfig(names=("rms",)), channel="telephone")
    extract_store(index, telephone, stale, restart=True)
    whole = telephone.read_bytes()
    with StoreWriter(data / "features.gsm.h5", replace(stale, channel="gsm")) as writer:
        writer.add("0" * 64, np.zeros((3, 1), np.float16))
        writer.commit()  # and no more, as a pass that is interrupted
    assert journal_path(data / "features.gsm.h5").exists()
    report = evaluate(make_plan(data, networks=results, channel="telephone"), tmp_path / "r")
    assert report["channel"] == "telephone"
    with FeatureStore(telephone) as store:
        assert store.parameters == StoreParameters(channel="telephone")
    assert telephone.read_bytes() != whole
    evaluate(make_plan(data, networks=results, channel="gsm"), tmp_path / "gsm")


def fail_in(patch: pytest.MonkeyPatch, place: str) -> None:
    """Stops, as Ctrl-C does, at a function that is called as `place`."""

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    patch.setattr(place, stop)


def count_epochs(patch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the epochs that are trained from now on."""
    from sercli.training import loop

    numbers: list[int] = []
    run: Callable[..., Any] = loop._Epoch.run

    def note(epoch: Any, *given: Any) -> Any:
        numbers.append(epoch.number)
        return run(epoch, *given)

    patch.setattr(loop._Epoch, "run", note)
    return numbers


def read_epochs(out: Path) -> list[int]:
    with (out / "history.csv").open(newline="") as stream:
        return [int(row["epoch"]) for row in csv.DictReader(stream)]


def test_a_longer_training_that_was_left_unfinished_is_not_used_for_a_shorter_one(data: Path, tmp_path: Path) -> None:
    plan = make_plan(data, recipe=SMALL.limit(2), protocol="paper")
    corpus = load_corpus(plan.index, plan.store, SMALL.features)
    checkpoint = tmp_path / "r" / WORK_FOLDER / "seed0-fold1.safetensors"
    fold = make_folds(plan.index, "paper", 0)[0]
    train_fold(corpus, fold, SMALL.limit(4), seed=0, device=CPU, checkpoint=checkpoint)
    evaluate(plan, tmp_path / "r")
    assert read_epochs(tmp_path / "r") == [1, 2]
    evaluate(plan, tmp_path / "fresh")
    one, other = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("r", "fresh"))
    assert one == other


def test_a_training_that_was_finished_is_not_done_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(data, recipe=SMALL.limit(2), protocol="paper")
    with monkeypatch.context() as patch:
        fail_in(patch, "sercli.evaluation.units.score_utterances")
        with pytest.raises(KeyboardInterrupt):
            evaluate(plan, tmp_path / "r")
    epochs = count_epochs(monkeypatch)
    report = evaluate(plan, tmp_path / "r")
    assert not epochs
    assert report["overall"]["utterances"] > 0


def test_a_network_is_of_the_evaluation_that_its_folder_reports(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, plan = tmp_path / "r", make_plan(data, recipe=SMALL.limit(1), protocol="paper", seeds=(0, 1))

    def interrupt(number: int, *_: object) -> None:
        if number:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(plan, out, progress=interrupt)
    with monkeypatch.context() as patch:
        fail_in(patch, "sercli.evaluation.units.score_utterances")
        with pytest.raises(KeyboardInterrupt):
            evaluate(replace(plan, recipe=SMALL.limit(2)), out)
    whole = evaluate(plan, out)
    again = evaluate(replace(plan, networks=out), tmp_path / "again")
    assert again["overall"]["confusion"] == whole["overall"]["confusion"]
    assert again["training_commands"] == ["sercli evaluate"]


def test_what_others_put_beside_the_networks_stays(data: Path, tmp_path: Path) -> None:
    plan = make_plan(data, recipe=SMALL.limit(1), protocol="paper")
    evaluate(plan, tmp_path / "r")
    note = tmp_path / "r" / "networks" / ".DS_Store"
    note.write_bytes(b"\0")
    evaluate(replace(plan, seeds=(1,)), tmp_path / "r")
    assert sorted(path.name for path in note.parent.iterdir()) == [".DS_Store", "seed1-fold1"]


def test_curves_and_networks_go_with_their_report(data: Path, tmp_path: Path) -> None:
    out, plan = tmp_path / "r", make_plan(data, recipe=SMALL.limit(1), protocol="paper")
    evaluate(plan, out)
    assert {"curves.png", "networks"} < {path.name for path in out.iterdir()}
    assert evaluate(replace(plan, recipe=RECIPES["knn"]), out)["recipe"] == "knn"
    assert not {"curves.png", "networks"} & {path.name for path in out.iterdir()}


def test_the_progress_is_never_more_than_all(data: Path, tmp_path: Path) -> None:
    plan = make_plan(data, recipe=SMALL.limit(1), protocol="paper")
    evaluate(plan, tmp_path / "r")
    for networks, out in ((None, tmp_path / "trained"), (tmp_path / "r", tmp_path / "taken")):
        (out / WORK_FOLDER).mkdir(parents=True)
        (out / WORK_FOLDER / "seed0-fold1.epochs").write_bytes(b"." * 99)
        seen: list[tuple[int, int]] = []
        evaluate(replace(plan, networks=networks), out, count_progress=lambda *now, seen=seen: seen.append(now))
        assert seen[-1] == (1, 1)
        assert all(done <= total for done, total in seen)


def test_a_channel_store_keeps_what_other_evaluations_made(data: Path, results: Path, tmp_path: Path) -> None:
    plan = make_plan(data, networks=results, channel="telephone")
    evaluate(plan, tmp_path / "all")
    index = read_index(data / "index.csv")
    few = replace(index, utterances=tuple(u for u in index.utterances if u.speaker < "ravdess-05"))
    evaluate(replace(plan, networks=None, index=few, recipe=SMALL.limit(1)), tmp_path / "few")
    with FeatureStore(data / "features.telephone.h5") as store:
        assert {row.sha256 for row in store.rows} == {u.sha256 for u in index.utterances}
        kept = [row.sha256 for row in store.rows]
        assert len(kept) == len(set(kept))


def test_networks_are_looked_for_before_anything_is_done(data: Path, tmp_path: Path) -> None:
    plan = make_plan(data, recipe=SMALL.limit(1), protocol="paper")
    with pytest.raises(InputError, match=r"no networks in .*nowhere"):
        evaluate(replace(plan, networks=tmp_path / "nowhere"), tmp_path / "again")
    evaluate(plan, tmp_path / "r")
    with pytest.raises(InputError, match=r"no network of seed 1, fold 1: it was evaluated with other seeds or folds"):
        evaluate(replace(plan, networks=tmp_path / "r", seeds=(0, 1)), tmp_path / "again")
    assert not (tmp_path / "again").exists()
