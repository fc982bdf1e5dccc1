import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from scipy.special import softmax
from torch import nn

from sercli.corpora.index import Index, read_index
from sercli.errors import CheckpointError, InputError, ModelError, UsageError
from sercli.features.extraction import extract_store
from sercli.features.parameters import StoreParameters
from sercli.features.utterance import extract_degraded
from sercli.models.config import NetworkConfig
from sercli.models.model import Model, load_model
from sercli.models.networks import build_network
from sercli.splits.development import make_training_split
from sercli.splits.fold import Fold
from sercli.training import loop
from sercli.training.calibration import fit_temperature, list_truth, pool_logits
from sercli.training.checkpoint import CHECKPOINT_FILE, Checkpoint, load_checkpoint, save_checkpoint
from sercli.training.data import CorpusFeatures
from sercli.training.description import identify_checkpoint, identify_training
from sercli.training.loop import EpochRecord, FitResult, Teacher, fit, one_cycle, score_logits
from sercli.training.recipe_files import RECIPES
from sercli.training.recipes import AugmentConfig, Recipe, TeacherConfig, TrainConfig
from sercli.training.train import TrainingResult, train
from sercli.training.trainer import OnEpoch, TrainedModel, train_fold
from sercli.training.typicality import Segments
from tests.toy_index import featurize_toy

CPU = torch.device("cpu")
SMALL = Recipe(
    name="paper",
    features=("mfcc", "logmel"),
    network=NetworkConfig(channels=(16, 16), lstm_size=16, attention_size=8, dense_size=16),
    training=TrainConfig(learning_rate=0.003, max_epochs=4, patience=6, plateau_patience=2, copies=1),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return featurize_toy(tmp_path_factory.mktemp("data"), takes=3, copies=1)


@pytest.fixture(scope="module")
def index(data: Path) -> Index:
    return read_index(data / "index.csv")


@pytest.fixture(scope="module")
def features(data: Path, index: Index) -> Iterator[CorpusFeatures]:
    with CorpusFeatures(index, data / "features.h5", SMALL.features) as corpus:
        yield corpus


@pytest.fixture(scope="module")
def spectra(data: Path, index: Index) -> Iterator[CorpusFeatures]:
    with CorpusFeatures(index, data / "features.h5", ("logmel",)) as corpus:
        yield corpus


@pytest.fixture
def fold(index: Index) -> Fold:
    return make_training_split(index, 0)


def load_weights(trained: TrainedModel) -> dict[str, torch.Tensor]:
    return safetensors.torch.load(trained.weights)


def without_seconds(members: tuple[FitResult, ...]) -> list[list[EpochRecord]]:
    return [[replace(record, seconds=0) for record in member.history] for member in members]


def assert_same(one: TrainedModel | TrainingResult, other: TrainedModel | TrainingResult) -> None:
    """Equal graphs, temperatures, scores and histories."""
    one, other = (given.trained if isinstance(given, TrainingResult) else given for given in (one, other))
    assert one.model.graph == other.model.graph
    assert one.model.temperature == other.model.temperature
    assert one.dev == other.dev
    assert without_seconds(one.members) == without_seconds(other.members)


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


class KilledError(Exception):
    pass


def stop_after(epochs: int, error: type[BaseException]) -> Callable[[int, EpochRecord], None]:
    def stop(_: int, record: EpochRecord) -> None:
        if record.epoch == epochs:
            raise error

    return stop


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
    resumed = train_fold(features, fold, recipe, seed=3, device=CPU, checkpoint=checkpoint, resume=True)
    assert_same(whole, resumed)
    assert whole.weights == resumed.weights


def test_a_checkpoint_of_another_training_is_refused(features: CorpusFeatures, fold: Fold, tmp_path: Path) -> None:
    checkpoint = tmp_path / "c.safetensors"
    with pytest.raises(KilledError):
        train_fold(
            features, fold, SMALL, seed=3, device=CPU, checkpoint=checkpoint, on_epoch=stop_after(1, KilledError)
        )
    for change in ({"seed": 4}, {"recipe": replace(SMALL, network=replace(SMALL.network, dropout=0.1))}):
        given = {"recipe": SMALL, "seed": 3, **change}
        with pytest.raises(ModelError, match="expected training"):
            train_fold(features, fold, device=CPU, checkpoint=checkpoint, resume=True, **given)  # type: ignore[arg-type]


def test_a_training_that_diverges_leaves_nothing(data: Path, tmp_path: Path) -> None:
    recipe = replace(SMALL, training=replace(SMALL.training, max_epochs=1, learning_rate=100.0, muon=1e4))
    with pytest.raises(ModelError, match=r"the training diverges in epoch 1: .* lower training.learning_rate"):
        train(data / "index.csv", data / "features.h5", recipe, tmp_path / "model", device="cpu")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("damage", ["history", "best", "optimizer"])
def test_a_checkpoint_that_was_tampered_with_is_refused(
    features: CorpusFeatures, fold: Fold, tmp_path: Path, damage: str
) -> None:
    path, identity = tmp_path / "c.safetensors", identify_checkpoint(features, fold, SMALL, 3)
    with pytest.raises(KilledError):
        train_fold(features, fold, SMALL, seed=3, device=CPU, checkpoint=path, on_epoch=stop_after(1, KilledError))
    checkpoint = load_checkpoint(path, identity)
    changed: dict[str, Checkpoint] = {
        "history": replace(checkpoint, history=({"epoch": 1},)),
        "best": replace(checkpoint, best={"a": torch.zeros(1)}),
        "optimizer": replace(checkpoint, optimizer={"nobody.step": torch.zeros(1)}),
    }
    save_checkpoint(path, changed[damage], identity)
    with pytest.raises(ModelError, match="with --restart"):
        train_fold(features, fold, SMALL, seed=3, device=CPU, checkpoint=path, resume=True)


def test_a_checkpoint_survives_the_round_trip_and_a_cut_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint = Checkpoint(
        weights={"a.weight": torch.randn(3)},
        best={"a.weight": torch.randn(3)},
        optimizer={"a.weight.step": torch.tensor(4.0)},
        learning_rate=0.1 + 0.2,
        history=({"epoch": 1, "dev_loss": 1 / 3},),
    )
    save_checkpoint(path, checkpoint, "identity")
    loaded = load_checkpoint(path, "identity")
    assert loaded.learning_rate == checkpoint.learning_rate
    assert loaded.history == checkpoint.history
    torch.testing.assert_close(loaded.optimizer, checkpoint.optimizer)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ModelError, match="it is damaged"):
        load_checkpoint(path, "identity")


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
    resumed = train_fold(spectra, fold, recipe, seed=1, device=CPU, checkpoint=checkpoint, resume=True)
    assert_same(whole, resumed)
    longer = replace(recipe, training=replace(recipe.training, max_epochs=5))
    with pytest.raises(ModelError, match="expected training"):
        train_fold(spectra, fold, longer, seed=1, device=CPU, checkpoint=checkpoint, resume=True)


