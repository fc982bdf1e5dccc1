"""Folds for a search: the test side is taken out, and the other speakers take turns as development speakers."""

from dataclasses import replace

from sercli.corpora.index import Index
from sercli.errors import SplitError, UsageError
from sercli.splits.fold import Fold, check_fold
from sercli.splits.protocols import get_protocol, make_folds
from sercli.splits.sounds import leave_sounds_out


def hold_out_test(index: Index, protocol: str, number: int, seed: int) -> tuple[Index, tuple[str, ...]]:
    """Takes the test side of a fold out of an index.

    Returns:
        the utterances that are left, and the speakers that are not.

    Raises:
        UsageError: If there is no such protocol or fold, or its speakers are on several sides.
        SplitError: If the corpora do not fit the protocol.
    """
    rules = get_protocol(protocol)
    if not rules.speaker_independent:
        msg = f"protocol {protocol} tests speakers that are trained on: tune with a speaker-independent one, as pooled"
        raise UsageError(msg)
    index = rules.select(index)
    folds = make_folds(index, protocol, seed)
    if not 1 <= number <= len(folds):
        msg = f"protocol {protocol} has folds 1 to {len(folds)}, found {number}"
        raise UsageError(msg)
    fold = folds[number - 1]
    test = {index.utterances[member].speaker for member in fold.test}
    # What shares a sound with the test side is on neither side.
    kept = tuple(index.utterances[member] for member in sorted((*fold.train, *fold.dev)))
    return replace(index, utterances=kept), tuple(sorted(test))


def make_inner_folds(index: Index, count: int, seed: int) -> tuple[Fold, ...]:
    """Divides all speakers into folds, alternating between corpora and genders; each fold is the development side once.

    Raises:
        UsageError: If fewer than 2 folds are asked for.
        SplitError: If there are fewer speakers than folds, or a side lacks a label.
    """
    if count < 2:
        msg = f"at least 2 inner folds are needed, found {count}"
        raise UsageError(msg)
    kinds = {u.speaker: (u.corpus, u.gender) for u in index.utterances}
    if len(kinds) < count:
        msg = f"{count} inner folds need as many speakers, found {len(kinds)}: ask for fewer --folds"
        raise SplitError(msg)
    import numpy as np  # as the other protocols, so that help texts are quick

    drawn = np.random.default_rng([seed, 1]).permutation(sorted(kinds)).tolist()
    ordered = sorted(drawn, key=lambda speaker: kinds[speaker])
    folds = []
    for number in range(count):
        held = set(ordered[number::count])
        dev = [member for member, u in enumerate(index.utterances) if u.speaker in held]
        rest = [member for member, u in enumerate(index.utterances) if u.speaker not in held]
        fold = Fold(number=number + 1, train=tuple(leave_sounds_out(index, rest, dev)), dev=tuple(dev), test=())
        check_fold(index, fold, speaker_independent=True)
        folds.append(fold)
    return tuple(folds)
