"""Small recipes and evaluations of a toy corpus."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sercli.corpora.index import read_index
from sercli.evaluation.plan import EvaluationPlan
from sercli.models.config import NetworkConfig
from sercli.training.recipes import RECIPES, Recipe, TrainConfig

SMALL = Recipe(
    name="paper",
    features=("mfcc", "logmel", "rms"),
    network=NetworkConfig(channels=(16, 16), lstm_size=16, attention_size=8, dense_size=16, dropout=0.1),
    training=TrainConfig(learning_rate=0.003, max_epochs=15, patience=5, plateau_patience=2, copies=2),
)


DEFAULT = replace(
    RECIPES["default"],
    network=replace(RECIPES["default"].network, channels=(8, 16), lstm_size=16, dense_size=32, dense_dropout=0.1),
    training=replace(RECIPES["default"].training, max_epochs=30, batch_size=8, learning_rate=0.005),
    augmentation=replace(RECIPES["default"].augmentation, mixup=0.0, time_mask=4, channel=0.3),
)


def make_plan(data: Path, **changes: Any) -> EvaluationPlan:
    plan = EvaluationPlan(
        index=read_index(data / "index.csv"),
        store=data / "features.h5",
        protocol="loso",
        recipe=SMALL,
        seeds=(0,),
        device="cpu",
        command="sercli evaluate",
    )
    return replace(plan, **changes)
