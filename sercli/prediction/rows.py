"""What prediction says of a recording: one row of the report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "no-speech", "failed"]
Value = str | float | None

DECIMALS = 6  # of every number in a report


def list_columns(labels: Sequence[str]) -> tuple[str, ...]:
    """Columns of the report of a model; the first three are those of an audformat segmented table."""
    probabilities = (f"p_{label}" for label in labels)
    before = ("file", "start", "end", "channel", "status", "emotion", "confidence")
    return (*before, *probabilities, "duration", "speech", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPrediction:
    """The emotion of one stretch of speech.

    Attributes:
        start: in seconds from the recording's beginning.
        end: likewise.
        speech: seconds of it that are speech; of overlapping windows, what the one before has not counted.
        emotion: the most probable label of the model, or `sercli.labels.UNCERTAIN`.
        confidence: calibrated probability of the most probable one, 0 to 1.
        probabilities: calibrated, of the model's labels in their order, summing to 1.
    """

    start: float
    end: float
    speech: float
    emotion: str
    confidence: float
    probabilities: tuple[float, ...]

    def to_row(self, labels: Sequence[str]) -> dict[str, Value]:
        """The values by name, numbers rounded; `labels` are those of the probabilities."""
        return {
            "start": round(self.start, DECIMALS),
            "end": round(self.end, DECIMALS),
            "emotion": self.emotion,
            "confidence": round(self.confidence, DECIMALS),
            **{f"p_{name}": round(p, DECIMALS) for name, p in zip(labels, self.probabilities, strict=True)},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What is known of one recording, or of one of its channels.

    Attributes:
        file: the recording, named as it was given.
        status: ``ok``; ``no-speech`` where nothing can be heard; ``failed`` where it could not be used.
        channel: which of its channels, counted from 1; ``mix`` is the mean of them all.
        emotion: the most probable label of the model, or `sercli.labels.UNCERTAIN`; empty unless `status` is ``ok``.
        confidence: calibrated probability of the most probable emotion, 0 to 1; None unless `status` is ``ok``.
        probabilities: calibrated, of the model's labels in their order, summing to 1; empty unless `status` is
            ``ok``.
        start: where the row begins in the recording, in seconds; None if `status` is ``failed``.
        end: where it ends, in seconds; None if `status` is ``failed``.
        duration: of the recording, in seconds; None if `status` is ``failed``.
        speech: seconds of it that are speech; None if `status` is ``failed``.
        error: why it failed, in one line; empty otherwise.
        warnings: reasons to doubt the answer, in a few words each, as `sercli.audio.quality` finds them.
        segments: the stretches of speech that the emotion was told from, in order.
        envelope: peak envelope as `sercli.audio.envelope` draws it; empty unless it was asked for.
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
    warnings: tuple[str, ...] = ()
    segments: tuple[SegmentPrediction, ...] = ()
    envelope: str = ""

    def to_row(self, labels: Sequence[str]) -> dict[str, Value]:
        """The values by column, in the order of `list_columns`; numbers rounded, None where there is nothing."""
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
            "; ".join(self.warnings) or None,
            self.error or None,
        )
        return {
            name: round(value, DECIMALS) if isinstance(value, float) else value
            for name, value in zip(list_columns(labels), values, strict=True)
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything, with all digits, JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Prediction":
        """Reads what `to_dict` gave.

        Raises:
            TypeError: if it is something else.
            KeyError: likewise.
        """
        segments = tuple(
            SegmentPrediction(**{**each, "probabilities": tuple(each["probabilities"])}) for each in values["segments"]
        )
        rest: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
        rest["segments"] = segments
        return cls(**rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingResult:
    """Everything a worker says of a recording.

    Attributes:
        sha256: of the file; empty if it could not be read.
        duration: in seconds; 0 if it could not be decoded.
        predictions: one row per channel that was scored, or the one that says what went wrong.
    """

    sha256: str
    duration: float
    predictions: tuple[Prediction, ...]

    @classmethod
    def failed(cls, name: str, error: str, sha256: str = "") -> "RecordingResult":
        """The result of a recording that could not be used.

        Args:
            name: of the recording, as the report calls it.
            error: why, in one line.
            sha256: of the file.
        """
        row = Prediction(file=name, status="failed", error=error)
        return cls(sha256=sha256, duration=0.0, predictions=(row,))

    def to_dict(self) -> dict[str, Any]:
        """Everything, JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RecordingResult":
        """Reads what `to_dict` returned.

        Raises:
            TypeError: if it is something else.
            KeyError: likewise.
            ValueError: likewise.
        """
        predictions = tuple(Prediction.from_dict(row) for row in values["predictions"])
        return cls(sha256=str(values["sha256"]), duration=float(values["duration"]), predictions=predictions)
