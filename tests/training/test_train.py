import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sercli.corpora.index import read_index, write_index
from sercli.errors import InputError, ModelError, UsageError
from sercli.files import read_json_object
from sercli.models.model import load_model
from sercli.training import loop
from sercli.training.checkpoint import CHECKPOINT_FILE
from sercli.training.data import CorpusFeatures, TrainingPlan
from sercli.training.loop import EpochRecord
from sercli.training.train import TrainingResult, train
from sercli.version import collect_versions
from tests.training.toy import (
    SMALL,
    assert_same,
    run_train,
    stop_after,
)


def test_a_training_that_diverges_leaves_nothing(data: Path, tmp_path: Path) -> None:
    recipe = replace(SMALL, training=replace(SMALL.training, max_epochs=1, learning_rate=100.0, muon=1e4))
    with pytest.raises(ModelError, match=r"the training diverged in epoch 1: .* lower training.learning_rate"):
        train(data / "index.csv", data / "features.h5", recipe, tmp_path / "model", device="cpu")
    assert not (tmp_path / "model").exists()


def test_train_writes_a_model_that_loads_and_curves(data: Path, features: CorpusFeatures, tmp_path: Path) -> None:
    out = tmp_path / "m"
    result = run_train(data, out, SMALL.with_max_epochs(2), command="sercli train")
    assert sorted(path.name for path in out.iterdir()) == [
        "MODEL_CARD.md",
        "curves.png",
        "history.csv",
        "model.json",
        "model.onnx",
        "model.safetensors",
    ]
    model = load_model(out)
    assert model.graph == result.trained.model.graph
    assert model.features.names == SMALL.features
    assert model.facts["training_data"]["ravdess"]["utterances"] == 72
    assert len(model.facts["training_data"]["ravdess"]["dev_speakers"]) == 2
    assert (result.folder, result.saved, result.trained.interrupted, result.plan.missing) == (out, True, False, ())
    header = "network,epoch,train_loss,train_accuracy,dev_loss,dev_accuracy,dev_uar,learning_rate,seconds"
    assert (out / "history.csv").read_text().splitlines()[0] == header
    card = (out / "MODEL_CARD.md").read_text()
    rows = features.parameters.features.select(SMALL.features).n_features
    assert f"`features`, float32 of shape (segments, {rows}, frames)" in card
    assert "`logits`, float32 of shape (segments, 4)" in card
    assert f"divide by the temperature, {model.temperature:.4f}" in card
    assert "`embedding`, float32 of shape (segments, size)" in card


def test_a_label_that_only_unstored_utterances_have_is_no_negative_label(data: Path, tmp_path: Path) -> None:
    index = read_index(data / "index.csv")
    other = replace(index.utterances[0], file="ravdess/other.wav", emotion="disgust", sha256="0" * 64)
    path = data / "index-more.csv"
    write_index(path, replace(index, utterances=(*index.utterances, other)))
    steps: list[object] = []
    recipe = SMALL.with_max_epochs(1)
    result = train(
        path, data / "features.h5", recipe, tmp_path / "m", device="cpu", progress=lambda *step: steps.append(step)
    )
    assert result.plan == TrainingPlan(missing=("ravdess/other.wav",), left_out=0, known_speakers=())
    assert steps[0] == (0, 1, result.plan), "said before hours of training"
    assert load_model(tmp_path / "m").negative == ("sad", "angry")


def test_utterances_marked_test_are_left_out(data: Path, tmp_path: Path) -> None:
    index = read_index(data / "index.csv")
    tested = set(sorted({u.speaker for u in index.utterances})[:2])
    words = {speaker: {"split": "test"} for speaker in tested}
    path = data / "index-marked.csv"
    write_index(
        path, replace(index, utterances=tuple(replace(u, extra=words.get(u.speaker, {})) for u in index.utterances))
    )
    n_tested = sum(u.speaker in tested for u in index.utterances)
    result = train(path, data / "features.h5", SMALL.with_max_epochs(1), tmp_path / "m", device="cpu")
    assert result.plan.left_out == n_tested > 0
    described = load_model(tmp_path / "m").facts["training_data"]["ravdess"]
    assert described["utterances"] == len(index) - n_tested
    assert not tested & set(described["dev_speakers"])
    assert f"{n_tested} utterances marked `test` in the index" in (tmp_path / "m" / "MODEL_CARD.md").read_text()


