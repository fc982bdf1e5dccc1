"""Segments of a recording that the network scores (interface only for the moment)."""

from dataclasses import dataclass

from sercli.config import Config

SPEECH, WINDOWS = METHODS = ("speech", "windows")


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationConfig(Config):
    """How a recording is cut into segments; part of a model and of a feature store.

    Attributes:
        method: ``speech`` cuts at pauses, ``windows`` takes fixed windows.
        max_whole: a recording up to this long is one segment, in seconds; 0 to 60. Ignored for ``windows``.
        max_segment: longest segment, or length of a window, in seconds; 0.1 to 60.
        hop: from one window to the next, in seconds; ignored for ``speech``.
    """

    method: str = SPEECH
    max_whole: float = 8.0
    max_segment: float = 6.0
    hop: float = 6.0

    def __post_init__(self) -> None:
        self._require(condition=self.method in METHODS, name="method", expected=f"one of {', '.join(METHODS)}")
        self._require(condition=0 <= self.max_whole <= 60, name="max_whole", expected="0 to 60 s")
        self._require(condition=0.1 <= self.max_segment <= 60, name="max_segment", expected="0.1 to 60 s")
        self._require(condition=0.01 <= self.hop <= self.max_segment, name="hop", expected="0.01 s to max_segment")
