"""Small recipes and evaluations of a toy corpus."""

import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from sercli.corpora.index import Index, write_index
from sercli.evaluation.report import EvaluationReport
from sercli.evaluation.run import evaluate
from sercli.models.config import NetworkConfig
from sercli.training.recipe_files import RECIPES
from sercli.training.recipes import Recipe, TrainConfig

SMALL = Recipe(
    name="paper",
    features=("mfcc", "logmel", "rms"),
    network=NetworkConfig(channels=(16, 16), lstm_size=16, attention_size=8, dense_size=16, dropout=0.1),
    training=TrainConfig(learning_rate=0.01, max_epochs=4, patience=5, plateau_patience=2, copies=2),
)


DEFAULT = replace(
    RECIPES["default"],
    network=replace(RECIPES["default"].network, channels=(8, 16), lstm_size=16, dense_size=32, dense_dropout=0.1),
    training=replace(RECIPES["default"].training, max_epochs=6, batch_size=8, learning_rate=0.01),
    augmentation=replace(RECIPES["default"].augmentation, mixup=0.0, time_mask=4, degraded=0.3),
)


def run_toy(data: Path, out: Path, *, index: Index | None = None, **changes: Any) -> EvaluationReport:
    """Evaluates a recipe on a toy corpus by leaving one speaker out, unless other arguments are given."""
    path = data / "index.csv"
    if index:
        path = data / f"index-{uuid.uuid4()}.csv"
        write_index(path, index)
    arguments: dict[str, Any] = {"recipe": SMALL, "protocol": "loso", "device": "cpu", "command": "sercli evaluate"}
    return evaluate(path, data / "features.h5", out=out, **{**arguments, **changes})
