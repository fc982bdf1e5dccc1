"""Results of prediction: rows of the report and their segments."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sercli.config import MIX

Status = Literal["ok", "no-speech", "failed"]
Value = str | float | None

DECIMALS = 6  # decimals of every number in a report
UNLIKE = "unlike the training data"  # the warning


def list_columns(labels: Sequence[str]) -> tuple[str, ...]:
    """Lists the columns of a report; the first three are those of an audformat segmented table."""
    probabilities = (f"p_{label}" for label in labels)
    before = ("file", "start", "end", "channel", "status", "emotion", "confidence")
    return (*before, *probabilities, "duration", "speech", "typicality", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPrediction:
    """The emotion of one segment.

    Attributes:
        start: Start, from the beginning of the recording (s).
        end: End, from the beginning of the recording (s).
        speech: Speech in the segment (s); for overlapping windows, only what earlier windows did not count.
        emotion: Most probable label, or `sercli.labels.UNCERTAIN`.
        confidence: Calibrated probability of the most probable label, 0 to 1.
        probabilities: Calibrated probabilities of the labels, in order, summing to 1.
    """

    start: float
    end: float
    speech: float
    emotion: str
    confidence: float
    probabilities: tuple[float, ...]

    def to_row(self, labels: Sequence[str]) -> dict[str, Value]:
        """Returns the values by name, with rounded numbers; `labels` are those of the probabilities."""
        return {
            "start": round(self.start, DECIMALS),
            "end": round(self.end, DECIMALS),
            "emotion": self.emotion,
            "confidence": round(self.confidence, DECIMALS),
            **{f"p_{name}": round(p, DECIMALS) for name, p in zip(labels, self.probabilities, strict=True)},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Result of one recording or one of its channels: a row of the report.

    Attributes:
        file: Name of the recording, as given.
        status: ``ok``, ``no-speech`` without detected speech, or ``failed``.
        channel: Number of the channel, from 1, or ``mix`` for the mean of all.
        emotion: Most probable label, or `sercli.labels.UNCERTAIN`; empty unless `status` is ``ok``.
        confidence: Calibrated probability of the most probable label, 0 to 1; None unless `status` is ``ok``.
        probabilities: Calibrated probabilities of the labels, in order, summing to 1; empty unless `status` is ``ok``.
        start: Start of the row in the recording (s); None if `status` is ``failed``.
        end: End of the row in the recording (s); None if `status` is ``failed``.
        duration: Duration of the recording (s); None if `status` is ``failed``.
        speech: Speech (s); None if `status` is ``failed``.
        typicality: Share of the model's development utterances that are at least as unlike its training data, 0 to 1;
            None unless `status` is ``ok`` and the model measures it.
        error: Reason of a failure, in one line; else empty.
        warnings: Reasons to doubt the result, as short phrases, from `sercli.audio.quality` and the typicality.
        segments: Segments that were scored, in order.
        envelope: Peak envelope, from `sercli.audio.envelope`; empty unless requested.
    """

    file: str
    status: Status
    channel: str = MIX
    emotion: str = ""
    confidence: float | None = None
    probabilities: tuple[float, ...] = ()
    start: float | None = None
    end: float | None = None
    duration: float | None = None
    speech: float | None = None
    typicality: float | None = None
    error: str = ""
    warnings: tuple[str, ...] = ()
    segments: tuple[SegmentPrediction, ...] = ()
    envelope: str = ""

    def to_row(self, labels: Sequence[str]) -> dict[str, Value]:
        """Returns the values by column, in the order of `list_columns`; numbers are rounded, missing values None."""
        probabilities = self.probabilities or (None,) * len(labels)
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
            self.typicality,
            "; ".join(self.warnings) or None,
            self.error or None,
        )
        return {
            name: round(value, DECIMALS) if isinstance(value, float) else value
            for name, value in zip(list_columns(labels), values, strict=True)
        }

    def to_dict(self) -> dict[str, Any]:
        """Returns all values with all digits, JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Prediction":
        """Reads a dict returned by `to_dict`.

        Raises:
            TypeError: If a value has the wrong type.
            KeyError: If a value is missing.
        """
        segments = tuple(
            SegmentPrediction(**{**row, "probabilities": tuple(row["probabilities"])}) for row in values["segments"]
        )
        rest: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
        rest["segments"] = segments
        return cls(**rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingResult:
    """Result of a recording, as sent by a worker.

    Attributes:
        sha256: Hash of the file; empty if it could not be read.
        duration: Duration (s); 0 if the recording could not be decoded.
        predictions: One row per scored channel, or one row with the reason of a failure.
    """

    sha256: str
    duration: float
    predictions: tuple[Prediction, ...]

    @classmethod
    def failed(cls, name: str, error: str, sha256: str = "") -> "RecordingResult":
        """Makes the result of a recording that failed.

        Args:
            name: Name of the recording in the report.
            error: Reason, in one line.
            sha256: Hash of the file.
        """
        row = Prediction(file=name, status="failed", error=error)
        return cls(sha256=sha256, duration=0.0, predictions=(row,))

    def to_dict(self) -> dict[str, Any]:
        """Returns all values, JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RecordingResult":
        """Reads a dict returned by `to_dict`.

        Raises:
            TypeError: If a value has the wrong type.
            KeyError: If a value is missing.
            ValueError: If a value is invalid.
        """
        predictions = tuple(Prediction.from_dict(row) for row in values["predictions"])
        return cls(sha256=str(values["sha256"]), duration=float(values["duration"]), predictions=predictions)
