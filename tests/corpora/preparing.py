"""Preparing a corpus below the folder of a test."""

from pathlib import Path
from typing import Any

from sercli.corpora.corpus import Corpus
from sercli.corpora.datasets import ravdess
from sercli.corpora.download import RetryPolicy
from sercli.corpora.index import Index, read_index
from sercli.corpora.prepare import PrepareResult, Request, prepare_corpus

HASTY = RetryPolicy(attempts=2, first_wait=0.01, longest_wait=0.01, timeout=5)
NAME = "Actor_01/03-01-03-01-01-01-01.wav"


def request(tmp_path: Path, corpus: Corpus = ravdess.CORPUS, **fields: Any) -> Request:
    data = tmp_path / "data"
    return Request(corpus=corpus, index=data / "index.csv", data_dir=data, policy=HASTY, **fields)


def prepare(tmp_path: Path, corpus: Corpus = ravdess.CORPUS, **fields: Any) -> PrepareResult:
    return prepare_corpus(request(tmp_path, corpus, **fields))


def read(tmp_path: Path) -> Index:
    return read_index(tmp_path / "data/index.csv")
