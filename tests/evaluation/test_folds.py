"""Folds that are interrupted, killed, damaged or of another training, and what the next evaluation makes of them."""

import csv
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sercli.corpora.index import read_index, write_index
from sercli.errors import InputError, StoreError
from sercli.evaluation.folds import FOLD_FILE, FoldResult, read_fold
from sercli.evaluation.report import EvaluationReport
from sercli.evaluation.run import evaluate
from sercli.features.extraction import extract_store
from sercli.features.parameters import StoreParameters
from sercli.splits.protocols import make_folds
from sercli.training import loop
from sercli.training.checkpoint import CHECKPOINT_FILE
from sercli.training.data import CorpusFeatures
from sercli.training.recipe_files import RECIPES, render_recipe
from sercli.training.recipes import Recipe
from sercli.training.trainer import train_fold
from tests.command import TIMEOUT, start_sercli
from tests.evaluation.toy_plan import SMALL, run_toy

QUICK = SMALL.with_max_epochs(1)
FOUR_EPOCHS = replace(SMALL.with_max_epochs(4), name="four-epochs")
FOLDS = 4  # of `four_speakers`


def interrupt_after(folds: int) -> Callable[..., None]:
    def interrupt(done: int, *_: object) -> None:
        if done == folds:
            raise KeyboardInterrupt

    return interrupt


def list_folds(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "folds").iterdir())


def read_models(out: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (out / "folds").rglob("model.onnx")}