def test_the_learning_rate_rises_and_falls_once() -> None:
    rates = np.array([one_cycle(share) for share in np.linspace(0, 1, 501)])
    assert rates[0] == pytest.approx(1 / 25)
    assert rates.max() == pytest.approx(1.0)
    assert rates[-1] < 1e-4
    assert rates.argmax() == 100
    assert (np.diff(rates[:101]) > 0).all()
    assert (np.diff(rates[100:]) < 0).all()


def test_normalization_is_fitted_on_training_utterances_alone(features: CorpusFeatures, fold: Fold) -> None:
    trained = train_fold(
        features, fold, replace(SMALL, training=replace(SMALL.training, max_epochs=1)), seed=0, device=CPU
    )
    frames = np.concatenate(
        [matrix.T for member in fold.train for matrix, _ in features.segments(member)], dtype=np.float32
    )
    np.testing.assert_allclose(trained.model.normalizer.mean, frames.mean(axis=0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(trained.model.normalizer.std, frames.std(axis=0), rtol=1e-3, atol=1e-3)


def run_train(
    data: Path, out: Path, recipe: Recipe, *, seed: int = 1, on_epoch: OnEpoch | None = None, **options: Any
) -> TrainingResult:
    if on_epoch:
        max_epochs = recipe.training.max_epochs
        options["progress"] = lambda done, _, record: on_epoch((done - 1) // max_epochs, record)
    return train(data / "index.csv", data / "features.h5", recipe, out, seed=seed, device="cpu", **options)


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
    assert (result.folder, result.saved, result.trained.interrupted, result.missing) == (out, True, False, ())
    header = "member,epoch,train_loss,train_accuracy,dev_loss,dev_accuracy,dev_uar,learning_rate,seconds"
    assert (out / "history.csv").read_text().splitlines()[0] == header
    card = (out / "MODEL_CARD.md").read_text()
    rows = features.parameters.features.select(SMALL.features).n_features
    assert f"`features`, float32 of shape (segments, {rows}, frames)" in card
    assert "`logits`, float32 of shape (segments, 4)" in card
    assert f"divide by the temperature, {model.temperature:.4f}" in card
    assert "`embedding`, float32 of shape (segments, size)" in card


def test_typicality_is_the_share_of_development_utterances_at_least_as_far(
    data: Path, index: Index, features: CorpusFeatures, tmp_path: Path
) -> None:
    out = tmp_path / "m"
    run_train(data, out, SMALL.with_max_epochs(1))
    model, dev = load_model(out), make_training_split(index, 1).dev
    assert model.typicality
    plain = measure_typicality(model, map(features.segments, dev))
    utterances = [index.utterances[member] for member in dev]
    telephone = measure_typicality(
        model, (extract_degraded(index.path_of(u), u.sha256, "telephone", model.parameters) for u in utterances)
    )
    np.testing.assert_allclose(sorted([*plain, *telephone]), np.linspace(0, 1, 2 * len(dev)), atol=0.01)
    assert max(telephone) > 0.5
    train = measure_typicality(model, map(features.segments, make_training_split(index, 1).train))
    assert np.mean(train) > 0.5  # what was trained on is nearer than other speakers


def measure_typicality(model: Model, utterances: Iterable[Segments]) -> list[float]:
    assert model.typicality
    found = []
    for segments in utterances:
        matrices, speech = zip(*segments, strict=True)
        distances = model.typicality.measure_distances(model.score(matrices)[1])
        found.append(model.typicality.measure(float(model.pool(distances, speech))))
    return found


def test_typicality_does_without_recordings(data: Path, tmp_path: Path) -> None:
    shutil.copy(data / "index.csv", tmp_path)
    train(tmp_path / "index.csv", data / "features.h5", SMALL.with_max_epochs(1), tmp_path / "m", device="cpu")
    typicality = load_model(tmp_path / "m").typicality
    assert typicality
    assert (typicality.telephone, len(typicality.distances)) == ((), 101)


def test_development_scores_and_temperature_are_those_of_the_saved_model(
    data: Path, features: CorpusFeatures, tmp_path: Path
) -> None:
    result = run_train(data, tmp_path / "m", SMALL)
    model = load_model(tmp_path / "m")
    fold = make_training_split(features.index, 1)
    truth = list_truth(features, fold.dev)
    logits = pool_logits(features, fold.dev, model)
    assert model.temperature == fit_temperature(logits, truth) != 1.0
    probabilities = model.probabilities(logits)
    hits = probabilities.argmax(axis=1) == truth
    assert result.trained.dev.accuracy == hits.mean() == model.facts["training"]["dev_accuracy"]
    loss = -np.log(probabilities[np.arange(len(truth)), truth]).mean()
    assert result.trained.dev.loss == pytest.approx(loss)
    one = fold.dev[3]
    matrices, speech = zip(*features.segments(one), strict=True)
    np.testing.assert_array_equal(probabilities[3], model.predict_proba(matrices, speech))


def test_weights_are_rounded_before_the_model_is_exported(features: CorpusFeatures, fold: Fold) -> None:
    trained = train_fold(features, fold, SMALL.with_max_epochs(1), seed=1, device=CPU)
    matrices = [tensor for tensor in load_weights(trained).values() if tensor.ndim >= 2]
    assert {tensor.dtype for tensor in matrices} == {torch.float16}


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
    with pytest.raises(ModelError, match="expected training"):
        run_train(data, out, recipe, resume=True)
    with pytest.raises(UsageError, match="give one of them"):
        run_train(data, out, recipe, resume=True, restart=True)
    run_train(data, out, recipe, seed=2, restart=True)
    assert not list(out.glob("checkpoint*"))


def test_other_labels_or_copies_are_another_training(features: CorpusFeatures, fold: Fold) -> None:
    relabelled = replace(features.index, utterances=tuple(replace(u, emotion="sad") for u in features.index.utterances))
    before = identify_training(features, fold, SMALL, 0)
    original, features.index = features.index, relabelled
    assert identify_training(features, fold, SMALL, 0) != before
    features.index = original
    assert identify_training(features, fold, SMALL, 0) == before


def test_the_temperature_found_is_the_one_that_was_put_in() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4_000, 8))
    truth = np.asarray([rng.choice(8, p=row) for row in softmax(logits, axis=1)])
    assert fit_temperature(3.0 * logits, truth) == pytest.approx(3.0, rel=0.08)


def test_a_loss_that_is_not_finite_stops_the_training(features: CorpusFeatures, fold: Fold) -> None:
    normalizer = features.fit_normalizer(fold.train)
    batches = features.batches(fold.train, normalizer, device=CPU)
    batches.mean.fill_(torch.nan)
    network = build_network(SMALL.network, len(normalizer.mean), len(features.labels))
    with pytest.raises(ModelError, match="diverges in epoch 1"):
        fit(network, batches, batches, SMALL.training, seed=0)


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
    assert [(row["member"], row["epoch"]) for row in trained.epoch_rows()] == [
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
    again: list[int] = []
    resumed = train_fold(
        features,
        fold,
        recipe,
        seed=3,
        device=CPU,
        checkpoint=checkpoint,
        resume=True,
        on_epoch=lambda _, record: again.append(record.epoch),
    )
    assert again == [2]
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


def test_an_identity_names_what_training_depends_on_and_nothing_else(
    index: Index, features: CorpusFeatures, spectra: CorpusFeatures, fold: Fold, tmp_path: Path
) -> None:
    default = RECIPES["default"]
    extract_store(index, tmp_path / "plain.h5", StoreParameters())
    with CorpusFeatures(index, tmp_path / "plain.h5", ("logmel",)) as plain:
        assert identify_training(plain, fold, default, 0) == identify_training(spectra, fold, default, 0), "no copies"
    before = identify_training(features, fold, SMALL, 0)
    others = [
        identify_training(features, fold, SMALL, 1),
        identify_training(features, fold, SMALL.with_members(2), 0),
        identify_training(features, replace(fold, train=fold.train[1:]), SMALL, 0),
        identify_training(features, fold, replace(SMALL, features=("logmel",)), 0),
        identify_training(features, fold, replace(SMALL, training=replace(SMALL.training, copies=0)), 0),
    ]
    assert len({before, *others}) == 6


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
        with pytest.raises(InputError, match="written by another sercli train") as error:
            run_train(data, out, SMALL, restart=True)
        refused.append(str(error.value))
        assert (out / CHECKPOINT_FILE).exists()

    run_train(data, out, SMALL.with_max_epochs(2), on_epoch=start_another)
    assert len(refused) == 2
    assert not list(out.glob(".lock*"))


STUDENT = replace(SMALL.with_max_epochs(2), teachers=TeacherConfig(networks=2))


def test_a_student_is_one_network_and_equals_its_onnx_file(features: CorpusFeatures, fold: Fold) -> None:
    trained = train_fold(features, fold, STUDENT, seed=3, device=CPU)
    assert (len(trained.teachers), len(trained.members)) == (2, 1)
    assert [row["member"] for row in trained.epoch_rows()] == [1, 1, 2, 2, 3, 3]
    assert trained.model.facts["training"]["teachers"] == 2
    network = build_network(STUDENT.network, len(trained.model.normalizer.mean), len(features.labels))
    network.load_state_dict(load_weights(trained))
    expected = loop.compute_logits(network, features.batches(fold.dev, trained.model.normalizer, device=CPU))
    np.testing.assert_allclose(pool_logits(features, fold.dev, trained.model), expected, atol=1e-4)


@pytest.mark.parametrize("error", [KilledError, KeyboardInterrupt])
def test_a_stopped_distillation_resumes_with_the_teachers_of_its_own_training(
    features: CorpusFeatures, fold: Fold, tmp_path: Path, error: type[BaseException]
) -> None:
    checkpoint = tmp_path / "c.safetensors"

    def stop(number: int, record: EpochRecord) -> None:
        if (number, record.epoch) == ((2, 1) if error is KilledError else (1, 1)):
            raise error

    with pytest.raises(KilledError) if error is KilledError else nullcontext():
        stopped = train_fold(features, fold, STUDENT, seed=3, device=CPU, checkpoint=checkpoint, on_epoch=stop)
        assert stopped.interrupted
        assert len(stopped.members) == 1, "the teacher that was finished"
    other = replace(fold, train=fold.train[1:])
    with pytest.raises(CheckpointError, match="expected training"):
        train_fold(features, other, STUDENT, seed=3, device=CPU, checkpoint=checkpoint, resume=True)
    resumed = train_fold(features, fold, STUDENT, seed=3, device=CPU, checkpoint=checkpoint, resume=True)
    assert_same(train_fold(features, fold, STUDENT, seed=3, device=CPU), resumed)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_a_student_that_answers_like_its_teacher_learns_from_the_labels_alone(temperature: float) -> None:
    answers = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(5)

    class Echo(nn.Module):
        def forward(self, features: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
            return features

    def differentiate(logits: torch.Tensor, weight: float) -> torch.Tensor:
        logits = logits.clone().requires_grad_()
        teacher = Teacher(network=Echo(), config=TeacherConfig(temperature=temperature, weight=weight))
        loss = teacher.blend(
            nn.functional.cross_entropy(logits, labels), logits, answers, labels, torch.ones_like(logits)
        )
        return torch.autograd.grad(loss, logits)[0]

    assert differentiate(answers, 1.0).abs().max() < 1e-6
    hits = nn.functional.one_hot(labels, 8)
    torch.testing.assert_close(differentiate(answers, 0.4), 0.6 * (answers.softmax(1) - hits) / 5)
    expected = temperature * ((2 * answers / temperature).softmax(1) - (answers / temperature).softmax(1)) / 5
    torch.testing.assert_close(differentiate(2 * answers, 1.0), expected)
