"""All corpora, by name: one for each module of `sercli.corpora.datasets`."""

import contextlib
import importlib
import pkgutil
from dataclasses import replace

from sercli.config import look_up
from sercli.corpora import datasets
from sercli.corpora.corpus import Corpus, Source
from sercli.errors import CorpusError

GUESSED = 500  # recordings that are looked at to guess a corpus


def _collect() -> dict[str, Corpus]:
    modules = (
        importlib.import_module(f"{datasets.__name__}.{m.name}") for m in pkgutil.iter_modules(datasets.__path__)
    )
    corpora: list[Corpus] = [module.CORPUS for module in modules]
    # Those that sercli downloads first, the user's own recordings last.
    corpora.sort(key=lambda corpus: (corpus.takes_any, corpus.archive is None, corpus.name))
    return {corpus.name: corpus for corpus in corpora}


CORPORA: dict[str, Corpus] = _collect()
"""Corpora by name, in the order in which they are listed to users."""


def get_corpus(name: str) -> Corpus:
    """Returns the corpus of this name.

    Raises:
        UsageError: If there is none; the message lists the names.
    """
    return look_up("corpus", name, CORPORA)


def guess_corpus(source: Source) -> str:
    """Guesses the corpus from the names of the first recordings; empty if none does."""
    source = replace(source, limit=GUESSED)
    counts: dict[str, int] = {}
    for name, corpus in CORPORA.items():
        if not corpus.takes_any:
            with contextlib.suppress(CorpusError):
                counts[name] = len(corpus.label(source).recordings)
    best = max(counts, key=lambda name: counts[name], default="")
    return best if counts.get(best) else ""
