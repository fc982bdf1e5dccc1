"""The corpora that sercli knows. To add one: write its module, list it here, add its rows to the tests."""

from sercli.config import look_up
from sercli.corpora import nemo, ravdess, table
from sercli.corpora.base import Corpus

CORPORA: dict[str, Corpus] = {corpus.name: corpus for corpus in (ravdess.CORPUS, nemo.CORPUS, table.CORPUS)}
"""By name, in the order in which they are listed to users."""


def get_corpus(name: str) -> Corpus:
    """The corpus of a name.

    Raises:
        UsageError: if there is none; the message lists those there are.
    """
    return look_up("corpus", name, CORPORA)