def test_few_arguments_are_enough(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").symlink_to(data)
    monkeypatch.chdir(tmp_path)
    result = train(recipe=SMALL.with_max_epochs(2), progress=True)
    assert result.folder == Path("models/paper")
    assert load_model(result.folder).graph == result.trained.model.graph
    assert "train paper: 100%" in capsys.readouterr().err


def test_ctrl_c_leaves_the_best_model_so_far_and_resume_ends_like_an_unbroken_run(data: Path, tmp_path: Path) -> None:
    whole = run_train(data, tmp_path / "whole", SMALL)
    out = tmp_path / "m"
    stopped = run_train(data, out, SMALL, on_epoch=stop_after(2, KeyboardInterrupt))
    assert stopped.trained.interrupted
    assert stopped.saved
    assert len(stopped.trained.members[0].history) == 2
    assert load_model(out).facts["training"]["interrupted"]
    assert (out / CHECKPOINT_FILE).exists()
    resumed = run_train(data, out, SMALL, resume=True)
    assert_same(whole, resumed)
    assert not (out / CHECKPOINT_FILE).exists()
    with pytest.raises(ModelError, match="nothing to resume"):
        run_train(data, out, SMALL, resume=True)


def test_an_interrupted_training_neither_replaces_a_finished_model_nor_is_forgotten(data: Path, tmp_path: Path) -> None:
    out, recipe = tmp_path / "m", SMALL.with_max_epochs(2)
    run_train(data, out, recipe)
    before = (out / "model.onnx").read_bytes()
    stopped = run_train(data, out, recipe, seed=2, on_epoch=stop_after(1, KeyboardInterrupt))
    assert not stopped.saved
    assert (out / "model.onnx").read_bytes() == before
    with pytest.raises(ModelError, match="--resume, or start over with --restart"):
        run_train(data, out, recipe, seed=2)
    run_train(data, out, recipe, seed=2, restart=True)
    assert (out / "model.onnx").read_bytes() != before


@pytest.fixture(scope="module")
def unbroken(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingResult, TrainingResult]:
    """An ensemble of three members, and its first member alone."""
    folder, recipe = tmp_path_factory.mktemp("unbroken"), SMALL.with_max_epochs(2)
    return run_train(data, folder / "whole", recipe.with_members(3)), run_train(data, folder / "alone", recipe)


@pytest.mark.parametrize("epoch", [0, 1], ids=["first epoch", "later epoch"])
def test_an_interrupted_ensemble_has_its_finished_members_only(
    data: Path, unbroken: tuple[TrainingResult, TrainingResult], tmp_path: Path, epoch: int
) -> None:
    recipe, out = SMALL.with_max_epochs(2).with_members(3), tmp_path / "m"
    whole, alone = unbroken
    train_epoch: Any = loop._Run.train_epoch

    def stop(member: int, record: EpochRecord) -> None:
        if (member, record.epoch) == (1, epoch):
            raise KeyboardInterrupt

    def stop_in_first_epoch(run: Any) -> Any:
        if (out / CHECKPOINT_FILE).exists() and not run.history:
            raise KeyboardInterrupt
        return train_epoch(run)

    with pytest.MonkeyPatch.context() as patch:
        if epoch == 0:
            patch.setattr(loop._Run, "train_epoch", stop_in_first_epoch)
        stopped = run_train(data, out, recipe, on_epoch=stop)
    assert stopped.trained.interrupted
    assert len(stopped.trained.members) == 1
    model = load_model(out)
    assert model.network["members"] == 1
    assert model.facts["training"]["members"] == 1
    assert model.graph == alone.trained.model.graph
    resumed = run_train(data, out, recipe, resume=True)
    assert_same(whole, resumed)
    assert load_model(out).network["members"] == 3


def test_an_ensemble_is_resumed_with_its_number_of_members_or_started_over(data: Path, tmp_path: Path) -> None:
    out, recipe = tmp_path / "m", SMALL.with_max_epochs(2)

    def stop(member: int, _: EpochRecord) -> None:
        if member == 1:
            raise KeyboardInterrupt

    run_train(data, out, recipe.with_members(3), on_epoch=stop)
    assert len(list(out.glob("checkpoint*"))) == 2
    with pytest.raises(ModelError, match="of a training run with other data or options"):
        run_train(data, out, recipe, resume=True)
    with pytest.raises(UsageError, match="give one of them"):
        run_train(data, out, recipe, resume=True, restart=True)
    run_train(data, out, recipe, seed=2, restart=True)
    assert not list(out.glob("checkpoint*"))


def test_fewer_epochs_than_were_trained_cannot_be_resumed(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    run_train(data, out, SMALL, on_epoch=stop_after(3, KeyboardInterrupt))
    with pytest.raises(ModelError, match="it has 3 epochs, expected at most 2"):
        run_train(data, out, SMALL.with_max_epochs(2), resume=True)
    assert len(run_train(data, out, SMALL.with_max_epochs(3), resume=True).trained.members[0].history) == 3


def test_a_model_folder_is_written_by_one_training_at_a_time(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    refused: list[str] = []

    def start_another(*_: object) -> None:
        with pytest.raises(InputError, match="written by another sercli command") as error:
            run_train(data, out, SMALL, restart=True)
        refused.append(str(error.value))
        assert (out / CHECKPOINT_FILE).exists()

    run_train(data, out, SMALL.with_max_epochs(2), on_epoch=start_another)
    assert len(refused) == 2
    assert not list(out.glob(".lock*"))


def test_the_model_says_what_it_was_made_of(data: Path, tmp_path: Path) -> None:
    index = read_index(data / "index.csv")
    run_train(data, tmp_path / "m", SMALL.with_max_epochs(1), seed=3, command="sercli train --seed 3")
    found = read_json_object(tmp_path / "m/model.json")
    assert (found["seed"], found["command"]) == (3, "sercli train --seed 3")
    assert found["versions"] == collect_versions()
    assert {"sercli", "python", "torch", "onnxruntime"} <= found["versions"].keys()
    (corpus, described), *others = found["training_data"].items()
    assert (corpus, others) == ("ravdess", [])
    assert (described["utterances"], described["speakers"]) == (len(index), 6)
    content = "".join(sorted(utterance.sha256 for utterance in index.utterances))
    assert described["sha256"] == hashlib.sha256(content.encode()).hexdigest()
    assert set(described["dev_speakers"]) < {utterance.speaker for utterance in index.utterances}
