from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sercli.corpora.index import Index
from sercli.errors import CheckpointError, ModelError
from sercli.models.networks import build_network
from sercli.splits.fold import Fold
from sercli.training import loop
from sercli.training.calibration import list_truth, pool_logits
from sercli.training.data import CorpusFeatures
from sercli.training.loop import EpochRecord, fit, score_logits
from sercli.training.recipe_files import RECIPES
from sercli.training.recipes import AugmentConfig, Recipe
from sercli.training.trainer import TrainedModel, train_fold
from tests.training.toy import (
    CPU,
    SMALL,
    STUDENT,
    KilledError,
    assert_same,
    load_weights,
    stop_after,
)


def resume(
    features: CorpusFeatures, fold: Fold, recipe: Recipe, checkpoint: Path, seed: int
) -> tuple[TrainedModel, list[tuple[int, int]]]:
    """Resumes a training; returns its model, and network and number of each epoch that it trained."""
    trained: list[tuple[int, int]] = []
    model = train_fold(
        features,
        fold,
        recipe,
        seed=seed,
        device=CPU,
        checkpoint=checkpoint,
        resume=True,
        on_epoch=lambda number, record: trained.append((number, record.epoch)),
    )
    return model, trained


def test_one_seed_gives_one_set_of_weights(features: CorpusFeatures, fold: Fold) -> None:
    one, two = (train_fold(features, fold, SMALL, seed=3, device=CPU) for _ in range(2))
    assert_same(one, two)
    assert one.weights == two.weights
    other = train_fold(features, fold, SMALL, seed=4, device=CPU)
    assert other.members[0].history[0].train_loss != one.members[0].history[0].train_loss


def test_training_leaves_the_callers_random_state_alone(features: CorpusFeatures, fold: Fold) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    train_fold(features, fold, replace(SMALL, training=replace(SMALL.training, max_epochs=1)), seed=3, device=CPU)
    torch.testing.assert_close(torch.rand(3), expected)


@pytest.mark.parametrize(("epochs", "muon"), [(1, 0.0), (3, 0.0), (2, 10.0)])
def test_a_killed_training_resumes_to_the_very_same_weights(
    features: CorpusFeatures, fold: Fold, tmp_path: Path, epochs: int, muon: float
) -> None:
    recipe = replace(SMALL, training=replace(SMALL.training, muon=muon))
    whole = train_fold(features, fold, recipe, seed=3, device=CPU)
    checkpoint = tmp_path / "c.safetensors"
    with pytest.raises(KilledError):
        train_fold(
            features, fold, recipe, seed=3, device=CPU, checkpoint=checkpoint, on_epoch=stop_after(epochs, KilledError)
        )
    resumed, trained = resume(features, fold, recipe, checkpoint, seed=3)
    assert trained == [(0, epoch) for epoch in range(epochs + 1, len(whole.members[0].history) + 1)]
    assert_same(whole, resumed)
    assert whole.weights == resumed.weights


def test_training_stops_when_the_development_uar_no_longer_rises_and_keeps_the_best(
    features: CorpusFeatures, fold: Fold
) -> None:
    eager = replace(
        SMALL, training=replace(SMALL.training, learning_rate=0.05, max_epochs=60, patience=3, plateau_patience=2)
    )
    trained = train_fold(features, fold, eager, seed=0, device=CPU)
    (member,) = trained.members
    history, best = member.history, member.history[member.best_epoch - 1]
    assert len(history) == best.epoch + 3 < 60
    assert best.dev_uar == max(record.dev_uar for record in history)
    assert min(record.learning_rate for record in history) < 0.05
    # The model is scored with rounded weights by ONNX Runtime.
    scores = score_logits(pool_logits(features, fold.dev, trained.model), list_truth(features, fold.dev))
    assert scores.loss == pytest.approx(best.dev_loss, rel=0.02)
    assert scores.uar == pytest.approx(best.dev_uar, abs=0.1)


