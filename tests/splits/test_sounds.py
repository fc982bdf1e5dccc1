from dataclasses import replace

import pytest

from sercli.errors import SplitError
from sercli.splits.development import make_training_split
from sercli.splits.protocols import make_folds
from tests.splits.indexes import BOTH, INDEX


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
    with pytest.raises(SplitError, match="no utterance of 'calm' for training"):
        make_folds(replace(INDEX, utterances=shared), "loso", 0)


def test_across_corpora_a_recording_that_both_have_does_not_train() -> None:
    first = next(u for u in BOTH.utterances if u.corpus == "nemo")
    twin = next(u for u in BOTH.utterances if u.corpus == "ravdess" and not u.duplicate_of)
    index = replace(
        BOTH, utterances=tuple(replace(u, duplicate_of=twin.file) if u == first else u for u in BOTH.utterances)
    )
    (fold,) = make_folds(index, "cross-ravdess-to-nemo", 0)
    files = {index.utterances[n].file for n in (*fold.train, *fold.dev)}
    assert twin.file not in files