def count_epochs(patch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the epochs that are trained from now on."""
    numbers: list[int] = []
    train_epoch: Callable[..., Any] = loop._Run.train_epoch

    def note(run: Any) -> Any:
        numbers.append(len(run.history) + 1)
        return train_epoch(run)

    patch.setattr(loop._Run, "train_epoch", note)
    return numbers


def kill(data: Path, out: Path, *, jobs: int, when: Callable[[], bool]) -> None:
    """Starts an evaluation of four epochs per fold, and kills it with its workers."""
    recipe = out.with_name("four-epochs.toml")
    recipe.write_text(render_recipe(FOUR_EPOCHS))
    options = {"data-dir": data, "protocol": "loso", "recipe": recipe, "device": "cpu", "out": out, "jobs": jobs}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    process = start_sercli("evaluate", *arguments, cwd=out.parent)
    deadline = time.monotonic() + TIMEOUT
    while process.poll() is None and not when() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def four_speakers(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index and features of four of the six speakers."""
    folder = tmp_path_factory.mktemp("four speakers")
    index = read_index(data / "index.csv")
    speakers = sorted({utterance.speaker for utterance in index.utterances})[:FOLDS]
    utterances = tuple(utterance for utterance in index.utterances if utterance.speaker in speakers)
    write_index(folder / "index.csv", replace(index, utterances=utterances))
    (folder / "features.h5").symlink_to(data / "features.h5")
    return folder


@pytest.fixture(scope="module")
def four_epochs(four_speakers: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("results") / "whole"
    run_toy(four_speakers, out, recipe=FOUR_EPOCHS)
    return (out / "predictions.csv").read_bytes()


def test_folds_of_an_earlier_version_are_reused(four_speakers: Path, tmp_path: Path, four_epochs: bytes) -> None:
    out = tmp_path / "r"
    with pytest.raises(KeyboardInterrupt):
        run_toy(four_speakers, out, recipe=FOUR_EPOCHS, progress=interrupt_after(2))
    for history in out.glob("folds/*/history.csv"):
        history.write_text(history.read_text().replace("network,", "member,", 1))
    run_toy(four_speakers, out, recipe=FOUR_EPOCHS)
    assert (out / "predictions.csv").read_bytes() == four_epochs
    assert (out / "history.csv").read_text().startswith("seed,fold,network,epoch,")


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_evaluation_killed_inside_a_fold_resumes_from_its_checkpoint(
    four_speakers: Path, tmp_path: Path, four_epochs: bytes, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    out = tmp_path / "r"
    kill(four_speakers, out, jobs=jobs, when=lambda: any(out.glob(f"folds/.*.partial/{CHECKPOINT_FILE}")))
    assert not (out / "report.json").exists()
    started = [path.name for path in (out / "folds").glob(".*.partial")]
    assert 1 <= len(started) <= jobs
    epochs = count_epochs(monkeypatch)
    run_toy(four_speakers, out, recipe=FOUR_EPOCHS)
    assert (out / "predictions.csv").read_bytes() == four_epochs
    assert FOLDS * 4 - 3 * jobs - 4 <= len(epochs) < FOLDS * 4, "no epoch before the checkpoint is trained again"
    assert list_folds(out) == [f"seed0-fold{n}" for n in range(1, FOLDS + 1)]


def test_an_evaluation_killed_between_folds_goes_on_with_the_missing_ones(
    four_speakers: Path, tmp_path: Path, four_epochs: bytes
) -> None:
    out = tmp_path / "r"
    kill(four_speakers, out, jobs=1, when=lambda: len(list(out.glob("folds/seed*"))) == 2)
    before = read_models(out)
    assert len(before) >= 2
    trained: list[FoldResult] = []
    run_toy(
        four_speakers,
        out,
        recipe=FOUR_EPOCHS,
        progress=lambda _done, _total, step: trained.extend([step] if isinstance(step, FoldResult) else []),
    )
    assert len(trained) == FOLDS - len(before)
    assert {path: stamp for path, stamp in read_models(out).items() if path in before} == before
    assert (out / "predictions.csv").read_bytes() == four_epochs


def test_ctrl_c_between_folds_keeps_them_and_the_next_run_ends_the_same(
    four_speakers: Path, tmp_path: Path, four_epochs: bytes
) -> None:
    out = tmp_path / "r"
    with pytest.raises(KeyboardInterrupt):
        run_toy(four_speakers, out, recipe=FOUR_EPOCHS, progress=interrupt_after(2))
    assert not (out / "report.json").exists()
    assert list_folds(out) == ["seed0-fold1", "seed0-fold2"]
    calls: list[tuple[int, int, bool]] = []
    run_toy(
        four_speakers,
        out,
        recipe=FOUR_EPOCHS,
        progress=lambda done, total, step: calls.append((done, total, isinstance(step, FoldResult))),
    )
    assert calls == [(2, FOLDS, False), *((done, FOLDS, True) for done in range(3, FOLDS + 1))]
    assert (out / "predictions.csv").read_bytes() == four_epochs


@pytest.fixture(scope="module")
def quick_results(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, EvaluationReport]:
    out = tmp_path_factory.mktemp("results") / "quick"
    return out, run_toy(data, out, recipe=QUICK, protocol="paper")


@pytest.fixture
def finished(quick_results: tuple[Path, EvaluationReport], tmp_path: Path) -> tuple[Path, EvaluationReport]:
    """A results folder of one fold, and its report."""
    folder, report = quick_results
    return shutil.copytree(folder, tmp_path / "r"), report


def test_a_finished_evaluation_is_not_trained_again(data: Path, finished: tuple[Path, EvaluationReport]) -> None:
    out, first = finished
    before = read_models(out)
    again = run_toy(data, out, recipe=QUICK, protocol="paper", command="sercli evaluate again")
    assert read_models(out) == before
    assert (again.scores, again.folds, again.command) == (first.scores, first.folds, "sercli evaluate again")
    assert again.training_commands == ("sercli evaluate",)


@pytest.fixture(scope="module")
def two_seeds(data: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("results") / "fresh"
    run_toy(data, out, recipe=QUICK, protocol="paper", seeds=2)
    return (out / "predictions.csv").read_bytes()


@pytest.mark.parametrize(
    "other",
    [replace(QUICK, network=replace(SMALL.network, dense_size=8)), SMALL.with_max_epochs(2), QUICK.with_members(2)],
    ids=["another network", "more epochs", "more members"],
)
def test_folds_of_another_recipe_are_replaced_only_when_asked(
    data: Path, tmp_path: Path, two_seeds: bytes, other: Recipe
) -> None:
    out = tmp_path / "r"
    with pytest.raises(KeyboardInterrupt):
        run_toy(data, out, recipe=other, protocol="paper", seeds=2, progress=interrupt_after(1))
    before = read_models(out)
    (old,) = before.values()
    with pytest.raises(InputError, match=r"folds that this evaluation does not have \(seed0-fold1\).*--restart"):
        run_toy(data, out, recipe=QUICK, protocol="paper", seeds=2)
    assert read_models(out) == before
    run_toy(data, out, recipe=QUICK, protocol="paper", seeds=2, restart=True)
    assert (out / "predictions.csv").read_bytes() == two_seeds
    assert old not in read_models(out).values()


def test_folds_of_other_labels_another_division_or_fewer_seeds_are_replaced_only_when_asked(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r"
    index = read_index(data / "index.csv")
    relabeled = replace(index, utterances=(replace(index.utterances[0], emotion="sad"), *index.utterances[1:]))
    evaluations: list[dict[str, Any]] = [
        {"protocol": "paper", "seeds": 2},
        {"protocol": "paper"},
        {"protocol": "paper", "index": relabeled},
        {"protocol": "loso"},
    ]
    first, *others = evaluations
    reports = [run_toy(data, out, recipe=QUICK, **first)]
    (out / "folds" / ".DS_Store").write_bytes(b"\0")
    (out / "folds" / ".seed7-fold1.partial").mkdir()
    for evaluation in others:
        with pytest.raises(InputError, match="folds that this evaluation does not have"):
            run_toy(data, out, recipe=QUICK, **evaluation)
        reports.append(run_toy(data, out, recipe=QUICK, **evaluation, restart=True))
    assert len({report.folds[0].identity for report in reports}) == 3
    assert list_folds(out) == [".DS_Store", *(f"seed0-fold{n}" for n in range(1, 7))]


def test_a_discarded_evaluation_leaves_no_report(data: Path, finished: tuple[Path, EvaluationReport]) -> None:
    out, _ = finished
    with pytest.raises(KeyboardInterrupt):
        run_toy(data, out, recipe=QUICK, protocol="paper", restart=True, progress=interrupt_after(0))
    assert [path.name for path in out.iterdir()] == ["folds"]
    assert list_folds(out) == []


def test_more_seeds_keep_those_that_are_finished(data: Path, finished: tuple[Path, EvaluationReport]) -> None:
    out, _ = finished
    before = read_models(out)
    (out / "folds" / ".seed7-fold1.partial").mkdir()
    shutil.copytree(out / "folds" / "seed0-fold1", out / "folds" / ".seed0-fold1.old")
    begun = out / "folds" / ".seed1-fold1.partial"  # of another training, killed before its first checkpoint
    begun.mkdir()
    (begun / "identity.txt").write_text("another")
    report = run_toy(data, out, recipe=QUICK, protocol="paper", seeds=2)
    assert report.seeds == (0, 1)
    assert before.items() <= read_models(out).items()
    assert list_folds(out) == ["seed0-fold1", "seed1-fold1"]


def test_folds_that_another_process_replaces_are_not_reported(
    data: Path, finished: tuple[Path, EvaluationReport]
) -> None:
    out, _ = finished

    def replace_fold(*_: object) -> None:
        edit(out / "folds" / "seed0-fold1", identity="another")

    with pytest.raises(InputError, match="seed0-fold1 changed while the evaluation ran: run it again"):
        run_toy(data, out, recipe=QUICK, protocol="paper", progress=replace_fold)


def test_curves_and_models_go_with_their_report(data: Path, finished: tuple[Path, EvaluationReport]) -> None:
    out, _ = finished
    assert (out / "curves.png").exists()
    report = run_toy(data, out, recipe=RECIPES["knn"], protocol="paper", restart=True)
    assert report.recipe == "knn"
    assert not (out / "curves.png").exists()
    fold = out / "folds" / "seed0-fold1"
    assert sorted(path.name for path in fold.iterdir()) == ["fold.json", "predictions.csv"]
    result = read_fold(fold)
    assert (result.epochs, result.setting in {5.0, 15.0, 30.0}) == ((), True)
    assert (out / "history.csv").read_text().startswith("seed,fold,network,epoch,train_loss,")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.onnx").unlink(),
        lambda folder: (folder / FOLD_FILE).write_text("{"),
        lambda folder: (folder / FOLD_FILE).write_text("{}"),
        lambda folder: edit(folder, schema_version=99),
        lambda folder: edit(folder, seed="0"),
        lambda folder: cut(folder / "predictions.csv", lines=3),
        lambda folder: (folder / "predictions.csv").write_text("file,truth\n"),
    ],
    ids=["without model", "cut", "empty", "of another version", "of another type", "with fewer rows", "without rows"],
)
def test_a_damaged_fold_is_trained_again(
    data: Path, finished: tuple[Path, EvaluationReport], damage: Callable[[Path], object]
) -> None:
    out, report = finished
    fold = out / "folds" / "seed0-fold1"
    damage(fold)
    assert run_toy(data, out, recipe=QUICK, protocol="paper").scores == report.scores
    assert read_fold(fold).identity == report.folds[0].identity
    assert (fold / "model.onnx").exists()


def cut(path: Path, lines: int) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:lines]))


