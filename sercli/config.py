"""Parameters that travel between the steps: frozen, checked, JSON in and out, with a fingerprint."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar, get_args, get_origin

from sercli.errors import UsageError

T = TypeVar("T")


def look_up(kind: str, name: str, known: Mapping[str, T]) -> T:
    """What a name stands for.

    Args:
        kind: of thing, for the message.
        name: as a user gave it.
        known: things by name.

    Raises:
        UsageError: if there is none; the message lists those there are.
    """
    if name not in known:
        msg = f"unknown {kind} {name!r}: expected one of {', '.join(known)}"
        raise UsageError(msg)
    return known[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Base of all parameter sets: equality by value, JSON in and out."""

    def to_dict(self) -> dict[str, Any]:
        """The parameters as a JSON-ready dict."""
        return {
            field.name: list(value) if isinstance(value := getattr(self, field.name), tuple) else value
            for field in dataclasses.fields(self)
        }

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Builds the parameters from a dict as `to_dict` gives it.

        Raises:
            UsageError: if a name is unknown or a value is of the wrong kind.
        """
        if not isinstance(values, Mapping):
            msg = f"{cls.__name__} should be an object of parameters, found {type(values).__name__}"
            raise UsageError(msg)
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            msg = f"{cls.__name__} has no parameter {unknown[0]!r}: expected some of {', '.join(sorted(known))}"
            raise UsageError(msg)
        for field in dataclasses.fields(cls):
            if field.name in values and not _fits(values[field.name], field.type):
                kind = getattr(field.type, "__name__", field.type)
                msg = f"{cls.__name__}.{field.name} should be of type {kind}, found {repr(values[field.name])[:80]}"
                raise UsageError(msg)
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})

    def fingerprint(self) -> str:
        """Twelve hex digits that are equal for equal parameters on every machine."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def _require(self, *, condition: bool, name: str, expected: str) -> None:
        if not condition:
            msg = f"{type(self).__name__}.{name} should be {expected}, found {getattr(self, name)!r}"
            raise UsageError(msg)


def _fits(value: object, kind: Any) -> bool:
    """Whether what JSON gave is of a field's type: truth values are no numbers, whole numbers are."""
    if get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(_fits(each, get_args(kind)[0]) for each in value)
    return isinstance(value, int | float if kind is float else kind) and isinstance(value, bool) == (kind is bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioConfig(Config):
    """How a recording becomes the signal that features are computed from.

    Attributes:
        sample_rate: of the signal, in Hz.
        trim_db: frames more than this many dB under the loudest count as silence at either end.
        level_db: RMS level the signal is scaled to, in dB relative to full scale.
        denoise: reduce stationary noise by spectral gating (the library noisereduce).
    """

    sample_rate: int = 16_000
    trim_db: float = 40.0
    level_db: float = -20.0
    denoise: bool = False

    def __post_init__(self) -> None:
        self._require(condition=4_000 <= self.sample_rate <= 192_000, name="sample_rate", expected="4000 to 192000 Hz")
        self._require(condition=0 < self.trim_db <= 120, name="trim_db", expected="over 0, up to 120 dB")
        self._require(condition=-80 <= self.level_db <= 0, name="level_db", expected="-80 to 0 dB")
