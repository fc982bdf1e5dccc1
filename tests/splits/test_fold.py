from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sercli.errors import SplitError
from sercli.splits.fold import Fold, check_fold
from sercli.splits.protocols import make_folds
from tests.splits.indexes import INDEX


def with_side(fold: Fold, side: str, members: tuple[int, ...]) -> Fold:
    sides = {name: getattr(fold, name) for name in ("train", "dev", "test")} | {side: members}
    return Fold(number=fold.number, train=sides["train"], dev=sides["dev"], test=sides["test"])


@given(kind=st.sampled_from(["utterance", "sound", "speaker"]), sides=st.permutations(["train", "dev", "test"]))
@settings(max_examples=20)
def test_a_leak_is_found_whatever_leaks(kind: str, sides: list[str]) -> None:
    fold = make_folds(INDEX, "emobox", 0)[0]
    source, target = sides[:2]
    position = getattr(fold, source)[0]
    index = INDEX
    if kind == "sound":
        other = getattr(fold, target)[0]
        utterances = list(INDEX.utterances)
        utterances[other] = replace(utterances[other], duplicate_of=utterances[position].sound)
        index = replace(INDEX, utterances=tuple(utterances))
        broken = fold
    elif kind == "speaker":
        broken = with_side(fold, target, (*getattr(fold, target), position))
        broken = with_side(broken, source, getattr(fold, source)[1:])
    else:
        broken = with_side(fold, target, (*getattr(fold, target), position))
    with pytest.raises(SplitError, match=f"leaks: {kind}"):
        check_fold(index, broken, speaker_independent=kind != "utterance")


@pytest.mark.parametrize("side", ["train", "dev"])
def test_an_empty_side_is_refused(side: str) -> None:
    fold = with_side(make_folds(INDEX, "paper", 0)[0], side, ())
    with pytest.raises(SplitError, match=f"no {side} utterances"):
        check_fold(INDEX, fold, speaker_independent=False)
