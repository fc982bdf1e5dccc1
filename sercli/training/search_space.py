"""Search space of `sercli tune`: parameters of a recipe and their values."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sercli.config import ParameterError
from sercli.errors import UsageError
from sercli.training.recipe_files import set_parameter
from sercli.training.recipes import PARTS, Recipe

if TYPE_CHECKING:
    import optuna

MAX_CHECKED = 10_000  # whole numbers per range to check
TUNABLE = ("network", "training", "augmentation")  # tables of a recipe

Space = Mapping[str, Any]
"""Lists of choices, or tables with ``low``, ``high``, ``log`` and ``step``, by name, such as ``training.muon``."""


def make_space(recipe: Recipe) -> Space:
    """Returns the default search space: filters, attention, dropout and learning rate, as in Poongodai et al. 2025."""
    network, rate = recipe.network, recipe.training.learning_rate
    widths = [[max(4, round(factor * size)) for size in network.channels] for factor in (0.5, 0.75, 1, 1.5)]
    return {
        "network.channels": widths,
        "network.kernel_size": [3, 5, 7],
        "network.attention_size": {"low": 16, "high": 128, "step": 16},
        "network.dropout": {"low": 0.0, "high": 0.5},
        "network.dense_dropout": {"low": 0.0, "high": 0.6},
        "training.learning_rate": {"low": rate / 4, "high": rate * 4, "log": True},
    }


def check_space(recipe: Recipe, space: Space, locate: Callable[[str], str] = lambda _: "") -> None:
    """Checks that every choice, both ends of every range and all of its whole numbers make a valid recipe.

    Args:
        recipe: Recipe to tune.
        space: Search space.
        locate: Returns file and line of a parameter such as ``tune.training.muon``, for messages.

    Raises:
        UsageError: If one does not; the message names the parameter and the valid values.
    """
    for name, choices in space.items():
        where = f"{locate(f'tune.{name}')}tune, {name}"
        if name.split(".")[0] not in TUNABLE or name.count(".") != 1:
            msg = f"{where}: expected a parameter of {', '.join(TUNABLE)}, such as training.learning_rate"
            raise UsageError(msg)
        if isinstance(choices, Mapping):
            values: Sequence[Any] = _check_range(where, choices, whole=_is_whole(name))
        elif isinstance(choices, list) and len(choices) > 1:
            values = choices
        else:
            msg = f"{where}: expected a list of at least 2 choices, or a table with low and high, found {choices!r}"
            raise UsageError(msg)
        for value in values:
            try:
                Recipe.from_dict(set_parameter(recipe.to_dict(), name, value))
            except ParameterError as reason:
                msg = f"{where}: {reason.name} {reason.problem}"
                raise UsageError(msg) from None


def _is_whole(name: str) -> bool:
    """Whether a parameter is a whole number."""
    table, key = name.split(".")
    return type(getattr(PARTS[table](), key, None)) is int


def _check_range(where: str, table: Mapping[str, Any], *, whole: bool) -> Sequence[float]:
    unknown = sorted(set(table) - {"low", "high", "log", "step"})
    low, high, step = table.get("low"), table.get("high"), table.get("step", 1)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (low, high, step))
    log = table.get("log", False)
    if unknown or not numbers or not isinstance(log, bool):
        msg = f"{where}: expected the numbers low and high, and optionally log = true or step, found {dict(table)!r}"
        raise UsageError(msg)
    assert low is not None  # noqa: S101 - they are numbers
    assert high is not None  # noqa: S101
    if not low < high or step <= 0 or (log and (low <= 0 or "step" in table)):
        msg = f"{where}: expected low < high and step > 0; with log, low > 0 and no step"
        raise UsageError(msg)
    if not whole:
        return [low, high]
    if not (isinstance(low, int) and isinstance(high, int) and isinstance(step, int)):
        msg = f"{where}: expected whole numbers, found {dict(table)!r}"
        raise UsageError(msg)
    return range(low, high + 1, step)[:MAX_CHECKED]


def find_current_values(recipe: Recipe, space: Space) -> dict[str, Any] | None:
    """Returns the recipe's own values for Optuna; None if one is outside the search space."""
    values = {}
    parameters = recipe.to_dict()
    for name, choices in space.items():
        table, key = name.split(".")
        value = parameters[table][key]
        if isinstance(choices, Mapping):
            steps = (value - choices["low"]) / choices["step"] if "step" in choices else 0
            if not choices["low"] <= value <= choices["high"] or not math.isclose(steps, round(steps), abs_tol=1e-6):
                return None
            values[name] = value
        elif value not in choices:
            return None
        else:
            values[name] = json.dumps(value)
    return values


def suggest(trial: "optuna.Trial", name: str, choices: Any) -> Any:
    """Suggests a value of a parameter for a trial."""
    if isinstance(choices, Mapping):
        low, high, log = choices["low"], choices["high"], choices.get("log", False)
        if _is_whole(name):
            return trial.suggest_int(name, low, high, log=log, step=choices.get("step", 1))
        return trial.suggest_float(name, low, high, log=log, step=choices.get("step"))
    return json.loads(trial.suggest_categorical(name, [json.dumps(choice) for choice in choices]))
