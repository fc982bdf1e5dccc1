"""Classifiers of classical baselines, by recipe name; quick to import."""

import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A kind of classifier with one setting, tuned on development utterances.

    Attributes:
        classifier: Module and class of scikit-learn.
        parameters: Parameters of the classifier.
        tuned: Name of the parameter that is tuned.
        settings: Candidate values of that parameter, ascending.
    """

    classifier: str
    parameters: Mapping[str, Any]
    tuned: str
    settings: tuple[float, ...]

    def make(self, setting: float, seed: int) -> "ClassifierMixin":
        """Makes a classifier."""
        kind = pkgutil.resolve_name(self.classifier)
        random = {"random_state": seed} if "random_state" in inspect.signature(kind).parameters else {}
        return kind(**{self.tuned: setting}, **self.parameters, **random)

    def list_settings(self, utterances: int) -> tuple[float, ...]:
        """Lists the settings possible with this number of training utterances, at least one."""
        if self.tuned != "n_neighbors":
            return self.settings
        return tuple(setting for setting in self.settings if setting <= utterances) or (utterances,)


BASELINES: Mapping[str, Baseline] = {
    "svm": Baseline(
        classifier="sklearn.svm:SVC",
        parameters={"class_weight": "balanced"},
        tuned="C",
        settings=(0.3, 1.0, 3.0, 10.0),
    ),
    "forest": Baseline(
        classifier="sklearn.ensemble:RandomForestClassifier",
        parameters={"n_estimators": 300, "class_weight": "balanced_subsample"},
        tuned="min_samples_leaf",
        settings=(1, 3),
    ),
    "knn": Baseline(
        classifier="sklearn.neighbors:KNeighborsClassifier",
        parameters={"weights": "distance"},
        tuned="n_neighbors",
        settings=(5, 15, 30),
    ),
    "mlp": Baseline(
        classifier="sklearn.neural_network:MLPClassifier",
        parameters={"hidden_layer_sizes": (128,), "max_iter": 60},
        tuned="alpha",
        settings=(0.01, 1.0, 10.0),
    ),
    "logistic": Baseline(
        classifier="sklearn.linear_model:LogisticRegression",
        parameters={"class_weight": "balanced", "max_iter": 500},
        tuned="C",
        settings=(0.0003, 0.003, 0.03),
    ),
}
