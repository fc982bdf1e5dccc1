"""The corpora that sercli knows. To add one: write its module, list it here, add its rows to the tests."""

from sercli.corpora import nemo, ravdess, table
from sercli.corpora.base import Corpus
from sercli.errors import UsageError

CORPORA: dict[str, Corpus] = {corpus.name: corpus for corpus in (ravdess.CORPUS, nemo.CORPUS, table.CORPUS)}
"""By name, in the order in which they are listed to users."""


def get_corpus(name: str) -> Corpus:
    """The corpus of a name.

    Raises:
        UsageError: if there is none; the message lists those there are.
    """
    if name not in CORPORA:
        msg = f"unknown corpus {name!r}: expected one of {', '.join(CORPORA)}"
        raise UsageError(msg)
    return CORPORA[name]
