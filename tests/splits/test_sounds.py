from dataclasses import replace
from pathlib import Path

import pytest

from sercli.corpora.index import read_index
from sercli.errors import SplitError
from sercli.splits.development import make_training_split
from sercli.splits.protocols import make_folds
from tests.splits.indexes import BOTH, INDEX, OF_RAVDESS, side_of


def test_sounds_that_corpora_or_speakers_share_are_left_out_of_training() -> None:
    copies = tuple(
        replace(u, corpus="csv", file=f"csv/{n}.wav", speaker="csv-1", duplicate_of=u.file)
        for n, u in enumerate(INDEX.utterances)
        if u.speaker in {"ravdess-01", "ravdess-02", "ravdess-03"}
    )
    for seed in range(5):
        make_training_split(replace(INDEX, utterances=(*copies, *INDEX.utterances)), seed)
    shared = tuple(
        replace(u, duplicate_of=INDEX.utterances[0].file) if u.emotion == "calm" else u for u in INDEX.utterances
    )
    # All utterances of a label with one sound are on one side.
    with pytest.raises(SplitError, match="no utterance of 'calm' to train on"):
        make_folds(replace(INDEX, utterances=shared), "loso", 0)


@pytest.mark.corpus
def test_the_duplicates_of_the_real_corpus_stay_together(corpora: Path, tmp_path: Path) -> None:
    from sercli.corpora.prepare import Request, prepare_corpus
    from sercli.corpora.registry import get_corpus

    request = Request(
        corpus=get_corpus("ravdess"),
        index=tmp_path / "index.csv",
        data_dir=tmp_path,
        source=corpora / "ravdess",
        jobs=2,
    )
    prepare_corpus(request)
    index = read_index(tmp_path / "index.csv")
    pair = [n for n, u in enumerate(index.utterances) if u.duplicate_of]
    original = next(n for n, u in enumerate(index.utterances) if u.file == index.utterances[pair[0]].duplicate_of)
    for protocol in set(OF_RAVDESS) - {"split"}:
        for fold in make_folds(index, protocol, 0):
            assert side_of(fold, pair[0]) == side_of(fold, original)


def test_across_corpora_a_recording_that_both_have_does_not_train() -> None:
    first = next(u for u in BOTH.utterances if u.corpus == "nemo")
    twin = next(u for u in BOTH.utterances if u.corpus == "ravdess" and not u.duplicate_of)
    index = replace(
        BOTH, utterances=tuple(replace(u, duplicate_of=twin.file) if u == first else u for u in BOTH.utterances)
    )
    (fold,) = make_folds(index, "cross-ravdess-to-nemo", 0)
    files = {index.utterances[n].file for n in (*fold.train, *fold.dev)}
    assert twin.file not in files
