"""Finds likely label errors by confident learning (Northcutt, Jiang & Chuang 2021) from out-of-fold probabilities.

https://doi.org/10.1613/jair.1.12125. The authors' library, cleanlab, is not used because its license (AGPL) is
incompatible with this project's.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sercli.corpora.index import Index
from sercli.errors import InputError
from sercli.evaluation.predictions import PREDICTIONS_FILE, PredictionRow, read_predictions
from sercli.evaluation.report import REPORT_FILE, read_report, report_errors
from sercli.labels import LabelSelection
from sercli.metrics import Labels, Probabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelError:
    """Recording whose label is likely wrong.

    Attributes:
        file: File, as in the index.
        speaker: Speaker; empty if unknown.
        label: Label in the index.
        suggested: More likely label.
        p_label: Probability of `label`.
        p_suggested: Probability of `suggested`.
    """

    file: str
    speaker: str
    label: str
    suggested: str
    p_label: float
    p_suggested: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCheck:
    """Labels compared with the predictions of an evaluation.

    Attributes:
        tested: Number of recordings that were tested under the label that they have now.
        errors: Likely label errors among them, least plausible label first.
    """

    tested: int
    errors: tuple[LabelError, ...]


def rank_label_errors(truth: Labels, probabilities: Probabilities) -> list[tuple[int, int]]:
    """Ranks likely mislabeled samples by confident learning ("prune by noise rate").

    A sample is confidently of a class if its probability is at least the mean probability of that class among the
    samples labeled with it; among several such classes, the most probable counts. The counts of labels (rows) by
    confident classes (columns), each row scaled to the number of samples with that label, estimate how many samples of
    each label belong to each other class. That many samples with the highest margin are returned.

    Args:
        truth: Class index of each label, ``(n_samples,)``.
        probabilities: Out-of-fold probabilities, ``(n_samples, n_classes)``.

    Returns:
        Pairs of sample and suggested class, in order of decreasing margin.
    """
    classes = probabilities.shape[1]
    counts = np.bincount(truth, minlength=classes)
    means = [probabilities[truth == c, c].mean() if counts[c] else np.inf for c in range(classes)]
    confident = np.where(probabilities >= means, probabilities, -1.0)
    is_confident = confident.max(axis=1) > 0
    joint = np.zeros((classes, classes))
    np.add.at(joint, (truth[is_confident], confident[is_confident].argmax(axis=1)), 1)
    joint *= (counts / np.maximum(joint.sum(axis=1), 1))[:, None]
    margins = probabilities - probabilities[np.arange(len(truth)), truth][:, None]
    margins[:, counts == 0] = -np.inf
    suspects: set[int] = set()
    for label, other in itertools.permutations(range(classes), 2):
        samples = np.flatnonzero(truth == label)
        suspects |= set(samples[np.argsort(-margins[samples, other])][: round(joint[label, other])].tolist())
    ranked = sorted(suspects, key=lambda sample: (-margins[sample].max(), sample))
    return [(sample, int(margins[sample].argmax())) for sample in ranked if margins[sample].max() > 0]


def _check_labels(labels: Sequence[str], rows: Iterable[PredictionRow]) -> LabelCheck:
    """Finds likely label errors among predictions, averaged over seeds; `labels` has the order of the probabilities."""
    by_file: dict[str, list[PredictionRow]] = defaultdict(list)
    for row in rows:
        by_file[row.file].append(row)
    firsts = [group[0] for group in by_file.values()]
    truth = np.array([labels.index(row.truth) for row in firsts], np.int64)
    probabilities = np.array([np.mean([row.probabilities for row in group], axis=0) for group in by_file.values()])
    errors = tuple(
        LabelError(
            file=firsts[sample].file,
            speaker=firsts[sample].speaker,
            label=firsts[sample].truth,
            suggested=labels[suggested],
            p_label=round(float(probabilities[sample, truth[sample]]), 4),
            p_suggested=round(float(probabilities[sample, suggested]), 4),
        )
        for sample, suggested in rank_label_errors(truth, probabilities)
    )
    return LabelCheck(tested=len(by_file), errors=errors)


def read_label_errors(results: Path, index: Index) -> LabelCheck:
    """Finds likely label errors in an index from a results folder.

    Recordings whose label in the index was corrected since are left out.

    Raises:
        InputError: If the predictions are missing or damaged, or cover none of the recordings.
    """
    path = results / PREDICTIONS_FILE
    predictions, selection = read_predictions(path), _read_selection(results / REPORT_FILE)
    labels = {utterance.file: selection.apply(utterance.emotion) for utterance in index.utterances}
    rows = [row for row in predictions.rows if labels.get(row.file) == row.truth]
    if not rows:
        msg = f"{path} has no predictions for this index: give results computed from it"
        raise InputError(msg)
    return _check_labels(predictions.labels, rows)


def _read_selection(report: Path) -> LabelSelection:
    """Reads which labels an evaluation merged; none if its report is missing."""
    if not report.exists():
        return LabelSelection()
    with report_errors(report.parent):
        return LabelSelection(label_map=dict(read_report(report.parent)["label_selection"]["map"]))
