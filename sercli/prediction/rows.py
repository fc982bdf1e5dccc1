"""What prediction says of a recording: one row of the report."""

from dataclasses import dataclass
from typing import Literal

from sercli.labels import EMOTIONS

Status = Literal["ok", "no-speech", "failed"]
Value = str | float | None

COLUMNS: tuple[str, ...] = (
    "file",
    "start",
    "end",
    "channel",
    "status",
    "emotion",
    "confidence",
    *(f"p_{emotion}" for emotion in EMOTIONS),
    "duration",
    "speech",
    "error",
)
"""Of a report, in order; the first three are those of an audformat segmented table."""

DECIMALS = 6  # of every number in a report


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What is known of one recording.

    Attributes:
        file: the recording, named as it was given.
        status: ``ok``; ``no-speech`` where nothing can be heard; ``failed`` where it could not be used.
        channel: which of its channels; ``mix`` is the mean of them all.
        emotion: the most probable of `sercli.labels.EMOTIONS`; empty unless `status` is ``ok``.
        confidence: calibrated probability of `emotion`, 0 to 1; None unless `status` is ``ok``.
        probabilities: calibrated, of the eight emotions in the order of `sercli.labels.EMOTIONS`, summing to
            1; empty unless `status` is ``ok``.
        start: where the row begins in the recording, in seconds; None if `status` is ``failed``.
        end: where it ends, in seconds; None if `status` is ``failed``.
        duration: of the recording, in seconds; None if `status` is ``failed``.
        speech: seconds of it that are sound; None if `status` is ``failed``.
        error: why it failed, in one line; empty otherwise.
    """

    file: str
    status: Status
    channel: str = "mix"
    emotion: str = ""
    confidence: float | None = None
    probabilities: tuple[float, ...] = ()
    start: float | None = None
    end: float | None = None
    duration: float | None = None
    speech: float | None = None
    error: str = ""

    def to_row(self) -> dict[str, Value]:
        """The values by column, in the order of `COLUMNS`; numbers rounded, None where there is nothing."""
        probabilities = self.probabilities or (None,) * len(EMOTIONS)
        values: tuple[Value, ...] = (
            self.file,
            self.start,
            self.end,
            self.channel,
            self.status,
            self.emotion or None,
            self.confidence,
            *probabilities,
            self.duration,
            self.speech,
            self.error or None,
        )
        return {
            name: round(value, DECIMALS) if isinstance(value, float) else value
            for name, value in zip(COLUMNS, values, strict=True)
        }
