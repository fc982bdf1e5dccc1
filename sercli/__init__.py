"""sercli: which emotion is in recorded speech.

The command line is a thin skin over this package; every step is usable from Python::

    from sercli import Predictor

    print(Predictor().predict("call.wav").emotion)

Importing the package itself loads nothing heavy.
"""

import importlib
from typing import TYPE_CHECKING, Any

from sercli.version import __version__

if TYPE_CHECKING:
    from sercli.prediction.predictor import Predictor

__all__ = ["Predictor", "__version__"]


def __getattr__(name: str) -> Any:
    """Loads `Predictor`, and torch with it, when it is first asked for."""
    if name == "Predictor":
        return importlib.import_module("sercli.prediction.predictor").Predictor
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