@pytest.mark.parametrize("name", ["default", "paper"])
def test_the_recipe_overfits_a_tiny_set(index: Index, name: str) -> None:
    members = tuple(range(12))
    fold = Fold(number=1, train=members, dev=members, test=())
    recipe = replace(
        RECIPES[name],
        network=replace(RECIPES[name].network, dropout=0.0, dense_dropout=0.0),
        training=replace(RECIPES[name].training, max_epochs=40, patience=40, batch_size=6, copies=0),
        augmentation=AugmentConfig(),
    )
    with CorpusFeatures(index, index.folder / "features.h5", recipe.features) as corpus:
        learned = train_fold(corpus, fold, recipe, seed=0, device=CPU)
    assert learned.members[0].history[-1].train_accuracy == 1.0
    assert learned.members[0].history[-1].dev_accuracy == 1.0
    assert (learned.dev.accuracy, learned.dev.uar) == (1.0, 1.0)


def test_the_last_weights_of_a_cycle_are_kept_and_resuming_leads_to_the_same(
    spectra: CorpusFeatures, fold: Fold, tmp_path: Path
) -> None:
    recipe = replace(
        RECIPES["default"],
        network=replace(RECIPES["default"].network, channels=(8,), lstm_size=8, dense_size=16),
        training=replace(RECIPES["default"].training, max_epochs=4),
    )
    whole = train_fold(spectra, fold, recipe, seed=1, device=CPU)
    assert whole.members[0].best_epoch == 4
    rates = [record.learning_rate for record in whole.members[0].history]
    assert max(rates) > 4 * rates[-1]

    def stop(_: int, record: EpochRecord) -> None:
        if record.epoch == 2:
            raise KeyboardInterrupt

    checkpoint = tmp_path / "c.safetensors"
    half = train_fold(spectra, fold, recipe, seed=1, device=CPU, checkpoint=checkpoint, on_epoch=stop)
    assert half.interrupted
    resumed, trained = resume(spectra, fold, recipe, checkpoint, seed=1)
    assert trained == [(0, 3), (0, 4)]
    assert_same(whole, resumed)
    longer = replace(recipe, training=replace(recipe.training, max_epochs=5))
    with pytest.raises(ModelError, match="of a training run with other data or options"):
        train_fold(spectra, fold, longer, seed=1, device=CPU, checkpoint=checkpoint, resume=True)


