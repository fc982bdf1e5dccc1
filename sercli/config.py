"""Base class of parameter sets: frozen, validated, JSON-ready, with a fingerprint."""

import dataclasses
import difflib
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar, get_args, get_origin

from sercli.errors import UsageError

AUTO, MIX, SPLIT = CHANNEL_MODES = ("auto", "mix", "split")
"""How the channels of a recording are scored."""

MAX_SEED = 2**31 - 1
"""Largest random seed. scikit-learn takes 32 bits, and evaluations and searches count on from it."""

T = TypeVar("T")


class ParameterError(UsageError):
    """Unknown parameter or invalid value.

    Args:
        owner: Name of the parameter set.
        name: Name of the parameter; empty for the set itself.
        problem: Rest of the sentence that begins with the parameter.
    """

    def __init__(self, owner: str, name: str, problem: str) -> None:
        super().__init__(f"{owner}.{name} {problem}" if name else f"{owner} {problem}")
        self.name, self.problem = name, problem


def look_up(kind: str, name: str, known: Mapping[str, T]) -> T:
    """Looks up a name that a user gave.

    Args:
        kind: Kind of thing, for the message.
        name: Name to look up.
        known: Things by name.

    Raises:
        UsageError: If the name is unknown; the message lists the known ones.
    """
    if name not in known:
        msg = f"unknown {kind} {name!r}: expected one of {', '.join(known)}"
        raise UsageError(msg)
    return known[name]


def describe_unknown(name: str, known: Iterable[str]) -> str:
    """Returns the rest of a sentence about an unknown parameter, with the closest known one."""
    return f"is not a parameter: {_suggest(name, known)}expected one of {', '.join(sorted(known))}"


def _suggest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}? " if near else ""


def check_names(function: str, names: Iterable[str], options: type) -> None:
    """Refuses keyword arguments that are not among a function's options.

    Args:
        function: Name of the function, for the message.
        names: Names of the given arguments.
        options: Typed dict of the options.

    Raises:
        TypeError: If there is such an argument; the message names the closest option.
    """
    for name in names:
        if name not in options.__annotations__:
            hint = _suggest(name, options.__annotations__)
            msg = f"{function}() got an unexpected keyword argument {name!r}; {hint}".rstrip("; ")
            raise TypeError(msg)


def check_seed(seed: int) -> None:
    """Checks that a random seed is 0 to `MAX_SEED`.

    Raises:
        UsageError: If it is not.
    """
    if not 0 <= seed <= MAX_SEED:
        msg = f"expected a seed of 0 to {MAX_SEED}, found {seed}"
        raise UsageError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Base of all parameter sets: equality by value, to and from JSON."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the parameters as a JSON-ready dict, whole numbers of float parameters as floats."""
        return {field.name: _to_json(getattr(self, field.name), field.type) for field in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Builds the parameters from a dict returned by `to_dict`.

        Raises:
            ParameterError: If a name is unknown or a value has the wrong type.
        """
        if not isinstance(values, Mapping):
            raise ParameterError(cls.__name__, "", f"should be a table of parameters, found {type(values).__name__}")
        known = {field.name for field in dataclasses.fields(cls)}
        for name in sorted(set(values) - known):
            raise ParameterError(cls.__name__, name, describe_unknown(name, known))
        for field in dataclasses.fields(cls):
            if field.name in values and not _fits(values[field.name], field.type):
                kind = _name_type(field.type)
                problem = f"should be {kind}, found {json.dumps(values[field.name], default=str)[:80]}"
                raise ParameterError(cls.__name__, field.name, problem)
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})

    def fingerprint(self) -> str:
        """Returns 12 hex digits, equal for equal parameters on every machine."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def _require(self, *, condition: bool, name: str, expected: str) -> None:
        if not condition:
            raise ParameterError(type(self).__name__, name, f"should be {expected}, found {getattr(self, name)!r}")


def _to_json(value: Any, kind: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return float(value) if kind is float else value


def _name_type(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return "a list of whole numbers" if get_args(kind)[0] is int else "a list"
    names = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}
    return names.get(kind, f"of type {getattr(kind, '__name__', kind)}")


def _fits(value: object, kind: Any) -> bool:
    """Whether a value from JSON or TOML has a field's type; bools don't count as numbers, ints count as floats."""
    if get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(_fits(item, get_args(kind)[0]) for item in value)
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max
    return isinstance(value, kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioConfig(Config):
    """Preprocessing parameters: from a recording to the signal that features are computed from.

    Attributes:
        sample_rate: Sample rate of the signal (Hz).
        trim_db: Level below the loudest frame at which frames at either end are trimmed (dB).
        level_db: RMS level after scaling (dB relative to full scale).
        denoise: Whether to reduce stationary noise by spectral gating (noisereduce).
    """

    sample_rate: int = 16_000
    trim_db: float = 40.0
    level_db: float = -20.0
    denoise: bool = False

    def __post_init__(self) -> None:
        self._require(condition=4_000 <= self.sample_rate <= 192_000, name="sample_rate", expected="4000 to 192000 Hz")
        self._require(condition=0 < self.trim_db <= 120, name="trim_db", expected="over 0, up to 120 dB")
        self._require(condition=-80 <= self.level_db <= 0, name="level_db", expected="-80 to 0 dB")
