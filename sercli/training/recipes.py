"""Recipes: which features, which network, trained how."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sercli.config import Config
from sercli.errors import UsageError
from sercli.models.config import NetworkConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig(Config):
    """How a network is trained.

    Attributes:
        batch_size: utterances per step.
        learning_rate: of Adam at the start.
        max_epochs: passes over the training utterances, at most.
        patience: epochs without a better development UAR after which training stops.
        plateau_patience: such epochs after which the learning rate is reduced.
        plateau_factor: what it is reduced by.
        copies: altered copies of each training utterance that are used, as far as the store has them.
    """

    batch_size: int = 32
    learning_rate: float = 0.000_2
    max_epochs: int = 100
    patience: int = 12
    plateau_patience: int = 5
    plateau_factor: float = 0.5
    copies: int = 2

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_epochs", "patience", "plateau_patience"):
            self._require(condition=getattr(self, name) >= 1, name=name, expected="at least 1")
        self._require(condition=self.learning_rate > 0, name="learning_rate", expected="over 0")
        self._require(condition=0 < self.plateau_factor < 1, name="plateau_factor", expected="between 0 and 1")
        self._require(condition=self.copies >= 0, name="copies", expected="0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A named way to a model.

    Attributes:
        name: as in ``--recipe``.
        features: that the network sees, names of `sercli.config.FEATURE_NAMES`.
        network: which, and how large; of no account for a baseline.
        training: how; of a baseline only the copies count.
        baseline: name of a method of `sercli.training.baselines`, or empty for a network.
    """

    name: str
    features: tuple[str, ...]
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    baseline: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The recipe as a JSON-ready dict."""
        return {
            "name": self.name,
            "features": list(self.features),
            "network": self.network.to_dict(),
            "training": self.training.to_dict(),
            **({"baseline": self.baseline} if self.baseline else {}),
        }


def parse_recipe(values: Mapping[str, Any]) -> Recipe:
    """Reads what `Recipe.to_dict` gave.

    Raises:
        UsageError: if a value is not what it should be.
        KeyError: if a part is missing.
    """
    return Recipe(
        name=str(values["name"]),
        features=tuple(values["features"]),
        network=NetworkConfig.from_dict(values["network"]),
        training=TrainConfig.from_dict(values["training"]),
        baseline=str(values.get("baseline", "")),
    )


PAPER_FEATURES = ("mfcc", "delta", "delta2", "chroma", "logmel", "contrast", "tonnetz")

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        # Poongodai et al. 2025: Adam at 0.0002, early stopping, learning rate reduced on plateau.
        Recipe(name="paper", features=PAPER_FEATURES),
        # What the paper's network is compared with: its parts, and traditional methods, on the same features.
        *(
            Recipe(name=name, features=PAPER_FEATURES, network=NetworkConfig(name=name))
            for name in ("cnn", "lstm", "cnn-lstm")
        ),
        *(
            Recipe(name=name, features=PAPER_FEATURES, baseline=name)
            for name in ("svm", "forest", "knn", "mlp", "logistic")
        ),
    )
}
"""The recipes by name."""


def get_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UsageError: if there is none; the message lists those there are.
    """
    if name not in RECIPES:
        msg = f"unknown recipe {name!r}: expected one of {', '.join(RECIPES)}"
        raise UsageError(msg)
    return RECIPES[name]
