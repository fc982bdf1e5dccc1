"""Known labels: finds the label of each recording and scores predictions against it."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sercli.corpora.csv_tables import Row, read_rows
from sercli.corpora.datasets import ravdess
from sercli.corpora.label_tables import SPAN, describe_unknown_labels, match_files, match_label, refuse_segments
from sercli.errors import CorpusError, InputError
from sercli.files import one_line
from sercli.labels import LabelMerger, require_known
from sercli.prediction.discovery import Recording
from sercli.prediction.report import name_confusions
from sercli.prediction.rows import Prediction

NAMES = "names"
"""Source of labels instead of a table: the names of recordings, as coded by RAVDESS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of predictions against known labels.

    Attributes:
        rows: Number of rows in the report; one per recording, or per channel if scored separately.
        scored: Number of rows with a known label that count: those with an emotion, and unanswered ones.
        unlabeled: Number of rows without a known label, or with one that is not among `labels`.
        unanswered: Number of rows with a known label and no speech, in recordings without any prediction; they count as
            wrong.
        excluded: Number of rows with a known label that failed, are uncertain, or are the silent side of a call.
        accuracy: Accuracy of the scored rows, 0 to 1; NaN if there are none.
        uar: Unweighted average recall, 0 to 1; NaN if there are none.
        macro_f1: Mean F1, 0 to 1; NaN if there are none.
        per_class: Precision, recall, F1 and support of each emotion.
        labels: Labels of the confusion matrix.
        confusion: Counts in shape ``(n_labels, n_labels)``: rows are known labels, columns predictions.
    """

    rows: int
    scored: int
    unlabeled: int
    unanswered: int
    excluded: int
    accuracy: float
    uar: float
    macro_f1: float
    per_class: dict[str, dict[str, float]]
    labels: tuple[str, ...]
    confusion: npt.NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """Returns a JSON-ready dict, with None for NaN."""
        figures = {"accuracy": self.accuracy, "uar": self.uar, "macro_f1": self.macro_f1}
        return {
            "rows": self.rows,
            "scored": self.scored,
            "unlabeled": self.unlabeled,
            "unanswered": self.unanswered,
            "excluded": self.excluded,
            **{name: None if math.isnan(value) else value for name, value in figures.items()},
            "per_class": self.per_class,
            "labels": list(self.labels),
            "confusion": self.confusion.tolist(),
        }


def find_labels(
    source: str, recordings: Sequence[Recording], labels: Sequence[str], label_map: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Finds the known label of each recording.

    Args:
        source: Path of a table with the columns ``file`` and ``emotion``, or `NAMES`.
        recordings: Recordings to find labels for; `match_files` assigns rows to them.
        labels: Labels of the model.
        label_map: Labels to merge, mapped to the label that they are merged into.

    Returns:
        Label of each labeled recording, by its name.

    Raises:
        CorpusError: If the table is unreadable, labels a file twice or in segments, or has a label unknown to the
            model.
        InputError: If no recording has a label.
        UsageError: If `label_map` names a label that is nowhere, or merges into one that the model does not know.
    """
    folded = {label.casefold() for label in labels}
    require_known([label for label in (label_map or {}).values() if label.casefold() not in folded], labels)
    merge = LabelMerger(label_map)
    known = _read_known(source, recordings, labels, merge)
    merge.check_used()
    return known


def _read_known(
    source: str, recordings: Sequence[Recording], labels: Sequence[str], merge: LabelMerger
) -> dict[str, str]:
    if source == NAMES:
        named = _read_names(recordings, labels, merge)
        if not named:
            msg = (
                "no recording has a known label: expected names as "
                f"03-01-06-02-01-01-12.wav, found names as {_show_example(recordings)}"
            )
            raise InputError(msg)
        return named
    return _read_table(Path(source), recordings, labels, merge)


