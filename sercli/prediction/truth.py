"""Labels that are known: finding each recording's, and scoring predictions against them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sercli import metrics
from sercli.corpora import ravdess
from sercli.errors import CorpusError, InputError
from sercli.labels import EMOTIONS, to_emotion
from sercli.plots import save_confusion
from sercli.prediction.discovery import Recording
from sercli.prediction.report import name_confusions
from sercli.prediction.rows import Prediction
from sercli.prediction.tables import match_recordings, read_column

NAMES = "names"
"""Given in place of a table: the labels are in the recordings' names, as RAVDESS codes them."""

SHOWN = 5  # offending rows that a message names


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How predictions compare with the truth.

    Attributes:
        rows: of the report; a recording has one for each channel that was scored for itself.
        scored: those with a known label and an answer.
        unlabelled: those without a known label.
        unanswered: those with a known label that have no emotion, or an uncertain one; they are in no figure.
        accuracy: share of the scored that are right, 0 to 1; NaN without any.
        uar: unweighted average recall, 0 to 1; NaN without any.
        macro_f1: mean F1, 0 to 1; NaN without any.
        per_class: precision, recall, F1 and support of each emotion.
        confusion: in shape ``(8, 8)``: rows are the truth, columns the prediction.
    """

    rows: int
    scored: int
    unlabelled: int
    unanswered: int
    accuracy: float
    uar: float
    macro_f1: float
    per_class: dict[str, dict[str, float]]
    confusion: npt.NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; what is undefined is None."""
        figures = {"accuracy": self.accuracy, "uar": self.uar, "macro_f1": self.macro_f1}
        return {
            "rows": self.rows,
            "scored": self.scored,
            "unlabelled": self.unlabelled,
            "unanswered": self.unanswered,
            **{name: None if math.isnan(value) else value for name, value in figures.items()},
            "per_class": self.per_class,
            "labels": list(EMOTIONS),
            "confusion": self.confusion.tolist(),
        }


def find_labels(source: str, recordings: Sequence[Recording]) -> dict[str, str]:
    """The known emotion of each recording that has one, by the recording's name.

    Args:
        source: a CSV table with the columns ``file`` and ``emotion``, whose rows stand for recordings as in
            `sercli.prediction.tables.match_recordings`, or `NAMES`.
        recordings: those to label.

    Raises:
        CorpusError: if the table cannot be read, labels a file twice, or holds a label outside the eight.
        InputError: if not one of the recordings has a label.
    """
    labels = _read_names(recordings) if source == NAMES else match_recordings(_read_table(Path(source)), recordings)
    if not labels:
        wanted = "as 03-01-06-02-01-01-12.wav" if source == NAMES else f"in the column 'file' of {source}"
        msg = f"none of the {len(recordings)} recordings has a known label: expected names {wanted}"
        raise InputError(msg)
    return labels


def score(predictions: Iterable[Prediction], labels: Mapping[str, str], *, rows: int) -> Scores:
    """Compares predictions with known labels; recordings without an answer are counted, not scored.

    Args:
        predictions: at least those of the recordings in `labels`.
        labels: emotions by recording, as `find_labels` gives them.
        rows: how many there were, labelled or not.
    """
    labelled = [prediction for prediction in predictions if prediction.file in labels]
    answered = [prediction for prediction in labelled if prediction.emotion in EMOTIONS]
    truth = np.array([EMOTIONS.index(labels[row.file]) for row in answered], dtype=np.int64)
    guess = np.array([EMOTIONS.index(row.emotion) for row in answered], dtype=np.int64)
    known = len(guess) > 0  # without any, the figures are undefined
    return Scores(
        rows=rows,
        scored=len(answered),
        unlabelled=rows - len(labelled),
        unanswered=len(labelled) - len(answered),
        accuracy=metrics.accuracy(truth, guess),
        uar=metrics.unweighted_average_recall(truth, guess),
        macro_f1=metrics.macro_f1(truth, guess) if known else math.nan,
        per_class=metrics.per_class(truth, guess) if known else {},
        confusion=metrics.count_confusions(truth, guess) if known else np.zeros((len(EMOTIONS),) * 2, np.int64),
    )


def save_confusions(report: Path, scores: Scores) -> Path:
    """Draws ``report.confusion.png`` beside ``report.csv``; returns its path."""
    picture = name_confusions(report)
    title = f"{scores.scored} {'row' if scores.scored == 1 else 'rows'}"
    if scores.scored:
        title += f": accuracy {scores.accuracy:.1%}, UAR {scores.uar:.1%}"
    save_confusion(picture, scores.confusion, EMOTIONS, title)
    return picture


def _read_names(recordings: Iterable[Recording]) -> dict[str, str]:
    labels = {}
    for recording in recordings:
        try:
            fields = ravdess.parse_name(recording.path.stem)
        except CorpusError:
            continue
        if fields:
            labels[recording.name] = fields.emotion
    return labels


def _read_table(path: Path) -> dict[str, str]:
    """Emotions by real path."""
    labels: dict[str, str] = {}
    unknown = []
    for place, (line, label) in read_column(path, "emotion").items():
        emotion = to_emotion(label.lower())
        if emotion is None:
            unknown.append(f"line {line}: {label[:40]!r}")
        else:
            labels[place] = emotion
    if unknown:
        more = f"; and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        msg = (
            f"{path} holds labels that are no emotion ({'; '.join(unknown[:SHOWN])}{more}): "
            f"expected {', '.join(EMOTIONS)}"
        )
        raise CorpusError(msg)
    return labels