def edit(folder: Path, **changes: object) -> None:
    values = json.loads((folder / FOLD_FILE).read_text())
    (folder / FOLD_FILE).write_text(json.dumps({**values, **changes}))


def test_a_longer_training_that_was_interrupted_is_not_used_for_a_shorter_one(data: Path, tmp_path: Path) -> None:
    partial = tmp_path / "r" / "folds" / ".seed0-fold1.partial"
    partial.mkdir(parents=True)
    index = read_index(data / "index.csv")
    with CorpusFeatures(index, data / "features.h5", SMALL.features) as corpus:
        fold = make_folds(index, "paper", 0)[0]
        device = torch.device("cpu")
        train_fold(corpus, fold, SMALL.with_max_epochs(4), seed=0, device=device, checkpoint=partial / CHECKPOINT_FILE)
    run_toy(data, tmp_path / "r", recipe=SMALL.with_max_epochs(2), protocol="paper")
    with (tmp_path / "r" / "history.csv").open(newline="") as stream:
        assert [row["epoch"] for row in csv.DictReader(stream)] == ["1", "2"]
    run_toy(data, tmp_path / "fresh", recipe=SMALL.with_max_epochs(2), protocol="paper")
    one, other = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("r", "fresh"))
    assert one == other


def test_a_training_that_was_finished_is_not_repeated_when_its_fold_was_not(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sercli.evaluation.run_fold.pool_logits", stop)
        with pytest.raises(KeyboardInterrupt):
            run_toy(data, tmp_path / "r", recipe=SMALL.with_max_epochs(2), protocol="paper")
    assert list_folds(tmp_path / "r") == [".seed0-fold1.partial"]
    with pytest.raises(InputError, match=r"does not have \(\.seed0-fold1\.partial\)"):
        run_toy(data, tmp_path / "r", recipe=QUICK, protocol="paper")
    epochs = count_epochs(monkeypatch)
    report = run_toy(data, tmp_path / "r", recipe=SMALL.with_max_epochs(2), protocol="paper")
    assert not epochs
    assert report.scores.overall.utterances > 0


def test_a_store_that_changes_during_an_evaluation_is_reported(four_speakers: Path, tmp_path: Path) -> None:
    shutil.copytree(four_speakers, tmp_path, dirs_exist_ok=True)  # follows the link to the store
    index = read_index(tmp_path / "index.csv")
    less = replace(index, utterances=index.utterances[1:])

    def featurize_less(done: int, *_: object) -> None:
        if done == 1:
            extract_store(less, tmp_path / "features.h5", StoreParameters(), copies=2)

    with pytest.raises(StoreError, match="changed while the evaluation ran: run it again"):
        run_toy(tmp_path, tmp_path / "r", recipe=QUICK, progress=featurize_less)
    assert list_folds(tmp_path / "r") == ["seed0-fold1"]


def test_a_folder_is_written_by_one_evaluation_at_a_time(data: Path, tmp_path: Path) -> None:
    refused: list[str] = []

    def start_another(done: int, *_: object) -> None:
        if done == 0:
            with pytest.raises(InputError, match="being written by another sercli command") as error:
                run_toy(data, tmp_path / "r", recipe=QUICK, protocol="paper")
            refused.append(str(error.value))

    run_toy(data, tmp_path / "r", recipe=QUICK, protocol="paper", progress=start_another)
    assert len(refused) == 1
    assert not (tmp_path / "r" / ".lock").exists()


def test_nothing_is_left_of_an_evaluation_that_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="corpus 'nemo' is not in the index"):
        evaluate(data / "index.csv", data / "features.h5", SMALL, tmp_path / "r", protocol="loso", corpora=["nemo"])
    assert not (tmp_path / "r").exists()
