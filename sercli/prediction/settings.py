"""What decides the rows of a recording, beside the recording; quick to import, and sent to workers as JSON."""

from dataclasses import dataclass
from pathlib import Path

from sercli.config import Config
from sercli.errors import UsageError
from sercli.models.folder import DEFAULT_MODEL

CHANNEL_MODES = ("auto", "mix", "split")
DEVICES = ("auto", "cpu", "cuda", "mps")
MAX_WINDOW = 60.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringSettings(Config):
    """How recordings are scored.

    Attributes:
        model: model folder.
        channels: ``mix`` scores the mean of all channels, ``split`` each for itself; ``auto`` splits stereo whose
            sides differ, such as a call, and mixes the rest.
        window: length of fixed windows, in seconds, instead of the model's segmentation; 0 for the latter.
        hop: from one window to the next, in seconds.
        min_confidence: 0 to 1; an emotion with less is ``uncertain``.
        emotions: labels of the model that are kept; all if empty.
        device: where the network runs: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        timeout: seconds without a sign of life after which a recording is given up.
        envelope: draw the peak envelope of each row, for pages.
        overlap: run the network in a thread beside decoding and segmentation, where a CPU would be idle otherwise.
    """

    model: str = str(DEFAULT_MODEL)
    channels: str = "auto"
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
        if not condition:  # without the name of the class, since users gave the value
            msg = f"{name} should be {expected}, found {getattr(self, name)!r}"
            raise UsageError(msg)

    @property
    def folder(self) -> Path:
        """The model folder."""
        return Path(self.model)
