"""Dividing utterances so that those of one sound, which are duplicates, stay together."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

from sercli.corpora.index import Index
from sercli.errors import SplitError


def group_by_sound(index: Index, members: Sequence[int]) -> list[list[int]]:
    """Positions grouped by sound, so that duplicates move together."""
    groups: dict[str, list[int]] = defaultdict(list)
    for number in members:
        groups[index.utterances[number].sound].append(number)
    return list(groups.values())


def leave_sounds_out(index: Index, members: Sequence[int], others: Sequence[int]) -> list[int]:
    """The members whose sound none of the others has: a duplicate is left out rather than leaked."""
    sounds = {index.utterances[number].sound for number in others}
    return sorted(number for number in members if index.utterances[number].sound not in sounds)


def divide_evenly(
    index: Index, groups: list[list[int]], splitter: StratifiedKFold | StratifiedShuffleSplit
) -> list[tuple[list[int], list[int]]]:
    """Splits groups of positions evenly over the emotions, as pairs of numbers of groups.

    Raises:
        SplitError: if an emotion has too few groups.
    """
    emotions = [index.utterances[group[0]].emotion for group in groups]
    least, count = min(Counter(emotions).items(), key=lambda item: item[1]) if emotions else ("any", 0)
    needed = splitter.get_n_splits() if isinstance(splitter, StratifiedKFold) else 2
    try:
        if count < needed:
            msg = f"{count} utterances of {least} can be told apart, at least {needed} are needed"
            raise ValueError(msg)
        return [(rest.tolist(), test.tolist()) for rest, test in splitter.split(np.zeros((len(groups), 1)), emotions)]
    except ValueError as reason:
        msg = f"a stratified split cannot be made: {reason}"
        raise SplitError(msg) from None
