from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sercli.errors import ModelError
from sercli.splits.fold import Fold
from sercli.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from sercli.training.data import CorpusFeatures
from sercli.training.description import identify_checkpoint
from sercli.training.trainer import train_fold
from tests.training.toy import (
    CPU,
    SMALL,
    KilledError,
    stop_after,
)


def test_a_checkpoint_of_another_training_is_refused(features: CorpusFeatures, fold: Fold, tmp_path: Path) -> None:
    checkpoint = tmp_path / "c.safetensors"
    with pytest.raises(KilledError):
        train_fold(
            features, fold, SMALL, seed=3, device=CPU, checkpoint=checkpoint, on_epoch=stop_after(1, KilledError)
        )
    for change in ({"seed": 4}, {"recipe": replace(SMALL, network=replace(SMALL.network, dropout=0.1))}):
        given = {"recipe": SMALL, "seed": 3, **change}
        with pytest.raises(ModelError, match="of a training run with other data or options"):
            train_fold(features, fold, device=CPU, checkpoint=checkpoint, resume=True, **given)  # type: ignore[arg-type]


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
