"""Scores of predictions: overall, per seed, per fold."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sercli.evaluation.predictions import PredictionRow, Predictions
from sercli.metrics import (
    ReliabilityBin,
    accuracy,
    accuracy_of_confusions,
    bootstrap_by_speaker,
    count_confusions,
    expected_calibration_error,
    macro_f1,
    measure_reliability,
    per_class,
    uar_of_confusions,
    unweighted_average_recall,
)

Interval = tuple[float | None, float | None]


@dataclass(frozen=True, kw_only=True)
class MainScores:
    """Main scores of a set of predictions.

    Attributes:
        utterances: Number of predictions.
        uar: Unweighted average recall, 0 to 1; scores are None if undefined.
        accuracy: Accuracy, 0 to 1.
        macro_f1: Mean F1 over the labels that occur, 0 to 1.
    """

    utterances: int
    uar: float | None
    accuracy: float | None
    macro_f1: float | None


@dataclass(frozen=True, kw_only=True)
class FullScores(MainScores):
    """All scores of a set of predictions.

    Attributes:
        uar_interval: 95% interval of the UAR, by bootstrap over speakers.
        accuracy_interval: 95% interval of the accuracy, by bootstrap over speakers.
        expected_calibration_error: Mean gap between confidence and accuracy, 0 to 1.
        reliability: Accuracy by confidence (reliability diagram).
        per_class: Precision, recall, F1 and support of each label.
        per_corpus: Main scores of each corpus.
        per_gender: Main scores of each known gender.
        confusion: Confusion matrix; rows are true labels, columns predictions.
    """

    uar_interval: Interval
    accuracy_interval: Interval
    expected_calibration_error: float | None
    reliability: tuple[ReliabilityBin, ...]
    per_class: Mapping[str, Mapping[str, float]]
    per_corpus: Mapping[str, MainScores]
    per_gender: Mapping[str, MainScores]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class ScoreSummary:
    """Scores of an evaluation.

    Attributes:
        overall: Scores over all folds and seeds.
        spread: Mean and std over seeds of the main scores, such as ``uar_by_seed_std``; the std is None for one seed.
        per_seed: Main scores of each seed.
        per_fold: Scores of each pair of seed and fold.
    """

    overall: FullScores
    spread: Mapping[str, float | None]
    per_seed: Mapping[int, MainScores]
    per_fold: Mapping[tuple[int, int], FullScores]

    def to_dict(self) -> dict[str, Any]:
        """Returns the scores as a JSON-ready dict; `spread` is in ``overall``."""
        return {
            "overall": {**asdict(self.overall), **self.spread},
            "per_seed": [{**asdict(scores), "seed": seed} for seed, scores in self.per_seed.items()],
            "per_fold": [{**asdict(scores), "seed": s, "fold": f} for (s, f), scores in self.per_fold.items()],
        }


def summarize(predictions: Predictions) -> ScoreSummary:
    """Computes all scores of an evaluation.

    Overall scores pool the utterances of all folds and seeds; the bootstrap draws speakers with all their utterances.

    Args:
        predictions: Predictions of all folds and seeds.
    """
    rows, labels = predictions.rows, predictions.labels
    folds = sorted({(row.seed, row.fold) for row in rows})
    seeds = dict.fromkeys(seed for seed, _ in folds)
    per_seed = {seed: score_main([row for row in rows if row.seed == seed]) for seed in seeds}
    return ScoreSummary(
        overall=score(rows, labels),
        spread=_measure_spread(per_seed.values()),
        per_seed=per_seed,
        per_fold={fold: score([row for row in rows if (row.seed, row.fold) == fold], labels) for fold in folds},
    )


def score_main(rows: Sequence[PredictionRow]) -> MainScores:
    """Computes the main scores of predictions."""
    truth, prediction = [row.truth for row in rows], [row.prediction for row in rows]
    return MainScores(
        utterances=len(rows),
        uar=_defined(unweighted_average_recall(truth, prediction)),
        accuracy=_defined(accuracy(truth, prediction)),
        macro_f1=_defined(macro_f1(truth, prediction)),
    )


def score(rows: Sequence[PredictionRow], labels: Sequence[str]) -> FullScores:
    """Computes all scores of predictions with probabilities in the order of the labels."""
    truth, prediction = [row.truth for row in rows], [row.prediction for row in rows]
    probabilities = np.asarray([row.probabilities for row in rows])
    # An utterance without a known speaker counts as its own speaker, in all seeds together.
    speakers = [row.speaker or f"#{row.corpus}/{row.file}" for row in rows]
    uar, acc = (
        bootstrap_by_speaker(function, truth, prediction, speakers, labels)
        for function in (uar_of_confusions, accuracy_of_confusions)
    )
    corpora = sorted({row.corpus for row in rows})
    genders = sorted({row.gender for row in rows} - {""})
    return FullScores(
        **asdict(score_main(rows)),
        uar_interval=(_defined(uar[0]), _defined(uar[1])),
        accuracy_interval=(_defined(acc[0]), _defined(acc[1])),
        expected_calibration_error=_defined(expected_calibration_error(truth, probabilities, labels)),
        reliability=measure_reliability(truth, probabilities, labels),
        per_class=per_class(truth, prediction, labels),
        per_corpus={name: score_main([row for row in rows if row.corpus == name]) for name in corpora},
        per_gender={gender: score_main([row for row in rows if row.gender == gender]) for gender in genders},
        confusion=tuple(map(tuple, count_confusions(truth, prediction, labels).tolist())),
    )


def _measure_spread(per_seed: Collection[MainScores]) -> dict[str, float | None]:
    spread: dict[str, float | None] = {}
    for name in ("uar", "accuracy", "macro_f1"):
        values = [value for scores in per_seed if (value := getattr(scores, name)) is not None]
        spread[f"{name}_by_seed_mean"] = float(np.mean(values)) if values else None
        spread[f"{name}_by_seed_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return spread


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
