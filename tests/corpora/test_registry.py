"""The registry of corpora."""

import importlib
import pkgutil

import pytest

from sercli.corpora import datasets
from sercli.corpora.corpus import Corpus
from sercli.corpora.registry import CORPORA, get_corpus
from sercli.errors import UsageError


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA)
def test_every_corpus_says_what_it_is(corpus: Corpus) -> None:
    assert corpus.title
    assert corpus.citation
    assert corpus.license
    assert corpus.takes_any or corpus.page.startswith("http")
    assert corpus.takes_any == (not corpus.hours)
    assert set(corpus.counts) == set(corpus.label_map.values())
    assert get_corpus(corpus.name) is corpus


def test_every_corpus_has_a_page() -> None:
    pages = {
        module.name: importlib.import_module(f"{datasets.__name__}.{module.name}").__doc__ or ""
        for module in pkgutil.iter_modules(datasets.__path__)
    }
    assert {"ravdess", "nemo", "user_table"} <= pages.keys()
    assert not [name for name, page in pages.items() if "Protocols:" not in page or "Annotation:" not in page]


def test_unknown_corpus_lists_the_known() -> None:
    with pytest.raises(UsageError, match="unknown corpus 'emo': expected one of ravdess, "):
        get_corpus("emo")
