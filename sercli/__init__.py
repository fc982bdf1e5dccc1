"""sercli: which emotion is in recorded speech.

The command line is a thin skin over this package; every step is usable from Python.
Importing the package itself loads nothing heavy.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