def test_normalization_is_fitted_on_training_utterances_alone(features: CorpusFeatures, fold: Fold) -> None:
    trained = train_fold(
        features, fold, replace(SMALL, training=replace(SMALL.training, max_epochs=1)), seed=0, device=CPU
    )
    frames = np.concatenate(
        [matrix.T for member in fold.train for matrix, _ in features.segments(member)], dtype=np.float32
    )
    np.testing.assert_allclose(trained.model.normalizer.mean, frames.mean(axis=0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(trained.model.normalizer.std, frames.std(axis=0), rtol=1e-3, atol=1e-3)


def test_weights_are_rounded_before_the_model_is_exported(features: CorpusFeatures, fold: Fold) -> None:
    trained = train_fold(features, fold, SMALL.with_max_epochs(1), seed=1, device=CPU)
    matrices = [tensor for tensor in load_weights(trained).values() if tensor.ndim >= 2]
    assert {tensor.dtype for tensor in matrices} == {torch.float16}


def test_members_of_an_ensemble_are_trained_apart(features: CorpusFeatures, fold: Fold, tmp_path: Path) -> None:
    checkpoint = tmp_path / "c.safetensors"
    trained = train_fold(
        features, fold, SMALL.with_max_epochs(2).with_members(3), seed=3, device=CPU, checkpoint=checkpoint
    )
    first = train_fold(features, fold, SMALL.with_max_epochs(2), seed=3, device=CPU)
    weights = load_weights(trained)
    for name, tensor in load_weights(first).items():
        torch.testing.assert_close(weights[f"members.0.{name}"], tensor, rtol=0, atol=0)
    assert len({member.history[-1].train_loss for member in trained.members}) == 3
    assert len(list(tmp_path.glob("c*.safetensors"))) == 3
    assert [(row["network"], row["epoch"]) for row in trained.epoch_rows()] == [
        (member, epoch) for member in (1, 2, 3) for epoch in (1, 2)
    ]


def test_an_ensemble_that_was_killed_goes_on_with_the_member_it_was_at(
    features: CorpusFeatures, fold: Fold, tmp_path: Path
) -> None:
    recipe = SMALL.with_max_epochs(2).with_members(2)
    whole = train_fold(features, fold, recipe, seed=3, device=CPU)
    seen: list[int] = []

    def stop(_: int, record: EpochRecord) -> None:
        seen.append(record.epoch)
        if len(seen) == 3:
            raise KilledError

    checkpoint = tmp_path / "c.safetensors"
    with pytest.raises(KilledError):
        train_fold(features, fold, recipe, seed=3, device=CPU, checkpoint=checkpoint, on_epoch=stop)
    resumed, again = resume(features, fold, recipe, checkpoint, seed=3)
    assert again == [(1, 2)]
    assert_same(whole, resumed)


def test_copies_and_augmentation_are_those_of_the_recipe(
    features: CorpusFeatures, spectra: CorpusFeatures, fold: Fold, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def note(network: Any, train: Any, *arguments: Any, augment: Any, **options: Any) -> Any:
        calls.append((len(train) / len(fold.train) - 1, augment))
        return fit(network, train, *arguments, augment=augment, **options)

    monkeypatch.setattr("sercli.training.trainer.fit", note)
    default = replace(RECIPES["default"].with_max_epochs(1), network=replace(SMALL.network, name="crnn"))
    train_fold(features, fold, SMALL.with_max_epochs(1), seed=3, device=CPU)
    train_fold(spectra, fold, default, seed=3, device=CPU)
    assert calls[0] == (1, None)
    assert calls[1][0] == 0
    assert calls[1][1].config == RECIPES["default"].augmentation


def test_a_student_is_one_network_and_equals_its_onnx_file(features: CorpusFeatures, fold: Fold) -> None:
    trained = train_fold(features, fold, STUDENT, seed=3, device=CPU)
    assert (len(trained.teachers), len(trained.members)) == (2, 1)
    assert [row["network"] for row in trained.epoch_rows()] == [1, 1, 1, 2, 2, 2, 3, 3]
    assert trained.model.facts["training"]["teachers"] == 2
    network = build_network(STUDENT.network, len(trained.model.normalizer.mean), len(features.labels))
    network.load_state_dict(load_weights(trained))
    expected = loop.compute_logits(network, features.batches(fold.dev, trained.model.normalizer, device=CPU))
    np.testing.assert_allclose(pool_logits(features, fold.dev, trained.model), expected, atol=1e-4)


@pytest.mark.parametrize("error", [KilledError, KeyboardInterrupt])
@pytest.mark.parametrize("at", [(1, 1), (2, 1)], ids=["teacher", "student"])
def test_a_stopped_distillation_resumes_with_the_teachers_of_its_own_training(
    features: CorpusFeatures, fold: Fold, tmp_path: Path, error: type[BaseException], at: tuple[int, int]
) -> None:
    checkpoint = tmp_path / "c.safetensors"

    def stop(number: int, record: EpochRecord) -> None:
        if (number, record.epoch) == at:
            raise error

    with pytest.raises(KilledError) if error is KilledError else nullcontext():
        stopped = train_fold(features, fold, STUDENT, seed=3, device=CPU, checkpoint=checkpoint, on_epoch=stop)
        assert stopped.interrupted
        assert [len(member.history) for member in stopped.members] == [3] * at[0], "the finished teachers"
        assert not stopped.teachers
    other = replace(fold, train=fold.train[1:])
    with pytest.raises(CheckpointError, match="of a training run with other data or options"):
        train_fold(features, other, STUDENT, seed=3, device=CPU, checkpoint=checkpoint, resume=True)
    resumed, trained = resume(features, fold, STUDENT, checkpoint, seed=3)
    every = [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]
    assert trained == every[every.index(at) + 1 :]
    assert_same(train_fold(features, fold, STUDENT, seed=3, device=CPU), resumed)


def test_a_student_interrupted_in_its_first_epoch_leaves_its_teachers(
    features: CorpusFeatures, fold: Fold, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: Any, teacher: Any, **options: Any) -> Any:
        if teacher:
            raise KeyboardInterrupt
        return fit(*arguments, teacher=teacher, **options)

    monkeypatch.setattr("sercli.training.trainer.fit", interrupt)
    trained = train_fold(features, fold, STUDENT, seed=3, device=CPU)
    assert trained.interrupted
    assert (len(trained.members), len(trained.teachers)) == (2, 0)