def _read_table(
    table: Path, recordings: Sequence[Recording], labels: Sequence[str], merge: LabelMerger
) -> dict[str, str]:
    rows = read_rows(table, ("file", "emotion"), optional=SPAN)
    located = [((line, row), os.path.realpath(table.parent / row["file"])) for line, row in rows]
    files = list(dict.fromkeys(file for _, file in located))
    matches = match_files(files, [recording.path for recording in recordings], Path())
    paths = {file: path for path, file in matches.items()}
    refuse_segments(table, [(row, paths[file]) for row, file in located if file in paths])
    values: dict[str, str] = {}
    unknown = []
    for file, (line, label) in _collect(table, located).items():
        if not label:
            continue
        if emotion := match_label(label, merge, labels):
            values[file] = emotion
        else:
            unknown.append((line, label))
    if unknown:
        raise CorpusError(describe_unknown_labels(table, unknown, labels))
    known = {
        recording.name: values[matches[recording.path]]
        for recording in recordings
        if matches.get(recording.path) in values
    }
    if not known:
        line, row = rows[0]
        msg = (
            f"no recording has a known label: {table} names {row['file'][:80]!r} in line "
            f"{line}, the recordings are named as {_show_example(recordings)}; expected the same path or file name"
        )
        raise InputError(msg)
    return known


def _collect(table: Path, located: Iterable[tuple[Row, str]]) -> dict[str, tuple[int, str]]:
    """Returns line and label of each file."""
    labels: dict[str, tuple[int, str]] = {}
    for (line, row), file in located:
        first, label = labels.setdefault(file, (line, row["emotion"]))
        if label != row["emotion"]:
            name = one_line(row["file"])
            msg = f"{table}, line {line}: {name} is {label!r} in line {first} and {row['emotion']!r} here"
            raise CorpusError(msg)
    return labels


def _show_example(recordings: Sequence[Recording]) -> str:
    return repr(recordings[0].name[:80]) if recordings else "nothing"


def _read_names(recordings: Iterable[Recording], labels: Sequence[str], merge: LabelMerger) -> dict[str, str]:
    known = {}
    for recording in recordings:
        try:
            annotation = ravdess.parse_name(recording.path.stem)
        except CorpusError:
            continue
        if annotation and (emotion := match_label(annotation.emotion, merge, labels)):
            known[recording.name] = emotion
    return known


def score(predictions: Iterable[Prediction], truth: Mapping[str, str], labels: Sequence[str], *, rows: int) -> Scores:
    """Scores predictions against known labels; a recording without detected speech counts as wrong.

    Args:
        predictions: Predictions, at least for all recordings in `truth`.
        truth: Label of each recording, from `find_labels`; labels not in `labels` are not scored.
        labels: Labels of the predictions.
        rows: Number of all predictions, with or without a label.
    """
    from sercli import metrics  # slow to import

    labeled = [prediction for prediction in predictions if truth.get(prediction.file) in labels]
    answered = [prediction for prediction in labeled if prediction.emotion in labels]
    with_speech = {prediction.file for prediction in labeled if prediction.status != "no-speech"}
    unanswered = [prediction for prediction in labeled if prediction.file not in with_speech]
    scored = [*answered, *unanswered]
    known, guess = [truth[row.file] for row in scored], [row.emotion for row in scored]
    return Scores(
        rows=rows,
        scored=len(scored),
        unlabeled=rows - len(labeled),
        unanswered=len(unanswered),
        excluded=len(labeled) - len(scored),
        accuracy=metrics.accuracy(known, guess),
        uar=metrics.unweighted_average_recall(known, guess, labels),
        macro_f1=metrics.macro_f1(known, guess, labels),
        per_class=metrics.per_class(known, guess, labels) if scored else {},
        labels=tuple(labels),
        confusion=metrics.count_confusions(known, guess, labels),
    )


def save_confusions(report: Path, scores: Scores) -> Path:
    """Draws the confusion matrix to ``report.confusion.png`` for ``report.csv``; returns its path."""
    from sercli.plots import save_confusion  # slow to import

    picture = name_confusions(report)
    title = f"{scores.scored} {'row' if scores.scored == 1 else 'rows'}"
    if scores.scored:
        title += f": accuracy {scores.accuracy:.1%}, UAR {scores.uar:.1%}"
    save_confusion(picture, scores.confusion, scores.labels, title)
    return picture
