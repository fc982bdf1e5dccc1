"""A small recipe, and what several tests of training do with it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from sercli.models.config import NetworkConfig
from sercli.training.data import TrainingPlan
from sercli.training.loop import EpochRecord, FitResult
from sercli.training.recipes import Recipe, TeacherConfig, TrainConfig
from sercli.training.train import TrainingResult, train
from sercli.training.trainer import OnEpoch, TrainedModel

CPU = torch.device("cpu")


SMALL = Recipe(
    name="paper",
    features=("mfcc", "logmel"),
    network=NetworkConfig(channels=(16, 16), lstm_size=16, attention_size=8, dense_size=16),
    training=TrainConfig(learning_rate=0.003, max_epochs=4, patience=6, plateau_patience=2, copies=1),
)


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


class KilledError(Exception):
    pass


def stop_after(epochs: int, error: type[BaseException]) -> Callable[[int, EpochRecord], None]:
    def stop(_: int, record: EpochRecord) -> None:
        if record.epoch == epochs:
            raise error

    return stop


def run_train(
    data: Path, out: Path, recipe: Recipe, *, seed: int = 1, on_epoch: OnEpoch | None = None, **options: Any
) -> TrainingResult:
    if on_epoch:

        def follow(done: int, _: int, step: TrainingPlan | EpochRecord) -> None:
            if isinstance(step, EpochRecord):
                on_epoch((done - 1) // recipe.training.max_epochs, step)

        options["progress"] = follow
    return train(data / "index.csv", data / "features.h5", recipe, out, seed=seed, device="cpu", **options)


STUDENT = replace(SMALL.with_max_epochs(2), teachers=TeacherConfig(networks=2, max_epochs=3))
