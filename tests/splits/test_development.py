import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from sercli.corpora.index import Index
from sercli.errors import SplitError
from sercli.splits.development import make_training_split
from sercli.splits.split_column import leave_out_test
from tests.splits.indexes import INDEX, SMALL, make_index


@pytest.mark.parametrize("corpus", SMALL)
def test_every_small_corpus_is_trained_on_or_refused(corpus: str) -> None:
    index = SMALL[corpus]
    try:
        fold = make_training_split(index, 0)
    except SplitError:
        return
    assert len({index.utterances[n].emotion for n in fold.train}) > 1
    assert fold.dev


def test_a_training_split_holds_out_speakers_of_every_corpus() -> None:
    nemo = make_index(speakers=9, corpus="nemo", gendered=False)
    both = Index(folder=Path(), utterances=(*nemo.utterances, *INDEX.utterances))
    fold = make_training_split(both, 0)
    dev = {both.utterances[n].speaker for n in fold.dev}
    assert Counter(name.split("-")[0] for name in dev) == {"nemo": 2, "ravdess": 2}
    assert not dev & {both.utterances[n].speaker for n in fold.train}
    assert len(fold.train) + len(fold.dev) == len(both)


def test_speakers_held_out_of_one_corpus_do_not_train_in_a_smaller_one() -> None:
    song = make_index(speakers=2, corpus="ravdess-song")
    shared = [replace(u, speaker=u.speaker.replace("ravdess-song", "ravdess")) for u in song.utterances]
    both = Index(folder=Path(), utterances=(*INDEX.utterances, *shared))
    met = 0
    for seed in range(60):
        fold = make_training_split(both, seed)
        dev, train = (
            {(u.corpus, u.speaker) for u in (both.utterances[n] for n in split)} for split in (fold.dev, fold.train)
        )
        held_out = {speaker for corpus, speaker in dev if corpus == "ravdess"}
        assert not held_out & {speaker for _, speaker in train}
        assert set(fold.train) | set(fold.dev) == set(range(len(both)))
        met += bool(held_out & {u.speaker for u in shared})
    assert met > 2


def test_a_training_split_without_speakers_is_random() -> None:
    unnamed = replace(INDEX, utterances=tuple(replace(u, speaker="") for u in INDEX.utterances))
    fold = make_training_split(unnamed, 0)
    assert len(fold.dev) == pytest.approx(len(INDEX) / 9, abs=2)


def test_a_training_split_is_random_where_one_speaker_is_unknown() -> None:
    first, *others = INDEX.utterances
    fold = make_training_split(replace(INDEX, utterances=(replace(first, speaker=""), *others)), 0)
    assert len(fold.dev) == pytest.approx(len(INDEX) / 9, abs=2)
    assert len(fold.train) + len(fold.dev) == len(INDEX)


def test_nothing_is_learned_from_one_emotion() -> None:
    sad = replace(INDEX, utterances=tuple(u for u in INDEX.utterances if u.emotion == "sad"))
    with pytest.raises(SplitError, match="at least 2 emotions to learn from, found sad"):
        make_training_split(sad, 0)


def mark(index: Index, *words: str) -> Index:
    marks = itertools.cycle(words)
    return replace(index, utterances=tuple(replace(u, extra={"split": next(marks)}) for u in index.utterances))


def test_marked_utterances_are_the_development_side() -> None:
    index = mark(INDEX, "dev", "train", "")
    fold = make_training_split(index, 0)
    assert [index.utterances[n].extra["split"] for n in fold.dev] == ["dev"] * len(fold.dev)
    assert len(fold.dev) == len(INDEX) / 3
    dev = {index.utterances[n].sound for n in fold.dev}
    assert {index.utterances[n].extra["split"] for n in fold.train} == {"train", ""}
    assert set(fold.train) == {n for n, u in enumerate(index.utterances) if u.sound not in dev}
    assert make_training_split(index, 1) == fold, "nothing is drawn"
    calm = {"calm": {"split": "train"}}
    rows = tuple(replace(u, extra=calm.get(u.emotion, u.extra)) for u in index.utterances)
    with pytest.raises(SplitError, match="no utterance of 'calm' is marked dev"):
        make_training_split(replace(index, utterances=rows), 0)


def test_neither_tested_utterances_nor_their_copies_are_kept() -> None:
    index = mark(INDEX, "Test", "train", "dev", "")
    tested = {u.sound for u in index.utterances if u.extra["split"] == "Test"}
    (copy,) = (u for u in index.utterances if u.duplicate_of in tested)
    assert copy.extra["split"] == "train"
    rest = leave_out_test(index)
    assert rest.utterances == tuple(u for u in index.utterances if u.sound not in tested)
    assert leave_out_test(rest) == rest
    with pytest.raises(SplitError, match="marks all utterances as test"):
        leave_out_test(mark(INDEX, "test"))
    with pytest.raises(SplitError, match=r"should be train, dev or test, found 'holdout'"):
        leave_out_test(mark(INDEX, "train", "Holdout"))
