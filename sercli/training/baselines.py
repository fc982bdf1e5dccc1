"""Classical baselines: scikit-learn classifiers on functionals of the same features."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sercli.metrics import Probabilities, unweighted_average_recall
from sercli.models.model import Logits
from sercli.splits.fold import Fold
from sercli.training.calibration import fit_temperature, list_truth
from sercli.training.classifiers import BASELINES
from sercli.training.data import CorpusFeatures

Vectors = npt.NDArray[np.float32]

QUANTILES = (0.1, 0.5, 0.9)  # robust to outliers, unlike minimum and maximum
LEAST_LOGIT = -20.0  # logit of an emotion that a classifier excludes or was not trained on


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedBaseline:
    """A trained classifier.

    Attributes:
        pipeline: Standardization fitted on the training utterances, and the classifier.
        setting: Setting with the highest development UAR.
        dev_uar: Highest development UAR, 0 to 1.
        temperature: Calibration temperature, fitted on the development utterances.
    """

    pipeline: Pipeline
    setting: float
    dev_uar: float
    temperature: float


def train_baseline(corpus: CorpusFeatures, fold: Fold, name: str, *, copies: int, seed: int) -> TrainedBaseline:
    """Trains a classifier with each setting, and keeps the one with the highest development UAR.

    Args:
        corpus: Utterances that the fold divides.
        fold: Training and development utterances of at least 2 emotions; its test utterances are not used.
        name: Key of `sercli.training.classifiers.BASELINES`.
        copies: Number of augmented copies of each training utterance to train on.
        seed: Seed of the classifier.
    """
    examples = [(position, rows) for position in fold.train for rows in corpus.list_copies(position, copies)]
    vectors = stack_functionals(corpus.read(rows) for _, rows in examples)
    truth = list_truth(corpus, [position for position, _ in examples])
    dev_vectors, dev_truth = _vectors(corpus, fold.dev), list_truth(corpus, fold.dev)
    best: tuple[float, float, Pipeline, Logits] | None = None
    for setting in BASELINES[name].list_settings(len(vectors)):
        pipeline = make_pipeline(StandardScaler(), BASELINES[name].make(setting, seed))
        with warnings.catch_warnings():
            # Recipe mlp stops after a fixed number of epochs, converged or not.
            warnings.simplefilter("ignore", ConvergenceWarning)
            pipeline.fit(vectors, truth)
        logits = compute_baseline_logits(pipeline, dev_vectors, len(corpus.labels))
        uar = unweighted_average_recall(dev_truth, logits.argmax(axis=1))
        if best is None or uar > best[0]:
            best = (uar, setting, pipeline, logits)
    assert best is not None  # noqa: S101 - every baseline has a setting
    dev_uar, setting, pipeline, logits = best
    temperature = fit_temperature(logits, dev_truth)
    return TrainedBaseline(pipeline=pipeline, setting=setting, dev_uar=dev_uar, temperature=temperature)


def score_baseline(corpus: CorpusFeatures, positions: tuple[int, ...], trained: TrainedBaseline) -> Probabilities:
    """Computes calibrated probabilities of utterances, without copies, shape ``(n, n_labels)``."""
    logits = compute_baseline_logits(trained.pipeline, _vectors(corpus, positions), len(corpus.labels))
    probabilities: Probabilities = softmax(logits / trained.temperature, axis=1)
    return probabilities


def compute_baseline_logits(pipeline: Pipeline, vectors: Vectors, n_labels: int) -> Logits:
    """Computes logits to calibrate: decision values, else log probabilities; shape ``(n, n_labels)``."""
    classifier = pipeline[-1]
    if hasattr(classifier, "decision_function"):
        scores = pipeline.decision_function(vectors)
        if scores.ndim == 1:  # of two classes, the score of the second
            scores = np.stack([-scores, scores], axis=1)
    else:
        scores = np.log(np.maximum(pipeline.predict_proba(vectors), np.exp(LEAST_LOGIT)))
    logits: Logits = np.full((len(vectors), n_labels), LEAST_LOGIT)
    logits[:, classifier.classes_] = scores
    return logits


def _vectors(corpus: CorpusFeatures, positions: tuple[int, ...]) -> Vectors:
    return stack_functionals(corpus.read(rows) for position in positions for rows in corpus.list_copies(position))


def compute_functionals(matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Computes mean, std and three quantiles of each feature, and the log of the number of frames.

    Args:
        matrix: Features in shape ``(n_frames, n_features)``, at least one frame.

    Returns:
        Vector in shape ``(5 * n_features + 1,)``.
    """
    parts = [matrix.mean(axis=0), matrix.std(axis=0), *np.quantile(matrix, QUANTILES, axis=0)]
    return np.concatenate([*parts, [np.log(len(matrix))]]).astype(np.float32)


def stack_functionals(matrices: Iterable[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Stacks the functionals of each matrix, in shape ``(n, 5 * n_features + 1)``."""
    return np.stack([compute_functionals(matrix) for matrix in matrices])
