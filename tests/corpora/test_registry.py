"""The registry of corpora."""

import pytest

from sercli.corpora.corpus import Corpus
from sercli.corpora.registry import CORPORA, get_corpus
from sercli.errors import UsageError
from sercli.labels import EMOTIONS


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA)
def test_every_corpus_says_what_it_is(corpus: Corpus) -> None:
    assert corpus.title
    assert corpus.citation
    assert corpus.license
    assert corpus.label_map
    assert set(corpus.label_map.values()) <= set(EMOTIONS)
    assert set(corpus.counts) <= set(corpus.label_map.values())
    assert corpus.needs_labels or corpus.page.startswith("https://")
    assert get_corpus(corpus.name) is corpus


def test_unknown_corpus_lists_the_known() -> None:
    with pytest.raises(UsageError, match="unknown corpus 'emo': expected one of ravdess, nemo, csv"):
        get_corpus("emo")
