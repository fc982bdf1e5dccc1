"""All corpora, by name: one for each module of `sercli.corpora.datasets`."""

import importlib
import pkgutil

from sercli.config import look_up
from sercli.corpora import datasets
from sercli.corpora.corpus import Corpus


def _collect() -> dict[str, Corpus]:
    modules = (
        importlib.import_module(f"{datasets.__name__}.{m.name}") for m in pkgutil.iter_modules(datasets.__path__)
    )
    corpora: list[Corpus] = [module.CORPUS for module in modules]
    # Those that sercli downloads first, the user's own recordings last.
    corpora.sort(key=lambda corpus: (corpus.needs_labels, corpus.archive is None, corpus.name))
    return {corpus.name: corpus for corpus in corpora}


CORPORA: dict[str, Corpus] = _collect()
"""Corpora by name, in the order in which they are listed to users."""


def get_corpus(name: str) -> Corpus:
    """Returns the corpus of this name.

    Raises:
        UsageError: if there is none; the message lists the names.
    """
    return look_up("corpus", name, CORPORA)
