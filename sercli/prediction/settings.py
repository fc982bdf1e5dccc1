"""Scoring settings: all that determines a recording's rows besides the recording; quick to import, JSON-ready."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

from sercli.config import AUTO, CHANNEL_MODES, Config
from sercli.errors import UsageError
from sercli.labels import require_list
from sercli.models.folder import DEFAULT_MODEL

DEVICES = ("auto", "cpu", "cuda", "mps")
MAX_WINDOW = 60.0  # seconds
DEFAULT_WINDOW = 6.0  # seconds; without voice activity detection
MAX_EMBEDDED = 25 * 10**6  # bytes of audio in a page; browsers become slow beyond
EXPLANATION_SUFFIXES = (".png", ".svg", ".html", ".json")
"""Formats of explanations; here because help lists them without loading what draws them."""


class ScoringOptions(TypedDict, total=False):
    """How recordings are scored: keyword arguments of `Predictor` and `predict_folder`.

    Attributes:
        channels: ``mix`` averages all channels, ``split`` scores each; ``auto``, the default, splits stereo files
            whose sides differ, such as calls, and mixes the rest.
        window: Length of fixed windows instead of segments split at pauses (s), 0.1 to 60; None for segments.
        hop: Distance between window starts (s); None for the window length.
        min_confidence: Confidence below which an emotion is ``uncertain``, 0 to 1; 0 by default.
        emotions: Labels of the model to keep, whose probabilities then sum to 1; all if empty.
        device: Where the network runs: ``auto``, ``cpu``, ``cuda`` or ``mps``. All but ``cpu`` need another build of
            ONNX Runtime, such as onnxruntime-gpu; ``auto``, the default, uses it if installed.
        timeout: Seconds without a heartbeat after which a recording fails; 120 by default.
    """

    channels: str
    window: float | None
    hop: float | None
    min_confidence: float
    emotions: Sequence[str]
    device: str
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringSettings(Config):
    """Settings for scoring recordings.

    Attributes without a description are those of `ScoringOptions`, filled in.

    Attributes:
        model: Model folder.
        window: Length of fixed windows (s); 0 for the model's segmentation.
        hop: Distance between window starts (s); 0 without windows.
        envelope: Whether to compute the peak envelope of each row, for pages.
        overlap: Whether to run the network in a thread during decoding and segmentation, to use an idle CPU.
    """

    model: str = str(DEFAULT_MODEL)
    channels: str = AUTO
    window: float = 0.0
    hop: float = 0.0
    min_confidence: float = 0.0
    emotions: tuple[str, ...] = ()
    device: str = "auto"
    timeout: float = 120.0
    envelope: bool = False
    overlap: bool = False

    def __post_init__(self) -> None:
        modes = ", ".join(CHANNEL_MODES)
        self._require(condition=self.channels in CHANNEL_MODES, name="channels", expected=f"one of {modes}")
        self._require(
            condition=self.window == 0 or 0.1 <= self.window <= MAX_WINDOW, name="window", expected="0.1 to 60 s, or 0"
        )
        self._require(
            condition=self.window == 0 or 0.01 <= self.hop <= self.window, name="hop", expected="0.01 s to the window"
        )
        self._require(condition=self.device in DEVICES, name="device", expected=f"one of {', '.join(DEVICES)}")
        self._require(condition=0 <= self.min_confidence <= 1, name="min_confidence", expected="0 to 1")
        self._require(condition=0 < self.timeout < math.inf, name="timeout", expected="over 0 s, and finite")

    def _require(self, *, condition: bool, name: str, expected: str) -> None:
        if not condition:  # without the class name, since users gave the value
            msg = f"{name} should be {expected}, found {getattr(self, name)!r}"
            raise UsageError(msg)

    @classmethod
    def choose(
        cls, model: Path | str | None = None, *, envelope: bool = False, **options: Unpack[ScoringOptions]
    ) -> Self:
        """Makes settings from options; those that are left out or None get their defaults.

        Args:
            model: Model folder; None for the model included in the package.
            envelope: Whether to compute the peak envelope of each row.
            **options: Options to fill in.

        Raises:
            UsageError: If a value is out of range, `hop` is given without `window` or is longer, or `emotions` is text.
        """
        require_list("emotions", options.get("emotions"))
        window, hop = options.get("window"), options.get("hop")
        if window is None and hop is not None:
            msg = "--hop requires fixed windows: also give --window or --vad off"
            raise UsageError(msg)
        if window is not None and hop is not None and hop > window:
            msg = f"--hop {hop:g} would leave gaps between windows of {window:g} s: it must not exceed --window"
            raise UsageError(msg)
        defaults = cls()
        values: dict[str, Any] = {
            name: type(getattr(defaults, name))(value) for name, value in options.items() if value is not None
        }
        values["hop"] = values.get("hop") or values.get("window", 0.0)
        return cls(model=str(DEFAULT_MODEL if model is None else model), envelope=envelope, **values)

    @property
    def folder(self) -> Path:
        """Returns the model folder."""
        return Path(self.model)
