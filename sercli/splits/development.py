"""Holds out development utterances, for folds and for models that will be used."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sercli.corpora.index import Index
from sercli.errors import SplitError
from sercli.splits.fold import Fold, check_fold
from sercli.splits.sounds import group_by_sound, leave_sounds_out, split_off_share

if TYPE_CHECKING:
    import numpy as np

DEV_SHARE = 1 / 9  # fraction of the non-test utterances: a tenth of all, like the test side of the paper
DRAWS = 50  # draws of development speakers until both sides have all labels
MAX_DEV_SPEAKERS = 2  # development speakers per corpus; one of each gender where genders are known


def make_training_split(index: Index, seed: int) -> Fold:
    """Splits an index into training and development utterances, for a model without a test side.

    Holds out speakers of each corpus with more than 2 speakers if all are known; for other corpora, a stratified ninth
    of the utterances.

    Args:
        index: Utterances to split.
        seed: Seed of the draws.

    Raises:
        SplitError: If there are fewer than 2 emotions, or too few utterances of one.
    """
    import numpy as np  # slow to import, and help texts read this module

    emotions = sorted({utterance.emotion for utterance in index.utterances})
    if len(emotions) < 2:
        msg = f"a model needs utterances of at least 2 emotions to learn from, found {', '.join(emotions) or 'none'}"
        raise SplitError(msg)
    generator = np.random.default_rng([seed, 0])
    train: list[int] = []
    dev: list[int] = []
    by_speaker: list[int] = []  # of all such corpora together, because they may share speakers
    others: list[list[int]] = []
    for corpus in index.corpora:
        members = [number for number, u in enumerate(index.utterances) if u.corpus == corpus]
        speakers = {index.utterances[number].speaker for number in members}
        if "" not in speakers and len(speakers) > MAX_DEV_SPEAKERS:
            by_speaker += members
        else:
            others.append(members)
    for members in filter(None, [by_speaker, *others]):
        train_part, dev_part = hold_out_development(index, members, generator, by_speaker=members is by_speaker)
        train += train_part
        dev += dev_part
    fold = Fold(number=1, train=tuple(leave_sounds_out(index, train, dev)), dev=tuple(sorted(dev)), test=())
    check_fold(index, fold, speaker_independent=False)
    return fold


def hold_out_development(
    index: Index, rest: Sequence[int], generator: "np.random.Generator", *, by_speaker: bool
) -> tuple[list[int], list[int]]:
    """Splits non-test utterances into training and development.

    Args:
        index: Index of all utterances.
        rest: Positions of the non-test utterances.
        generator: Random generator.
        by_speaker: Whether to hold out whole speakers rather than a stratified ninth of the utterances.

    Returns:
        Training and development positions, ascending; duplicates stay on one side.

    Raises:
        SplitError: If there are too few speakers, or too few utterances of an emotion.
    """
    if by_speaker:
        draws = (_draw_speakers(index, rest, generator) for _ in range(DRAWS))
        sides = ([number for number in rest if index.utterances[number].speaker in held] for held in draws)
        first = next(sides)
        candidates = itertools.chain([first], sides)
        dev = next((side for side in candidates if _has_all_labels(index, rest, side)), first)
    else:
        groups = group_by_sound(index, rest)
        _, dev_groups = split_off_share(index, groups, DEV_SHARE, int(generator.integers(2**31)))
        dev = [number for group in dev_groups for number in group]
    return leave_sounds_out(index, rest, dev), sorted(dev)


def _has_all_labels(index: Index, rest: Sequence[int], dev: Sequence[int]) -> bool:
    """Whether both the development and the training utterances have all labels."""
    dev_labels, labels = ({index.utterances[number].emotion for number in side} for side in (dev, rest))
    held = set(dev)
    return dev_labels == labels == {index.utterances[number].emotion for number in rest if number not in held}


def _draw_speakers(index: Index, rest: Sequence[int], generator: "np.random.Generator") -> list[str]:
    """Draws one speaker of each gender per corpus, or `MAX_DEV_SPEAKERS` of any if genders are unknown."""
    by_corpus: dict[str, list[int]] = defaultdict(list)
    for number in rest:
        by_corpus[index.utterances[number].corpus].append(number)
    return [s for _, members in sorted(by_corpus.items()) for s in _draw_from_corpus(index, members, generator)]


def _draw_from_corpus(index: Index, rest: Sequence[int], generator: "np.random.Generator") -> list[str]:
    by_gender: dict[str, set[str]] = defaultdict(set)
    for number in rest:
        by_gender[index.utterances[number].gender].add(index.utterances[number].speaker)
    speakers = sorted(set().union(*by_gender.values()))
    if "" in speakers or len(speakers) <= MAX_DEV_SPEAKERS:
        unknown = sum(not index.utterances[number].speaker for number in rest)
        msg = (
            f"a speaker-independent split needs more than {MAX_DEV_SPEAKERS} speakers of each corpus besides those "
            f"that test, all of them known; found {len(set(speakers) - {''})} of {index.utterances[rest[0]].corpus}, "
            f"and {unknown} utterances without a speaker"
        )
        raise SplitError(msg)
    genders = sorted(gender for gender in by_gender if gender)
    if len(genders) == MAX_DEV_SPEAKERS:
        return [str(generator.choice(sorted(by_gender[gender]))) for gender in genders]
    return [str(name) for name in generator.choice(speakers, MAX_DEV_SPEAKERS, replace=False)]
