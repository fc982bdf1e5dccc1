import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sercli.corpora.index import Index
from sercli.errors import InputError, ModelError, StoreError, UsageError
from sercli.features.extraction import extract_store
from sercli.features.parameters import StoreParameters
from sercli.features.store import FeatureStore
from sercli.models.config import NetworkConfig
from sercli.models.folder import load_model
from sercli.splits.development import make_training_split
from sercli.splits.fold import Fold
from sercli.training.augmentation import AugmentConfig
from sercli.training.calibration import fit_temperature, to_probabilities
from sercli.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from sercli.training.data import CorpusFeatures
from sercli.training.loop import EpochRecord, compute_logits, fit, one_cycle, score_dev
from sercli.training.recipes import RECIPES, Recipe, TrainConfig
from sercli.training.session import Trained, identify_training, train_fold
from sercli.training.train import CHECKPOINT_FILE, LOCK_FILE, train
from tests.toy_index import featurize_toy

CPU = torch.device("cpu")
SMALL = Recipe(
    name="paper",
    features=("mfcc", "logmel"),
    network=NetworkConfig(channels=(16, 16), lstm_size=16, attention_size=8, dense_size=16),
    training=TrainConfig(learning_rate=0.003, max_epochs=6, patience=6, plateau_patience=2, copies=1),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return featurize_toy(tmp_path_factory.mktemp("data"), takes=3, copies=1)


@pytest.fixture(scope="module")
def index(data: Path) -> Index:
    from sercli.corpora.index import read_index

    return read_index(data / "index.csv")


@pytest.fixture(scope="module")
def features(data: Path, index: Index) -> CorpusFeatures:
    with FeatureStore(data / "features.h5") as store:
        return CorpusFeatures(index, store, SMALL.features)


@pytest.fixture
def fold(index: Index) -> Fold:
    return make_training_split(index, 0)


def weights_of(trained: Trained) -> dict[str, torch.Tensor]:
    return trained.network.state_dict()


def assert_same_weights(one: Trained, other: Trained) -> None:
    for name, tensor in weights_of(one).items():
        torch.testing.assert_close(weights_of(other)[name], tensor, rtol=0, atol=0)


def test_one_seed_gives_one_set_of_weights(features: CorpusFeatures, fold: Fold) -> None:
    one, two = (train_fold(features, fold, SMALL, seed=3, device=CPU) for _ in range(2))
    assert_same_weights(one, two)
    assert [replace(r, seconds=0) for r in one.result.history] == [replace(r, seconds=0) for r in two.result.history]
    other = train_fold(features, fold, SMALL, seed=4, device=CPU)
    assert other.result.history[0].train_loss != one.result.history[0].train_loss


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
    assert_same_weights(whole, resumed)
    assert [replace(r, seconds=0) for r in whole.result.history] == [
        replace(r, seconds=0) for r in resumed.result.history
    ]
    assert resumed.temperature == whole.temperature


def test_a_checkpoint_of_another_training_is_refused(features: CorpusFeatures, fold: Fold, tmp_path: Path) -> None:
    checkpoint = tmp_path / "c.safetensors"
    with pytest.raises(KilledError):
        train_fold(
            features, fold, SMALL, seed=3, device=CPU, checkpoint=checkpoint, on_epoch=stop_after(1, KilledError)
        )
    for change in ({"seed": 4}, {"recipe": replace(SMALL, network=replace(SMALL.network, dropout=0.1))}):
        given = {"recipe": SMALL, "seed": 3, **change}
        with pytest.raises(ModelError, match="belongs to another training"):
            train_fold(features, fold, device=CPU, checkpoint=checkpoint, resume=True, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", ["history", "best", "optimiser"])
def test_a_checkpoint_that_was_tampered_with_is_refused(
    features: CorpusFeatures, fold: Fold, tmp_path: Path, damage: str
) -> None:
    from sercli.training.session import identify_checkpoint

    path, identity = tmp_path / "c.safetensors", identify_checkpoint(features, fold, SMALL, 3)
    with pytest.raises(KilledError):
        train_fold(features, fold, SMALL, seed=3, device=CPU, checkpoint=path, on_epoch=stop_after(1, KilledError))
    checkpoint = load_checkpoint(path, identity)
    changed: dict[str, Checkpoint] = {
        "history": replace(checkpoint, history=({"epoch": 1},)),
        "best": replace(checkpoint, best={"a": torch.zeros(1)}),
        "optimiser": replace(checkpoint, optimiser={"nobody.step": torch.zeros(1)}),
    }
    save_checkpoint(path, changed[damage], identity)
    with pytest.raises(ModelError, match="with --restart"):
        train_fold(features, fold, SMALL, seed=3, device=CPU, checkpoint=path, resume=True)


def test_a_checkpoint_survives_the_round_trip_and_a_cut_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint = Checkpoint(
        weights={"a.weight": torch.randn(3)},
        best={"a.weight": torch.randn(3)},
        optimiser={"a.weight.step": torch.tensor(4.0)},
        learning_rate=0.1 + 0.2,
        history=({"epoch": 1, "dev_loss": 1 / 3},),
    )
    save_checkpoint(path, checkpoint, "identity")
    loaded = load_checkpoint(path, "identity")
    assert loaded.learning_rate == checkpoint.learning_rate
    assert loaded.history == checkpoint.history
    torch.testing.assert_close(loaded.optimiser, checkpoint.optimiser)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ModelError, match="cannot be read"):
        load_checkpoint(path, "identity")


def test_training_stops_when_the_development_uar_no_longer_rises_and_keeps_the_best(
    features: CorpusFeatures, fold: Fold
) -> None:
    eager = replace(
        SMALL, training=replace(SMALL.training, learning_rate=0.05, max_epochs=60, patience=3, plateau_patience=2)
    )
    trained = train_fold(features, fold, eager, seed=0, device=CPU)
    history = trained.result.history
    best = history[trained.result.best_epoch - 1]
    assert len(history) == best.epoch + 3 < 60
    assert best.dev_uar == max(record.dev_uar for record in history)
    assert min(record.learning_rate for record in history) < 0.05
    kept = score_dev(trained.network, features.batches(fold.dev, trained.normalizer, device=CPU))
    assert kept.dev_loss == pytest.approx(best.dev_loss, rel=1e-5)
    assert kept.dev_uar == best.dev_uar


@pytest.mark.parametrize("name", ["default", "paper"])
def test_the_recipe_overfits_a_tiny_set(features: CorpusFeatures, name: str) -> None:
    members = tuple(range(12))
    fold = Fold(number=1, train=members, dev=members, test=())
    recipe = replace(
        RECIPES[name],
        network=replace(RECIPES[name].network, dropout=0.0, dense_dropout=0.0),
        training=replace(RECIPES[name].training, max_epochs=40, patience=40, batch_size=6, copies=0),
        augmentation=AugmentConfig(),
    )
    learned = train_fold_on_all_features(features, fold, recipe)
    assert learned.result.history[-1].train_accuracy == 1.0
    assert learned.result.history[-1].dev_accuracy == 1.0


def test_the_last_weights_of_a_cycle_are_kept_and_resuming_leads_to_the_same(
    features: CorpusFeatures, fold: Fold, tmp_path: Path
) -> None:
    recipe = replace(
        RECIPES["default"],
        network=replace(RECIPES["default"].network, channels=(8,), lstm_size=8, dense_size=16),
        training=replace(RECIPES["default"].training, max_epochs=4),
    )
    with FeatureStore(features.index.folder / "features.h5") as store:
        corpus = CorpusFeatures(features.index, store, recipe.features)
    whole = train_fold(corpus, fold, recipe, seed=1, device=CPU)
    assert whole.result.best_epoch == 4
    rates = [record.learning_rate for record in whole.result.history]
    assert max(rates) > 4 * rates[-1]

    def stop(_: int, record: EpochRecord) -> None:
        if record.epoch == 2:
            raise KeyboardInterrupt

    checkpoint = tmp_path / "c.safetensors"
    half = train_fold(corpus, fold, recipe, seed=1, device=CPU, checkpoint=checkpoint, on_epoch=stop)
    assert half.result.interrupted
    resumed = train_fold(corpus, fold, recipe, seed=1, device=CPU, checkpoint=checkpoint, resume=True)
    assert_same_weights(whole, resumed)
    longer = replace(recipe, training=replace(recipe.training, max_epochs=5))
    with pytest.raises(ModelError, match="another training"):
        train_fold(corpus, fold, longer, seed=1, device=CPU, checkpoint=checkpoint, resume=True)


def test_the_learning_rate_rises_and_falls_once() -> None:
    rates = np.array([one_cycle(share) for share in np.linspace(0, 1, 501)])
    assert rates[0] == pytest.approx(1 / 25)
    assert rates.max() == pytest.approx(1.0)
    assert rates[-1] < 1e-4
    assert rates.argmax() == 100
    assert (np.diff(rates[:101]) > 0).all()
    assert (np.diff(rates[100:]) < 0).all()


def train_fold_on_all_features(features: CorpusFeatures, fold: Fold, recipe: Recipe) -> Trained:
    from sercli.corpora.index import read_index

    folder = features.index.folder
    with FeatureStore(folder / "features.h5") as store:
        return train_fold(
            CorpusFeatures(read_index(folder / "index.csv"), store, recipe.features), fold, recipe, seed=0, device=CPU
        )


def test_normalisation_is_fitted_on_training_utterances_alone(features: CorpusFeatures, fold: Fold) -> None:
    trained = train_fold(
        features, fold, replace(SMALL, training=replace(SMALL.training, max_epochs=1)), seed=0, device=CPU
    )
    frames = np.concatenate([features.matrix(row) for row in features.originals(fold.train)])
    np.testing.assert_allclose(trained.normalizer.mean, frames.mean(axis=0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(trained.normalizer.std, frames.std(axis=0), rtol=1e-3, atol=1e-3)


def test_copies_are_trained_on_and_never_scored(features: CorpusFeatures, fold: Fold) -> None:
    normalizer = features.fit_normalizer(fold.train)
    train_side = features.batches(fold.train, normalizer, copies=1, device=CPU)
    dev_side = features.batches(fold.dev, normalizer, device=CPU)
    assert len(train_side) == 2 * len(fold.train)
    assert len(dev_side) == len(fold.dev)
    assert {u.file for u in train_side.utterances} == {features.index.utterances[n].file for n in fold.train}
    rows = {row for _, row in features.with_copies(fold.train, 1)}
    assert not rows & {row for _, row in features.with_copies(fold.dev, 1)}


def test_every_utterance_is_in_exactly_one_batch(features: CorpusFeatures, fold: Fold) -> None:
    batches = features.batches(fold.train, features.fit_normalizer(fold.train), copies=1, device=CPU)
    seen, truth = 0, []
    for frames, lengths, labels in batches.shuffled(7, torch.Generator().manual_seed(0)):
        seen += len(labels)
        truth += labels.tolist()
        assert frames.shape[2] == lengths.max()
    assert seen == len(batches)
    assert sorted(truth) == sorted(batches.truth.tolist())


def test_a_store_without_the_indexed_utterances_is_refused(index: Index, data: Path) -> None:
    strangers = replace(index, utterances=tuple(replace(u, sha256="f" * 64) for u in index.utterances))
    with FeatureStore(data / "features.h5") as store, pytest.raises(StoreError, match="none of the 72 indexed"):
        CorpusFeatures(strangers, store, SMALL.features)


def test_train_writes_a_model_that_loads_and_curves(index: Index, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    trained = train(index, data / "features.h5", SMALL, out, seed=1, device=CPU, command="sercli train")
    model = load_model(out)
    assert model.features.names == SMALL.features
    assert model.facts["training_data"]["ravdess"]["utterances"] == 72
    assert len(model.facts["training_data"]["ravdess"]["dev_speakers"]) == 2
    assert sorted(path.name for path in out.iterdir()) == [
        "MODEL_CARD.md",
        "curves.png",
        "history.csv",
        "model.json",
        "model.safetensors",
    ]
    for name, tensor in model.network.state_dict().items():
        torch.testing.assert_close(tensor, trained.network.state_dict()[name], rtol=0, atol=0)


def test_train_rounds_the_weights_before_it_calibrates_them(
    index: Index, data: Path, features: CorpusFeatures, tmp_path: Path
) -> None:
    trained = train(index, data / "features.h5", SMALL, tmp_path, seed=1, device=CPU)
    fold = make_training_split(features.index, 1)
    exact = train_fold(features, fold, SMALL, seed=1, device=CPU)
    rounded = 0
    for weights, unrounded in zip(trained.network.parameters(), exact.network.parameters(), strict=True):
        assert torch.equal(weights, unrounded.half().float() if weights.ndim > 1 else unrounded)
        rounded += not torch.equal(weights, unrounded)
    assert rounded
    dev = features.batches(fold.dev, trained.normalizer, device=CPU)
    logits = compute_logits(trained.network, dev).numpy()
    assert load_model(tmp_path).temperature == trained.temperature == fit_temperature(logits, dev.truth.numpy())


def test_ctrl_c_leaves_the_best_model_so_far_and_resume_ends_like_an_unbroken_run(
    index: Index, data: Path, tmp_path: Path
) -> None:
    whole = train(index, data / "features.h5", SMALL, tmp_path / "whole", seed=1, device=CPU)
    out = tmp_path / "m"
    stopped = train(
        index, data / "features.h5", SMALL, out, seed=1, device=CPU, on_epoch=stop_after(2, KeyboardInterrupt)
    )
    assert stopped.result.interrupted
    assert len(stopped.result.history) == 2
    assert load_model(out).facts["training"]["interrupted"]
    assert (out / CHECKPOINT_FILE).exists()
    resumed = train(index, data / "features.h5", SMALL, out, seed=1, device=CPU, resume=True)
    assert_same_weights(whole, resumed)
    assert not (out / CHECKPOINT_FILE).exists()
    with pytest.raises(ModelError, match="nothing to resume"):
        train(index, data / "features.h5", SMALL, out, seed=1, device=CPU, resume=True)


def test_an_interrupted_training_neither_replaces_a_finished_model_nor_is_forgotten(
    index: Index, data: Path, tmp_path: Path
) -> None:
    store, out = data / "features.h5", tmp_path / "m"
    train(index, store, SMALL, out, seed=1, device=CPU)
    before = (out / "model.safetensors").read_bytes()
    train(index, store, SMALL, out, seed=2, device=CPU, on_epoch=stop_after(1, KeyboardInterrupt))
    assert (out / "model.safetensors").read_bytes() == before
    with pytest.raises(ModelError, match="--resume, or start over with --restart"):
        train(index, store, SMALL, out, seed=2, device=CPU)
    train(index, store, SMALL, out, seed=2, device=CPU, restart=True)
    assert (out / "model.safetensors").read_bytes() != before


def test_ctrl_c_in_the_first_epoch_of_a_later_member_leaves_a_model(index: Index, data: Path, tmp_path: Path) -> None:
    recipe, out = SMALL.limit(2).join(3), tmp_path / "m"
    whole = train(index, data / "features.h5", recipe, tmp_path / "whole", seed=1, device=CPU)
    ended: list[int] = []

    def stop(member: int, record: EpochRecord) -> None:
        if (member, record.epoch) == (0, 2):
            ended.append(member)

    original = CorpusFeatures.batches

    def batches(self: CorpusFeatures, *arguments: Any, **options: Any) -> Any:
        if ended:
            raise KeyboardInterrupt
        return original(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CorpusFeatures, "batches", batches)
        stopped = train(index, data / "features.h5", recipe, out, seed=1, device=CPU, on_epoch=stop)
    assert stopped.result.interrupted
    assert load_model(out).facts["training"]["interrupted"]
    resumed = train(index, data / "features.h5", recipe, out, seed=1, device=CPU, resume=True)
    assert_same_weights(whole, resumed)


def test_an_ensemble_is_resumed_with_its_number_of_members_or_started_over(
    index: Index, data: Path, tmp_path: Path
) -> None:
    store, out, recipe = data / "features.h5", tmp_path / "m", SMALL.limit(2)

    def stop(member: int, _: EpochRecord) -> None:
        if member == 1:
            raise KeyboardInterrupt

    train(index, store, recipe.join(3), out, seed=1, device=CPU, on_epoch=stop)
    assert len(list(out.glob("checkpoint*"))) == 2
    with pytest.raises(ModelError, match="another training"):
        train(index, store, recipe, out, seed=1, device=CPU, resume=True)
    with pytest.raises(UsageError, match="give one of them"):
        train(index, store, recipe, out, seed=1, device=CPU, resume=True, restart=True)
    train(index, store, recipe, out, seed=2, device=CPU, restart=True)
    assert not list(out.glob("checkpoint*"))


def test_other_labels_or_copies_are_another_training(features: CorpusFeatures, fold: Fold) -> None:
    from sercli.training.session import identify_training

    relabelled = replace(features.index, utterances=tuple(replace(u, emotion="sad") for u in features.index.utterances))
    before = identify_training(features, fold, SMALL, 0)
    original, features.index = features.index, relabelled
    assert identify_training(features, fold, SMALL, 0) != before
    features.index = original
    assert identify_training(features, fold, SMALL, 0) == before


def test_the_command_survives_sigint(data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sercli", "train", "--data-dir", str(data), "--out", str(tmp_path / "m")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (tmp_path / "m" / CHECKPOINT_FILE).exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert "--resume" in errors
    assert "Traceback" not in errors
    load_model(tmp_path / "m")


def test_the_temperature_found_is_the_one_that_was_put_in() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4_000, 8))
    truth = np.asarray([rng.choice(8, p=row) for row in to_probabilities(logits, 1.0)])
    assert fit_temperature(3.0 * logits, truth) == pytest.approx(3.0, rel=0.08)


def test_a_loss_that_is_no_number_stops_the_training(features: CorpusFeatures, fold: Fold) -> None:
    normalizer = features.fit_normalizer(fold.train)
    batches = features.batches(fold.train, normalizer, device=CPU)
    batches.frames[0].fill_(torch.nan)
    from sercli.models.networks import build_network

    network = build_network(SMALL.network, len(normalizer.mean))
    with pytest.raises(ModelError, match="no longer a number in epoch 1"):
        fit(network, batches, batches, SMALL.training, seed=0)


def test_members_of_an_ensemble_are_trained_apart_and_answer_together(
    features: CorpusFeatures, fold: Fold, tmp_path: Path
) -> None:
    recipe = SMALL.limit(2).join(3)
    checkpoint = tmp_path / "c.safetensors"
    trained = train_fold(features, fold, recipe, seed=3, device=CPU, checkpoint=checkpoint)
    first = train_fold(features, fold, SMALL.limit(2), seed=3, device=CPU)
    for name, tensor in weights_of(first).items():
        torch.testing.assert_close(weights_of(trained)[f"members.0.{name}"], tensor, rtol=0, atol=0)
    assert len(trained.histories) == 3
    assert len({history[-1].train_loss for history in trained.histories}) == 3
    network = trained.network.eval()
    batches = features.batches(fold.dev[:5], trained.normalizer, device=CPU)
    ((_, batch, lengths),) = batches.in_order(8)
    each = [member(batch, lengths) for member in network.members.children()]  # type: ignore[union-attr]
    torch.testing.assert_close(network(batch, lengths), sum(each) / 3)
    assert len(list(tmp_path.glob("c*.safetensors"))) == 3


def test_an_ensemble_that_was_killed_goes_on_with_the_member_it_was_at(
    features: CorpusFeatures, fold: Fold, tmp_path: Path
) -> None:
    recipe = SMALL.limit(2).join(2)
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
    assert_same_weights(whole, resumed)
    assert resumed.temperature == whole.temperature


def test_copies_enrolment_and_augmentation_are_those_of_the_recipe(
    index: Index, data: Path, features: CorpusFeatures, fold: Fold, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    def note(network: Any, train: Any, *given: Any, augment: Any, **named: Any) -> Any:
        seen.append({"copies": len(train) / len(fold.train) - 1, "enrolled": len(train.enrolled), "augment": augment})
        return fit(network, train, *given, augment=augment, **named)

    monkeypatch.setattr("sercli.training.session.fit", note)
    enrolled = replace(RECIPES["default"].limit(1), network=replace(SMALL.network, name="crnn"))
    with FeatureStore(data / "features.h5") as store:
        spectra = CorpusFeatures(index, store, ("logmel",))
    train_fold(features, fold, SMALL.limit(1), seed=3, device=CPU)
    train_fold(spectra, fold, enrolled, seed=3, device=CPU)
    assert seen[0] == {"copies": 1, "enrolled": 0, "augment": None}
    assert (seen[1]["copies"], seen[1]["enrolled"]) == (0, len(fold.train))
    assert seen[1]["augment"].config == RECIPES["default"].augmentation


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_as_many_are_enrolled_as_are_wanted(features: CorpusFeatures, fold: Fold, share: float) -> None:
    batches = features.batches(fold.train, features.fit_normalizer(fold.train), enrolled=True, device=CPU)
    own = {frames.numpy().tobytes() for frames in batches.enrolled}
    chosen = [
        frames[:, :length].T.contiguous().numpy().tobytes() in own
        for _ in range(5)
        for padded, lengths, _ in batches.shuffled(8, torch.Generator().manual_seed(1), enrolled=share)
        for frames, length in zip(padded, lengths.tolist(), strict=True)
    ]
    assert np.mean(chosen) == pytest.approx(share, abs=0.15)
    assert not {frames.numpy().tobytes() for frames in batches.frames} & own


def test_the_temperature_is_that_of_the_development_utterances(features: CorpusFeatures, fold: Fold) -> None:
    trained = train_fold(features, fold, SMALL, seed=3, device=CPU)
    dev = features.batches(fold.dev, trained.normalizer, device=CPU)
    logits = compute_logits(trained.network, dev).numpy()
    assert trained.temperature == pytest.approx(fit_temperature(logits, dev.truth.numpy()))
    assert trained.temperature != 1.0


def test_an_identity_names_what_training_depends_on_and_nothing_else(
    index: Index, data: Path, features: CorpusFeatures, fold: Fold, tmp_path: Path
) -> None:
    default = RECIPES["default"]
    swapped = {"ravdess-01": "ravdess-02", "ravdess-02": "ravdess-01"}
    others = tuple(replace(u, speaker=swapped.get(u.speaker, u.speaker)) for u in index.utterances)
    extract_store(index, tmp_path / "plain.h5", StoreParameters())
    with FeatureStore(data / "features.h5") as store:
        regrouped = CorpusFeatures(replace(index, utterances=others), store, ("logmel",))
    with FeatureStore(tmp_path / "plain.h5") as store:
        plain = CorpusFeatures(index, store, ("logmel",))
    by_default = identify_training(features, fold, default, 0)
    assert identify_training(plain, fold, default, 0) == by_default, "it trains on no copies"
    assert identify_training(regrouped, fold, default, 0) != by_default, "it enrols speakers"
    by_small = identify_training(features, fold, SMALL, 0)
    assert identify_training(plain, fold, SMALL, 0) != by_small
    assert identify_training(regrouped, fold, SMALL, 0) == by_small


def test_fewer_epochs_than_were_trained_cannot_be_resumed(index: Index, data: Path, tmp_path: Path) -> None:
    store, out = data / "features.h5", tmp_path / "m"
    train(index, store, SMALL, out, device=CPU, on_epoch=stop_after(3, KeyboardInterrupt))
    with pytest.raises(ModelError, match="has been trained for 3 epochs already, more than the 2 asked for"):
        train(index, store, SMALL.limit(2), out, device=CPU, resume=True)
    assert len(train(index, store, SMALL.limit(3), out, device=CPU, resume=True).result.history) == 3


def test_a_model_folder_is_written_by_one_training_at_a_time(index: Index, data: Path, tmp_path: Path) -> None:
    store, out = data / "features.h5", tmp_path / "m"
    refused: list[str] = []

    def start_another(*_: object) -> None:
        with pytest.raises(InputError, match="written by another sercli train") as found:
            train(index, store, SMALL, out, device=CPU, restart=True)
        refused.append(str(found.value))
        assert (out / CHECKPOINT_FILE).exists()

    train(index, store, SMALL.limit(2), out, device=CPU, on_epoch=start_another)
    assert len(refused) == 2
    assert not (out / LOCK_FILE).exists()
