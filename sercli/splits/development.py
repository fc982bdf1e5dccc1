"""Development split, for folds and final models."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sercli.corpora.index import Index
from sercli.errors import SplitError
from sercli.splits.fold import Fold, check_fold
from sercli.splits.sounds import drop_duplicates_of, group_by_sound, split_off_share
from sercli.splits.split_column import list_marked

if TYPE_CHECKING:
    import numpy as np

DEV_SHARE = 1 / 9  # fraction of the non-test utterances: a tenth of all, as in protocol paper
DRAWS = 50  # maximum draws of development speakers until train and dev have all labels
MAX_DEV_SPEAKERS = 2  # development speakers per corpus; one of each gender where genders are known


def make_training_split(index: Index, seed: int) -> Fold:
    """Splits an index into training and development utterances, for a final model.

    Utterances marked ``dev`` in the column ``split`` are the development utterances if there are any. Otherwise, this
    holds out speakers of each corpus with more than 2 speakers if all are known. In the other corpora, it holds out the
    utterances of these same speakers, and a stratified ninth of the utterances by everyone else.

    Args:
        index: Utterances to split.
        seed: Seed of the draws.

    Raises:
        SplitError: If there are fewer than 2 emotions, or too few utterances of one; or if an utterance is marked with
            an unknown split, or none of an emotion is marked ``dev`` while others are.
    """
    import numpy as np  # slow to import, and help texts read this module

    emotions = sorted({utterance.emotion for utterance in index.utterances})
    if len(emotions) < 2:
        msg = f"a model needs at least 2 emotions to learn from, found {', '.join(emotions) or 'none'}"
        raise SplitError(msg)
    if dev := list_marked(index, "dev"):
        marked = {index.utterances[position].emotion for position in dev}
        if lacking := [emotion for emotion in emotions if emotion not in marked]:
            msg = (
                f"no utterance of {lacking[0]!r} is marked dev in the column split of the index: mark some as dev, or "
                "none of any emotion, to have development speakers drawn"
            )
            raise SplitError(msg)
        train = drop_duplicates_of(index, range(len(index)), dev)
    else:
        train, dev = _draw_development(index, np.random.default_rng([seed, 0]))
    fold = Fold(number=1, train=tuple(train), dev=tuple(sorted(dev)), test=())
    check_fold(index, fold, speaker_independent=False)
    return fold


def _draw_development(index: Index, generator: "np.random.Generator") -> tuple[list[int], list[int]]:
    train: list[int] = []
    dev: list[int] = []
    by_speaker: list[int] = []  # of all such corpora together, because they may share speakers
    others: list[list[int]] = []
    for corpus in index.corpora:
        positions = [position for position, u in enumerate(index.utterances) if u.corpus == corpus]
        speakers = {index.utterances[position].speaker for position in positions}
        if "" not in speakers and len(speakers) > MAX_DEV_SPEAKERS:
            by_speaker += positions
        else:
            others.append(positions)
    if by_speaker:
        train, dev = hold_out_development(index, by_speaker, generator, by_speaker=True)
    held_out, trained = ({index.utterances[position].speaker for position in split} for split in (dev, train))
    for positions in others:
        dev += [position for position in positions if index.utterances[position].speaker in held_out]
        train += [position for position in positions if index.utterances[position].speaker in trained]
        rest = [position for position in positions if index.utterances[position].speaker not in held_out | trained]
        if rest:
            train_part, dev_part = hold_out_development(index, rest, generator, by_speaker=False)
            train += train_part
            dev += dev_part
    return drop_duplicates_of(index, train, dev), dev


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
        Training and development positions, ascending; duplicates stay together.

    Raises:
        SplitError: If there are too few speakers, or too few utterances of an emotion.
    """
    if by_speaker:
        draws = (_draw_speakers(index, rest, generator) for _ in range(DRAWS))
        splits = ([n for n in rest if index.utterances[n].speaker in speakers] for speakers in draws)
        first = next(splits)
        dev = next((dev for dev in itertools.chain([first], splits) if _has_all_labels(index, rest, dev)), first)
    else:
        groups = group_by_sound(index, rest)
        _, dev_groups = split_off_share(index, groups, DEV_SHARE, int(generator.integers(2**31)))
        dev = [position for group in dev_groups for position in group]
    return drop_duplicates_of(index, rest, dev), sorted(dev)


def _has_all_labels(index: Index, rest: Sequence[int], dev: Sequence[int]) -> bool:
    """Whether both the development and the training utterances have all labels."""
    train = set(rest) - set(dev)
    labels = [{index.utterances[position].emotion for position in split} for split in (dev, train, rest)]
    return labels[0] == labels[1] == labels[2]


def _draw_speakers(index: Index, rest: Sequence[int], generator: "np.random.Generator") -> list[str]:
    """Draws one speaker of each gender per corpus, or `MAX_DEV_SPEAKERS` of any if genders are unknown."""
    by_corpus: dict[str, list[int]] = defaultdict(list)
    for position in rest:
        by_corpus[index.utterances[position].corpus].append(position)
    return [s for _, positions in sorted(by_corpus.items()) for s in _draw_from_corpus(index, positions, generator)]


def _draw_from_corpus(index: Index, rest: Sequence[int], generator: "np.random.Generator") -> list[str]:
    by_gender: dict[str, set[str]] = defaultdict(set)
    for position in rest:
        by_gender[index.utterances[position].gender].add(index.utterances[position].speaker)
    speakers = sorted(set().union(*by_gender.values()))
    if "" in speakers or len(speakers) <= MAX_DEV_SPEAKERS:
        n_unknown = sum(not index.utterances[position].speaker for position in rest)
        msg = (
            f"expected more than {MAX_DEV_SPEAKERS} known speakers per corpus besides those of the test, found "
            f"{len(set(speakers) - {''})} of {index.utterances[rest[0]].corpus}, and {n_unknown} utterances without a "
            "speaker: train on a corpus with more speakers"
        )
        raise SplitError(msg)
    genders = sorted(gender for gender in by_gender if gender)
    if len(genders) == MAX_DEV_SPEAKERS:
        return [str(generator.choice(sorted(by_gender[gender]))) for gender in genders]
    return [str(name) for name in generator.choice(speakers, MAX_DEV_SPEAKERS, replace=False)]
