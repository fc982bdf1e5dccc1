"""Scores of predictions against the truth, for labels of any kind.

Averages skip classes absent from the truth. A prediction outside the labels counts as wrong and has no column in a
confusion matrix. An undefined score is NaN, never a made-up number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sercli.errors import UsageError

Labels = npt.NDArray[np.int64]
"""Label indices, shape ``(n,)``; -1 if not among the labels."""
Values = Sequence[Any] | npt.NDArray[Any]
"""Labels of utterances: strings, integers or any other hashable values."""
Probabilities = npt.NDArray[np.float64]
Matrices = npt.NDArray[Any]
ScoreArray = npt.NDArray[np.float64]

BOOTSTRAP_BLOCK = 1 << 18  # most draws times speakers held in memory at once
CALIBRATION_BINS = 15  # as in Guo et al. 2017, "On Calibration of Modern Neural Networks"


def count_confusions(truth: Values, prediction: Values, labels: Values | None = None) -> Labels:
    """Confusion matrix: rows are the truth, columns the prediction.

    >>> count_confusions(["sad", "sad", "happy"], ["sad", "happy", "happy"], ["happy", "sad"]).tolist()
    [[1, 0], [1, 1]]

    Args:
        truth: True labels, shape ``(n,)``.
        prediction: Predicted labels, shape ``(n,)``.
        labels: Labels of rows and columns; the sorted ones of truth and prediction if None.

    Returns:
        Counts, shape ``(n_labels, n_labels)``.

    Raises:
        UsageError: If truth and prediction differ in length.
    """
    truth, prediction, names = _encode(truth, prediction, labels)
    matrix = np.zeros((len(names), len(names)), np.int64)
    inside = (truth >= 0) & (prediction >= 0)
    np.add.at(matrix, (truth[inside], prediction[inside]), 1)
    return matrix


def accuracy(truth: Values, prediction: Values) -> float:
    r"""Share of correct predictions, 0 to 1; NaN without any.

    .. math:: \frac{1}{n} \sum_i [t_i = p_i]

    >>> accuracy(["sad", "sad", "happy", "calm"], ["sad", "happy", "happy", "calm"])
    0.75

    Raises:
        UsageError: If truth and prediction differ in length.
    """
    truth, prediction, _ = _encode(truth, prediction)
    return float(np.mean(truth == prediction)) if len(truth) else float("nan")


def unweighted_average_recall(truth: Values, prediction: Values, labels: Values | None = None) -> float:
    r"""Mean recall of the classes in the truth (UAR, balanced accuracy), 0 to 1; NaN without any.

    .. math:: \frac{1}{|C|} \sum_{c \in C} \frac{|\{i: t_i = c \wedge p_i = c\}|}{|\{i: t_i = c\}|}

    >>> unweighted_average_recall(["sad", "sad", "sad", "happy"], ["sad", "sad", "sad", "sad"])
    0.5

    Args:
        truth: True labels, shape ``(n,)``.
        prediction: Predicted labels, shape ``(n,)``.
        labels: Labels to average over; all of the truth if None.

    Raises:
        UsageError: If truth and prediction differ in length.
    """
    recalls = [scores["recall"] for scores in per_class(truth, prediction, labels).values() if scores["support"]]
    return float(np.mean(recalls)) if recalls else float("nan")


def uar_of_confusions(matrices: Matrices) -> ScoreArray:
    """UAR of confusion matrices of shape ``(..., n_labels, n_columns)``, shape ``(...,)``; NaN for an empty one.

    Columns beyond the labels count wrong predictions.

    >>> float(uar_of_confusions(np.array([[3, 0], [1, 1]])))
    0.75
    """
    support = matrices.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.diagonal(matrices, axis1=-2, axis2=-1) / support
        uar: ScoreArray = np.nansum(recall, axis=-1) / (support > 0).sum(axis=-1)
    return uar


def accuracy_of_confusions(matrices: Matrices) -> ScoreArray:
    """Accuracy of confusion matrices of shape ``(..., n_labels, n_columns)``, shape ``(...,)``; NaN for an empty one.

    Columns beyond the labels count wrong predictions.

    >>> float(accuracy_of_confusions(np.array([[3, 0], [1, 1]])))
    0.8
    """
    with np.errstate(invalid="ignore"):
        share: ScoreArray = np.trace(matrices, axis1=-2, axis2=-1) / matrices.sum(axis=(-2, -1))
    return share


def macro_f1(truth: Values, prediction: Values, labels: Values | None = None) -> float:
    r"""Mean F1 of the classes in the truth, 0 to 1; NaN without any.

    .. math:: \frac{1}{|C|} \sum_{c \in C} \frac{2 P_c R_c}{P_c + R_c}

    with precision :math:`P_c` and recall :math:`R_c`.

    >>> round(macro_f1(["sad", "sad", "happy"], ["sad", "happy", "happy"]), 3)
    0.667

    Args:
        truth: True labels, shape ``(n,)``.
        prediction: Predicted labels, shape ``(n,)``.
        labels: Labels to average over; all of the truth if None.

    Raises:
        UsageError: If truth and prediction differ in length.
    """
    scores = [row["f1"] for row in per_class(truth, prediction, labels).values() if row["support"]]
    return float(np.mean(scores)) if scores else float("nan")


def per_class(truth: Values, prediction: Values, labels: Values | None = None) -> dict[Any, dict[str, float]]:
    r"""Precision, recall and F1 (0 to 1; 0 where they are undefined) and support of each label.

    .. math:: P_c = \frac{|\{t_i = c \wedge p_i = c\}|}{|\{p_i = c\}|}, \quad
        R_c = \frac{|\{t_i = c \wedge p_i = c\}|}{|\{t_i = c\}|}, \quad F_c = \frac{2 P_c R_c}{P_c + R_c}

    >>> per_class(["sad", "sad"], ["sad", "happy"], ["sad"])
    {'sad': {'precision': 1.0, 'recall': 0.5, 'f1': 0.6666666666666666, 'support': 2}}

    Args:
        truth: True labels, shape ``(n,)``.
        prediction: Predicted labels, shape ``(n,)``.
        labels: Labels to score; the sorted ones of truth and prediction if None.

    Raises:
        UsageError: If truth and prediction differ in length.
    """
    truth, prediction, names = _encode(truth, prediction, labels)
    support, predicted = (np.bincount(side[side >= 0], minlength=len(names)) for side in (truth, prediction))
    hits = np.bincount(truth[(truth == prediction) & (truth >= 0)], minlength=len(names))
    precision, recall = hits / np.maximum(predicted, 1), hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(support + predicted, 1)
    return {
        name: {
            "precision": float(precision[number]),
            "recall": float(recall[number]),
            "f1": float(f1[number]),
            "support": int(support[number]),
        }
        for number, name in enumerate(names)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Predictions whose highest probability lies in one interval.

    Attributes:
        low: Lower end of the interval, 0 to 1; it belongs to the interval.
        high: Upper end, which belongs to the last interval only.
        count: Number of predictions.
        confidence: Their mean highest probability; None if there are none.
        accuracy: Share of them that is right; None if there are none.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


def measure_reliability(
    truth: Values, probabilities: Probabilities, labels: Values | None = None, *, bins: int = CALIBRATION_BINS
) -> tuple[ReliabilityBin, ...]:
    """Accuracy of the predictions of each confidence, in `bins` intervals of equal width from 0 to 1.

    >>> last = measure_reliability(["a", "b"], np.array([[0.9, 0.1], [0.8, 0.2]]), ["a", "b"], bins=4)[-1]
    >>> last.count, last.accuracy, round(last.confidence, 2)
    (2, 0.5, 0.85)

    Args:
        truth: True labels, shape ``(n,)``.
        probabilities: Probability of each label, shape ``(n, n_labels)``.
        labels: Labels of the columns; their numbers from 0 if None.
        bins: Number of intervals.

    Raises:
        UsageError: If truth and probabilities differ in length.
    """
    if not len(truth):
        probabilities = probabilities.reshape(0, probabilities.shape[1] if probabilities.ndim > 1 else 1)
    names = range(probabilities.shape[1]) if labels is None else labels
    positions = _encode(truth, probabilities.argmax(axis=1), names)[0]
    confidence, correct = probabilities.max(axis=1, initial=0.0), probabilities.argmax(axis=1) == positions
    bin_of = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    means = [np.bincount(bin_of, weights=w, minlength=bins) / np.maximum(counts, 1) for w in (confidence, correct)]
    return tuple(
        ReliabilityBin(
            low=number / bins,
            high=(number + 1) / bins,
            count=int(count),
            confidence=float(means[0][number]) if count else None,
            accuracy=float(means[1][number]) if count else None,
        )
        for number, count in enumerate(counts)
    )


def expected_calibration_error(truth: Values, probabilities: Probabilities, labels: Values | None = None) -> float:
    r"""Mean gap between confidence and accuracy (Naeini et al. 2015), 0 to 1; NaN without any.

    .. math:: \sum_b \frac{n_b}{n} |\mathrm{acc}(b) - \mathrm{conf}(b)|

    over the intervals of `measure_reliability`.

    >>> round(expected_calibration_error(["a", "b"], np.array([[0.9, 0.1], [0.8, 0.2]]), ["a", "b"]), 2)
    0.45

    Args:
        truth: True labels, shape ``(n,)``.
        probabilities: Probability of each label, shape ``(n, n_labels)``.
        labels: Labels of the columns; their numbers from 0 if None.

    Raises:
        UsageError: If truth and probabilities differ in length.
    """
    filled = [each for each in measure_reliability(truth, probabilities, labels) if each.count]
    if not len(truth):
        return float("nan")
    gaps = (each.count * abs((each.accuracy or 0.0) - (each.confidence or 0.0)) for each in filled)
    return sum(gaps) / len(truth)


def bootstrap_by_speaker(
    score: Callable[[Matrices], ScoreArray],
    truth: Values,
    prediction: Values,
    speakers: Sequence[str],
    labels: Values | None = None,
    *,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a score when whole speakers are drawn with replacement.

    Utterances of one speaker are not independent, so a bootstrap over utterances would be too narrow.

    >>> truth, prediction = ["sad", "happy"] * 6, ["sad", "happy"] * 3 + ["sad", "sad"] * 3
    >>> bootstrap_by_speaker(uar_of_confusions, truth, prediction, ["a"] * 6 + ["b"] * 6)
    (0.5, 1.0)

    Args:
        score: Score of confusion matrices, `uar_of_confusions` or `accuracy_of_confusions`.
        truth: True labels, shape ``(n,)``.
        prediction: Predicted labels, shape ``(n,)``.
        speakers: Speaker of each utterance; utterances without a name count as speakers of their own.
        labels: Labels to score; all of truth and prediction if None.
        level: Level of the interval, 0 to 1.
        draws: Number of draws.
        seed: Seed of the draws.

    Returns:
        Lower and upper end; NaN with fewer than two speakers.

    Raises:
        UsageError: If truth, prediction and speakers differ in length.
    """
    truth, prediction, labels = _encode(truth, prediction, labels)
    if len(speakers) != len(truth):
        msg = f"truth and speakers differ in length: {len(truth)} != {len(speakers)}"
        raise UsageError(msg)
    names = [speaker or f"#{number}" for number, speaker in enumerate(speakers)]
    unique, group_of = np.unique(np.asarray(names, dtype=object).astype(str), return_inverse=True)
    if len(unique) < 2:
        return float("nan"), float("nan")
    # The last column counts predictions of no label, whose position is -1.
    matrices = np.zeros((len(unique), len(labels), len(labels) + 1))
    inside = truth >= 0
    np.add.at(matrices, (group_of[inside], truth[inside], prediction[inside]), 1)
    generator = np.random.default_rng(seed)
    scores = []
    block = max(16, BOOTSTRAP_BLOCK // max(len(unique), len(labels) ** 2))
    for begun in range(0, draws, block):
        size = min(block, draws - begun)
        counts = generator.multinomial(len(unique), np.full(len(unique), 1 / len(unique)), size=size)
        drawn = counts.astype(np.float64) @ matrices.reshape(len(unique), -1)
        scores.append(score(drawn.reshape(size, *matrices.shape[1:])))
    tail = (1 - level) / 2
    low, high = np.nanquantile(np.concatenate(scores), [tail, 1 - tail])
    return float(low), float(high)


def _encode(truth: Values, prediction: Values, labels: Values | None = None) -> tuple[Labels, Labels, list[Any]]:
    """Positions of truth and prediction among the labels, and the labels."""
    _require_equal_length(truth, prediction)
    truth, prediction = np.asarray(truth).tolist(), np.asarray(prediction).tolist()
    names: list[Any] = sorted({*truth, *prediction}) if labels is None else list(labels)
    position = {name: number for number, name in enumerate(names)}
    sides = [np.asarray([position.get(value, -1) for value in side], dtype=np.int64) for side in (truth, prediction)]
    return sides[0], sides[1], names


def _require_equal_length(truth: Values, other: Values) -> None:
    if len(truth) != len(other):
        msg = f"truth and prediction differ in length: {len(truth)} != {len(other)}"
        raise UsageError(msg)
