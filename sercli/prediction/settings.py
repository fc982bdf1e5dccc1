"""Scoring settings: all that determines a recording's rows besides the recording; quick to import, JSON-ready."""

from dataclasses import dataclass
from pathlib import Path

from sercli.config import AUTO, CHANNEL_MODES, Config
from sercli.errors import UsageError
from sercli.models.folder import DEFAULT_MODEL

DEVICES = ("auto", "cpu", "cuda", "mps")
MAX_WINDOW = 60.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringSettings(Config):
    """Settings for scoring recordings.

    Attributes:
        model: Model folder.
        channels: ``mix`` averages all channels, ``split`` scores each; ``auto`` splits stereo files whose sides differ,
            such as calls, and mixes the rest.
        window: Length of fixed windows instead of the model's segmentation (s); 0 for the latter.
        hop: Distance between window starts (s).
        min_confidence: Confidence below which an emotion is ``uncertain``, 0 to 1.
        emotions: Labels of the model to keep; all if empty.
        device: Where the network runs: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        timeout: Seconds without a heartbeat after which a recording fails.
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
        self._require(condition=self.timeout > 0, name="timeout", expected="more than 0 s")

    def _require(self, *, condition: bool, name: str, expected: str) -> None:
        if not condition:  # without the class name, since users gave the value
            msg = f"{name} should be {expected}, found {getattr(self, name)!r}"
            raise UsageError(msg)

    @property
    def folder(self) -> Path:
        """Returns the model folder."""
        return Path(self.model)
