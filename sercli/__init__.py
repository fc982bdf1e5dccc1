"""sercli: recognizes the emotion in recorded speech.

Every command but ``doctor`` is a function of this package; ``recipes`` is `list_recipes` and `get_recipe`::

    from sercli import Predictor, compare, evaluate, featurize, inspect, predict_folder, prepare, train

    predict_folder("calls", "report.csv", progress=True)
    print(Predictor().predict("call.wav").emotion)

Importing the package loads nothing heavy.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

from sercli.version import __version__

if TYPE_CHECKING:
    from sercli.corpora.prepare import prepare
    from sercli.evaluation.compare import compare
    from sercli.evaluation.inspect import inspect
    from sercli.evaluation.run import evaluate
    from sercli.prediction.batch import predict_folder
    from sercli.prediction.explain import explain
    from sercli.prediction.predictor import Predictor
    from sercli.training.featurize import featurize
    from sercli.training.recipe_files import get_recipe, list_recipes
    from sercli.training.train import train
    from sercli.training.tune import tune

__all__ = [
    "Predictor",
    "__version__",
    "compare",
    "evaluate",
    "explain",
    "featurize",
    "get_recipe",
    "inspect",
    "list_recipes",
    "predict_folder",
    "prepare",
    "train",
    "tune",
]

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before ONNX Runtime is imported: recordings of people are private

_MODULES = {
    "Predictor": "sercli.prediction.predictor",
    "compare": "sercli.evaluation.compare",
    "evaluate": "sercli.evaluation.run",
    "explain": "sercli.prediction.explain",
    "featurize": "sercli.training.featurize",
    "get_recipe": "sercli.training.recipe_files",
    "inspect": "sercli.evaluation.inspect",
    "list_recipes": "sercli.training.recipe_files",
    "predict_folder": "sercli.prediction.batch",
    "prepare": "sercli.corpora.prepare",
    "train": "sercli.training.train",
    "tune": "sercli.training.tune",
}


def __dir__() -> list[str]:
    """Lists the public names, for completion."""
    return __all__


def __getattr__(name: str) -> Any:
    """Imports a public name on first use (PEP 562)."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
