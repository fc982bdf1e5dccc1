"""Parameters that travel between the steps: frozen, checked, JSON in and out, with a fingerprint."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar, get_args, get_origin

from sercli.errors import UsageError

T = TypeVar("T")

FEATURE_NAMES: tuple[str, ...] = (
    "mfcc",
    "delta",
    "delta2",
    "chroma",
    "logmel",
    "contrast",
    "tonnetz",
    "rms",
    "zcr",
)
"""Every feature of the front end, in the order of its rows."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConfig(Config):
    """What the front end computes; names and meanings are librosa's.

    Attributes:
        sample_rate: of the signal, in Hz.
        n_fft: length of the Hann window and of the transform, in samples.
        hop_length: between frames, in samples.
        n_mels: bands of the log-mel spectrogram, which the MFCC are made from.
        fmin: lowest frequency of the mel bands, in Hz.
        fmax: highest frequency of the mel bands, in Hz.
        n_mfcc: cepstral coefficients.
        n_chroma: pitch classes.
        delta_width: frames that the derivative filters span; odd.
        names: the features wanted, a subset of `FEATURE_NAMES` in its order.
    """

    sample_rate: int = 16_000
    n_fft: int = 1_024
    hop_length: int = 256
    n_mels: int = 128
    fmin: float = 40.0
    fmax: float = 8_000.0
    n_mfcc: int = 40
    n_chroma: int = 12
    delta_width: int = 9
    names: tuple[str, ...] = FEATURE_NAMES

    def __post_init__(self) -> None:
        unknown = [name for name in self.names if name not in FEATURE_NAMES]
        if unknown:
            msg = f"unknown feature {unknown[0]!r}: expected some of {', '.join(FEATURE_NAMES)}"
            raise UsageError(msg)
        ordered = tuple(name for name in FEATURE_NAMES if name in self.names)
        self._require(
            condition=bool(self.names) and ordered == self.names,
            name="names",
            expected=f"some of {', '.join(FEATURE_NAMES)}, each once and in this order",
        )
        self._require(condition=64 <= self.n_fft <= 65_536, name="n_fft", expected="64 to 65536 samples")
        self._require(condition=1 <= self.n_mels <= 512, name="n_mels", expected="1 to 512")
        self._require(condition=1 <= self.n_chroma <= 48, name="n_chroma", expected="1 to 48")
        self._require(condition=0 < self.hop_length <= self.n_fft, name="hop_length", expected="1 to n_fft samples")
        self._require(
            condition=0 <= self.fmin < self.fmax <= self.sample_rate / 2,
            name="fmax",
            expected="over fmin and at most half the sample rate",
        )
        self._require(condition=1 <= self.n_mfcc <= self.n_mels, name="n_mfcc", expected="1 to n_mels")
        self._require(
            condition=3 <= self.delta_width < 100 and self.delta_width % 2 == 1,
            name="delta_width",
            expected="an odd number of 3 to 99 frames",
        )

    @property
    def sizes(self) -> dict[str, int]:
        """Rows of each wanted feature, in order."""
        rows = {
            "mfcc": self.n_mfcc,
            "delta": self.n_mfcc,
            "delta2": self.n_mfcc,
            "chroma": self.n_chroma,
            "logmel": self.n_mels,
            "contrast": 7,
            "tonnetz": 6,
            "rms": 1,
            "zcr": 1,
        }
        return {name: rows[name] for name in self.names}

    @property
    def n_features(self) -> int:
        """Rows of the feature matrix."""
        return sum(self.sizes.values())

    def select(self, names: tuple[str, ...]) -> "FeatureConfig":
        """The same parameters with these features only.

        Raises:
            UsageError: if a name is not among this configuration's features.
        """
        self.rows(names)
        return dataclasses.replace(self, names=names)

    def rows(self, names: tuple[str, ...]) -> list[int]:
        """Row numbers that the named features take in this configuration's matrix.

        Raises:
            UsageError: if a name is not among this configuration's features.
        """
        start, spans = 0, {}
        for name, size in self.sizes.items():
            spans[name] = range(start, start + size)
            start += size
        missing = [name for name in names if name not in spans]
        if missing:
            msg = f"feature {missing[0]!r} is not in the store: it holds {', '.join(self.names)}"
            raise UsageError(msg)
        return [row for name in names for row in spans[name]]
