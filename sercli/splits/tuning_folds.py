"""Inner cross-validation folds for tuning, without the test speakers."""

from dataclasses import replace

from sercli.corpora.index import Index
from sercli.errors import SplitError, UsageError
from sercli.splits.fold import Fold, check_fold
from sercli.splits.protocols import get_protocol, make_folds
from sercli.splits.sounds import drop_duplicates_of


def hold_out_test(index: Index, protocol: str, number: int, seed: int) -> tuple[Index, tuple[str, ...]]:
    """Removes the test utterances of a fold, and their duplicates, from an index.

    Args:
        index: Index to remove them from.
        protocol: Name of a speaker-independent protocol.
        number: Number of the fold, from 1.
        seed: Seed of the folds.

    Returns:
        Remaining index, and names of the test speakers.

    Raises:
        UsageError: If there is no such protocol or fold, or the protocol is not speaker-independent.
        SplitError: If the corpora do not fit the protocol.
    """
    if not get_protocol(protocol).speaker_independent:
        msg = f"protocol {protocol} tests known speakers: tune with a speaker-independent one, such as pooled"
        raise UsageError(msg)
    index = get_protocol(protocol).select(index)
    folds = make_folds(index, protocol, seed)
    if not 1 <= number <= len(folds):
        msg = f"protocol {protocol} has folds 1 to {len(folds)}, found {number}"
        raise UsageError(msg)
    fold = folds[number - 1]
    test_speakers = {index.utterances[position].speaker for position in fold.test}
    # Duplicates of test utterances are in neither train nor dev.
    kept = tuple(index.utterances[position] for position in sorted((*fold.train, *fold.dev)))
    return replace(index, utterances=kept), tuple(sorted(test_speakers))


def make_inner_folds(index: Index, count: int, seed: int) -> tuple[Fold, ...]:
    """Divides all speakers into groups, alternating between corpora and genders; each is the dev split of one fold.

    Raises:
        UsageError: If `count` is less than 2.
        SplitError: If there are fewer speakers than folds, or a split lacks a label.
    """
    if count < 2:
        msg = f"expected at least 2 inner folds, found {count}"
        raise UsageError(msg)
    groups = {u.speaker: (u.corpus, u.gender) for u in index.utterances}
    if len(groups) < count:
        msg = f"{count} inner folds need as many speakers, found {len(groups)}: lower --folds"
        raise SplitError(msg)
    import numpy as np  # slow to import, and help texts read the protocols

    shuffled = np.random.default_rng([seed, 1]).permutation(sorted(groups)).tolist()
    ordered = sorted(shuffled, key=lambda speaker: groups[speaker])
    folds = []
    for number in range(count):
        speakers = set(ordered[number::count])
        dev = [position for position, u in enumerate(index.utterances) if u.speaker in speakers]
        rest = [position for position, u in enumerate(index.utterances) if u.speaker not in speakers]
        fold = Fold(number=number + 1, train=tuple(drop_duplicates_of(index, rest, dev)), dev=tuple(dev), test=())
        check_fold(index, fold, speaker_independent=True)
        folds.append(fold)
    return tuple(folds)
