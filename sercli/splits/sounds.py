"""Stratified splits that keep duplicates (utterances with the same sound) together."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sercli.corpora.index import Index
from sercli.errors import SplitError

if TYPE_CHECKING:
    from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit


def group_by_sound(index: Index, positions: Sequence[int]) -> list[list[int]]:
    """Groups positions by sound, so that duplicates stay together."""
    groups: dict[str, list[int]] = defaultdict(list)
    for position in positions:
        groups[index.utterances[position].sound].append(position)
    return list(groups.values())


def drop_duplicates_of(index: Index, positions: Sequence[int], others: Sequence[int]) -> list[int]:
    """Drops utterances that are one of `others` or duplicate one; returns positions, ascending."""
    sounds = {index.utterances[position].sound for position in others}
    return sorted(position for position in positions if index.utterances[position].sound not in sounds)


def split_into_folds(
    index: Index, groups: list[list[int]], folds: int, seed: int
) -> list[tuple[list[list[int]], list[list[int]]]]:
    """Splits groups of positions into stratified folds; returns pairs of (rest, held out).

    Raises:
        SplitError: If an emotion has fewer groups than there are folds.
    """
    from sklearn.model_selection import StratifiedKFold  # slow to import, and help texts read this module

    _check_emotions(index, groups, least=folds)
    return _split(index, groups, StratifiedKFold(folds, shuffle=True, random_state=seed))


def split_off_share(
    index: Index, groups: list[list[int]], share: float, seed: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Holds out a stratified random share (0 to 1) of groups of positions; returns (rest, held out).

    Raises:
        SplitError: If an emotion has fewer than 2 groups, or the share has fewer groups than there are emotions.
    """
    from sklearn.model_selection import StratifiedShuffleSplit

    n_emotions = _check_emotions(index, groups, least=2)
    if math.ceil(share * len(groups)) < n_emotions:
        n_enough = math.floor((n_emotions - 1) / share) + 1
        msg = (
            f"too few utterances for a stratified split: expected at least {n_enough} without duplicates for "
            f"{n_emotions} emotions, found {len(groups)}"
        )
        raise SplitError(msg)
    return _split(index, groups, StratifiedShuffleSplit(1, test_size=share, random_state=seed))[0]


def _check_emotions(index: Index, groups: list[list[int]], *, least: int) -> int:
    """Checks that each emotion has enough groups; returns the number of emotions."""
    counts = Counter(index.utterances[group[0]].emotion for group in groups)
    emotion, count = min(counts.items(), key=lambda item: item[1], default=("any emotion", 0))
    if count < least:
        msg = (
            f"too few utterances for a stratified split: expected at least {least} of each emotion, without "
            f"duplicates, found {count} of {emotion}; add some, or list only the other labels in --emotions"
        )
        raise SplitError(msg)
    return len(counts)


def _split(
    index: Index, groups: list[list[int]], splitter: "StratifiedKFold | StratifiedShuffleSplit"
) -> list[tuple[list[list[int]], list[list[int]]]]:
    emotions = [index.utterances[group[0]].emotion for group in groups]
    return [
        ([groups[n] for n in rest], [groups[n] for n in held_out])
        for rest, held_out in splitter.split([[n] for n in range(len(groups))], emotions)
    ]
