"""Scores of predictions against the truth.

Emotions are given as positions in `sercli.labels.EMOTIONS`. Classes that the truth does not hold take no part
in averages; an undefined score is NaN, never a made-up number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from sercli.errors import UsageError
from sercli.labels import EMOTIONS

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]

BOOTSTRAP_NUMBERS = 1 << 18  # speakers times draws whose confusions are held at once
CALIBRATION_BINS = 15  # as in Guo et al. 2017, "On Calibration of Modern Neural Networks"


def count_confusions(truth: Labels, prediction: Labels) -> Labels:
    """Confusion matrix in shape ``(8, 8)``: rows are the truth, columns the prediction.

    Raises:
        UsageError: if truth and prediction differ in length.
    """
    _require_equal_length(truth, prediction)
    if not len(truth):
        return np.zeros((len(EMOTIONS), len(EMOTIONS)), np.int64)
    matrix: Labels = confusion_matrix(truth, prediction, labels=range(len(EMOTIONS))).astype(np.int64)
    return matrix


def accuracy(truth: Labels, prediction: Labels) -> float:
    """Share of correct predictions, 0 to 1; NaN without any.

    Raises:
        UsageError: if truth and prediction differ in length.
    """
    _require_equal_length(truth, prediction)
    return float(np.mean(truth == prediction)) if len(truth) else float("nan")


def unweighted_average_recall(truth: Labels, prediction: Labels) -> float:
    """Mean over the classes of the truth of the share of each that was found, 0 to 1; NaN without any.

    Raises:
        UsageError: if truth and prediction differ in length.
    """
    return float(uar_of_confusions(count_confusions(truth, prediction)))


def uar_of_confusions(matrices: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """UAR of confusion matrices in shape ``(..., 8, 8)``, in shape ``(...,)``; NaN for an empty one."""
    support = matrices.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.diagonal(matrices, axis1=-2, axis2=-1) / support
        uar: npt.NDArray[np.float64] = np.nansum(recall, axis=-1) / (support > 0).sum(axis=-1)
    return uar


def accuracy_of_confusions(matrices: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Accuracy of confusion matrices in shape ``(..., 8, 8)``, in shape ``(...,)``; NaN for an empty one."""
    with np.errstate(invalid="ignore"):
        share: npt.NDArray[np.float64] = np.trace(matrices, axis1=-2, axis2=-1) / matrices.sum(axis=(-2, -1))
    return share


def macro_f1(truth: Labels, prediction: Labels) -> float:
    """Mean over the classes of the truth of their F1, 0 to 1; NaN without any.

    Raises:
        UsageError: if truth and prediction differ in length.
    """
    scores = [row["f1"] for row in per_class(truth, prediction).values() if row["support"]]
    return float(np.mean(scores)) if scores else float("nan")


def per_class(truth: Labels, prediction: Labels) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 (0 to 1; 0 where nothing was predicted) and support of each emotion.

    Raises:
        UsageError: if truth and prediction differ in length.
    """
    _require_equal_length(truth, prediction)
    names = ("precision", "recall", "f1")
    if not len(truth):
        return {emotion: {**dict.fromkeys(names, 0.0), "support": 0} for emotion in EMOTIONS}
    columns = precision_recall_fscore_support(truth, prediction, labels=range(len(EMOTIONS)), zero_division=0)
    return {
        emotion: {
            **{name: float(column[number]) for name, column in zip(names, columns[:3], strict=True)},
            "support": int(columns[3][number]),
        }
        for number, emotion in enumerate(EMOTIONS)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Predictions whose highest probability lies in one interval.

    Attributes:
        low: end of the interval, 0 to 1; it belongs to the interval.
        high: the other end, which belongs to the last interval only.
        count: predictions in it.
        confidence: their mean highest probability; None without any.
        accuracy: share of them that is right; None without any.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


def measure_reliability(
    truth: Labels, probabilities: Probabilities, bins: int = CALIBRATION_BINS
) -> tuple[ReliabilityBin, ...]:
    """How often predictions of each confidence are right, in `bins` intervals of equal width from 0 to 1.

    Args:
        truth: in shape ``(n,)``.
        probabilities: in shape ``(n, 8)``.
        bins: number of intervals.

    Raises:
        UsageError: if truth and probabilities differ in length.
    """
    _require_equal_length(truth, probabilities)
    confidence = probabilities.reshape(-1, len(EMOTIONS)).max(axis=1)
    correct = probabilities.reshape(-1, len(EMOTIONS)).argmax(axis=1) == truth
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


def expected_calibration_error(truth: Labels, probabilities: Probabilities, bins: int = CALIBRATION_BINS) -> float:
    r"""Mean gap between confidence and accuracy (Naeini et al. 2015), 0 to 1; NaN without any.

    .. math:: \sum_b \frac{n_b}{n} |\mathrm{acc}(b) - \mathrm{conf}(b)|

    over the intervals of `measure_reliability`.

    Args:
        truth: in shape ``(n,)``.
        probabilities: in shape ``(n, 8)``.
        bins: number of intervals.

    Raises:
        UsageError: if truth and probabilities differ in length.
    """
    found = measure_reliability(truth, probabilities, bins)
    if not len(truth):
        return float("nan")
    gaps = (
        b.count * abs(b.accuracy - b.confidence) for b in found if b.accuracy is not None and b.confidence is not None
    )
    return sum(gaps) / len(truth)


def bootstrap_by_speaker(
    score: Callable[[npt.NDArray[Any]], npt.NDArray[np.float64]],
    truth: Labels,
    prediction: Labels,
    speakers: Sequence[str],
    *,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a score when whole speakers are drawn with replacement.

    Utterances of one speaker are not independent, so a bootstrap over utterances would be too narrow.

    Args:
        score: of confusion matrices, `uar_of_confusions` or `accuracy_of_confusions`.
        truth: in shape ``(n,)``.
        prediction: in shape ``(n,)``.
        speakers: of each utterance; utterances without a name count as speakers of their own.
        level: of the interval, 0 to 1.
        draws: how many times.
        seed: of the draws.

    Returns:
        lower and upper end; NaN where fewer than two speakers leave nothing to draw.

    Raises:
        UsageError: if truth, prediction and speakers differ in length.
    """
    _require_equal_length(truth, prediction)
    _require_equal_length(truth, speakers)
    names = [speaker or f"#{number}" for number, speaker in enumerate(speakers)]
    unique, group_of = np.unique(np.asarray(names, dtype=object).astype(str), return_inverse=True)
    if len(unique) < 2:
        return float("nan"), float("nan")
    matrices = np.zeros((len(unique), len(EMOTIONS), len(EMOTIONS)))
    np.add.at(matrices, (group_of, truth, prediction), 1)
    generator = np.random.default_rng(seed)
    scores = []
    block = max(1, BOOTSTRAP_NUMBERS // len(unique))
    for begun in range(0, draws, block):
        size = min(block, draws - begun)
        counts = generator.multinomial(len(unique), np.full(len(unique), 1 / len(unique)), size=size)
        scores.append(score(np.einsum("ds,stp->dtp", counts, matrices)))
    tail = (1 - level) / 2
    low, high = np.nanquantile(np.concatenate(scores), [tail, 1 - tail])
    return float(low), float(high)


def _require_equal_length(truth: Labels, other: "Labels | Probabilities | Sequence[str]") -> None:
    if len(truth) != len(other):
        msg = f"truth and prediction differ in length: {len(truth)} != {len(other)}"
        raise UsageError(msg)
