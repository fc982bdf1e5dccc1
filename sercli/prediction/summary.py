"""Run summary."""

import bisect
import re
from collections import Counter, defaultdict
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sercli.labels import UNCERTAIN
from sercli.prediction.report import encodable
from sercli.prediction.rows import UNLIKE, Prediction

MOST_NEGATIVE = 10  # recordings that are listed

_NUMBER = re.compile(r"\d[\d.]*")


@dataclass(slots=True)
class Share:
    """Share of one emotion in a run.

    Attributes:
        rows: Rows with this emotion.
        speech: Speech in segments with this emotion (s).
        confidence: Sum of the rows' confidences.
    """

    rows: int = 0
    speech: float = 0.0
    confidence: float = 0.0

    @property
    def mean_confidence(self) -> float | None:
        """Mean confidence of the rows, 0 to 1; None if there are none."""
        return self.confidence / self.rows if self.rows else None


def share_of_speech(shares: Mapping[str, Share]) -> dict[str, float]:
    """Returns each emotion's share of the speech, 0 to 1; all 0 if there is no speech."""
    total = sum(share.speech for share in shares.values())
    return {emotion: share.speech / total if total else 0.0 for emotion, share in shares.items()}


@dataclass(slots=True)
class BatchSummary:
    """Accumulates the run summary row by row.

    Attributes:
        labels: Labels of the model's probabilities.
        negative: Labels whose summed probability ranks recordings as negative.
        keep: Names of recordings whose rows are kept.
        unread: Number of files in unsupported formats, by suffix.
        recordings: Number of recordings.
        rows: Number of rows in the report.
        silent: Number of rows without speech.
        duration: Total duration of the decoded recordings (s).
        emotions: Share of each emotion, by channel.
        failures: Name and reason of each failed recording.
        warnings: Number of rows with each kind of warning.
        kept: Rows of the recordings in `keep`.
    """

    labels: tuple[str, ...]
    negative: tuple[str, ...] = ()
    keep: Container[str] = ()
    unread: Counter[str] = field(default_factory=Counter)
    recordings: int = 0
    rows: int = 0
    silent: int = 0
    duration: float = 0.0
    emotions: dict[str, dict[str, Share]] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)
    warnings: Counter[str] = field(default_factory=Counter)
    kept: list[Prediction] = field(default_factory=list)
    _negative: list[tuple[float, str, str]] = field(default_factory=list)

    @property
    def answered(self) -> int:
        """Returns the number of rows with an emotion, uncertain ones included."""
        return sum(share.rows for shares in self.emotions.values() for share in shares.values())

    @property
    def note(self) -> str:
        """Warning if most results are for audio unlike the training data; else empty."""
        unlike, answered = self.warnings[UNLIKE], self.answered
        if 2 * unlike <= answered:
            return ""
        return (
            f"Check the results: {unlike} of {answered} {'is' if unlike == 1 else 'are'} of audio unlike the training "
            "data, such as computer voices, music, noise, or an unusual microphone or telephone line."
        )

    @property
    def most_negative(self) -> list[tuple[float, str, str]]:
        """Returns the rows most likely negative, in order: probability, file and channel."""
        return [(-least, name, channel) for least, name, channel in self._negative]

    def add_recording(self, predictions: tuple[Prediction, ...]) -> None:
        """Adds the rows of one recording."""
        self.recordings += 1
        self.duration += predictions[0].duration or 0.0
        for prediction in predictions:
            self._add(prediction)

    def _add(self, prediction: Prediction) -> None:
        self.rows += 1
        if prediction.file in self.keep:
            self.kept.append(replace(prediction, segments=()))
        for warning in prediction.warnings:
            self.warnings[name_kind(warning)] += 1
        if prediction.status == "failed":
            self.failures.append((prediction.file, prediction.error))
        elif prediction.status == "no-speech":
            self.silent += 1
        else:
            self._add_emotions(prediction)

    def _add_emotions(self, prediction: Prediction) -> None:
        shares = self.emotions.setdefault(prediction.channel, defaultdict(Share))
        shares[prediction.emotion].rows += 1
        shares[prediction.emotion].confidence += prediction.confidence or 0.0
        for segment in prediction.segments:
            shares[segment.emotion].speech += segment.speech
        if self.negative:
            negative = sum(prediction.probabilities[self.labels.index(name)] for name in self.negative)
            bisect.insort(self._negative, (-negative, prediction.file, prediction.channel))
            del self._negative[MOST_NEGATIVE:]

    def total(self) -> dict[str, Share]:
        """Returns the share of each emotion over all channels, the most frequent first."""
        totals: defaultdict[str, Share] = defaultdict(Share)
        for shares in self.emotions.values():
            for emotion, share in shares.items():
                totals[emotion].rows += share.rows
                totals[emotion].speech += share.speech
                totals[emotion].confidence += share.confidence
        order = sorted(totals, key=lambda emotion: (-totals[emotion].speech, (*self.labels, UNCERTAIN).index(emotion)))
        return {emotion: totals[emotion] for emotion in order}

    def reasons(self) -> Counter[str]:
        """Counts failures by kind of reason."""
        return Counter(name_kind(reason) for _, reason in self.failures)

    def to_dict(self) -> dict[str, Any]:
        """Returns a JSON-ready dict."""
        return {
            "recordings": self.recordings,
            "rows": self.rows,
            "ok": self.answered,
            "no_speech": self.silent,
            "failed": len(self.failures),
            "hours": self.duration / 3600,
            "emotions": _describe(self.total()),
            "channels": {channel: _describe(shares) for channel, shares in sorted(self.emotions.items())},
            "negative": list(self.negative),
            "most_negative": [
                {"file": encodable(name), "channel": channel, "p_negative": round(probability, 6)}
                for probability, name, channel in self.most_negative
            ],
            "failures": dict(self.reasons().most_common()),
            "warnings": dict(self.warnings.most_common()),
            "note": self.note or None,
            "not_supported": dict(self.unread.most_common()),
        }


def _describe(shares: dict[str, Share]) -> dict[str, dict[str, float | None]]:
    shares_of_speech = share_of_speech(shares)
    return {
        emotion: {
            "rows": share.rows,
            "speech_seconds": round(share.speech, 3),
            "share_of_speech": round(shares_of_speech[emotion], 6),
            "mean_confidence": None if share.mean_confidence is None else round(share.mean_confidence, 6),
        }
        for emotion, share in shares.items()
    }


def name_kind(reason: str) -> str:
    """Generalizes a reason: removes text in brackets and replaces numbers with ``N``."""
    return _NUMBER.sub("N", reason.partition(" (")[0].partition(": ")[0])
