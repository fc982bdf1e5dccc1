"""The development side of a fold, and the division for a model that will be used."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import StratifiedShuffleSplit

from sercli.corpora.index import Index
from sercli.errors import SplitError
from sercli.splits.fold import Fold, check_fold
from sercli.splits.sounds import divide_evenly, group_by_sound, leave_sounds_out

DEV_SHARE = 1 / 9  # of what is not test, where whole speakers are not held out: a tenth of all beside a test of a tenth
MAX_DEV_SPEAKERS = 2  # of a corpus; one of each gender where it tells


def make_training_split(index: Index, seed: int) -> Fold:
    """Divides an index for a model that will be used: training, and development speakers to stop it by.

    Speakers of every corpus whose speakers are all known are held out, else a stratified ninth.

    Raises:
        SplitError: if there are too few speakers, too few utterances of an emotion, or too few emotions.
    """
    generator = np.random.default_rng([seed, 0])
    train: list[int] = []
    dev: list[int] = []
    for corpus in index.corpora:
        members = [number for number, u in enumerate(index.utterances) if u.corpus == corpus]
        speakers = {index.utterances[number].speaker for number in members}
        known = "" not in speakers and len(speakers) > MAX_DEV_SPEAKERS
        kept, held = cut_development(index, members, generator, by_speaker=known)
        train += kept
        dev += held
    fold = Fold(number=1, train=tuple(leave_sounds_out(index, train, dev)), dev=tuple(sorted(dev)), test=())
    emotions = sorted({index.utterances[number].emotion for number in fold.train})
    if len(emotions) < 2:
        msg = f"a model needs utterances of at least 2 emotions to learn from, found {', '.join(emotions) or 'none'}"
        raise SplitError(msg)
    check_fold(index, fold, speaker_independent=False)
    return fold


def cut_development(
    index: Index, rest: Sequence[int], generator: np.random.Generator, *, by_speaker: bool
) -> tuple[list[int], list[int]]:
    """Cuts the development side from the positions that do not test.

    Args:
        index: the utterances.
        rest: their positions.
        generator: of the draw.
        by_speaker: whether whole speakers are held out, else a ninth, even over emotions.

    Returns:
        positions that train and that are for development, ascending; what sounds the same is on one side only.

    Raises:
        SplitError: if there are too few speakers, or too few utterances of an emotion.
    """
    if by_speaker:
        held = set(_draw_speakers(index, rest, generator))
        dev = [number for number in rest if index.utterances[number].speaker in held]
    else:
        groups = group_by_sound(index, rest)
        parts = StratifiedShuffleSplit(1, test_size=DEV_SHARE, random_state=int(generator.integers(2**31)))
        _, dev_groups = divide_evenly(index, groups, parts)[0]
        dev = [number for group in dev_groups for number in groups[group]]
    return leave_sounds_out(index, rest, dev), sorted(dev)


def _draw_speakers(index: Index, rest: Sequence[int], generator: np.random.Generator) -> list[str]:
    """Of each corpus one speaker of each gender, or `MAX_DEV_SPEAKERS` of any where it does not tell."""
    by_corpus: dict[str, list[int]] = defaultdict(list)
    for number in rest:
        by_corpus[index.utterances[number].corpus].append(number)
    return [s for _, members in sorted(by_corpus.items()) for s in _draw_from_corpus(index, members, generator)]


def _draw_from_corpus(index: Index, rest: Sequence[int], generator: np.random.Generator) -> list[str]:
    by_gender: dict[str, set[str]] = defaultdict(set)
    for number in rest:
        by_gender[index.utterances[number].gender].add(index.utterances[number].speaker)
    speakers = sorted(set().union(*by_gender.values()))
    if "" in speakers or len(speakers) <= MAX_DEV_SPEAKERS:
        msg = (
            f"a speaker-independent split needs known speakers, more than {MAX_DEV_SPEAKERS} of them beside "
            f"those that test; found {len(set(speakers) - {''})}, and {'some' if '' in speakers else 'no'} recordings "
            "without one"
        )
        raise SplitError(msg)
    genders = sorted(gender for gender in by_gender if gender)
    if len(genders) == MAX_DEV_SPEAKERS:
        return [str(generator.choice(sorted(by_gender[gender]))) for gender in genders]
    return [str(name) for name in generator.choice(speakers, MAX_DEV_SPEAKERS, replace=False)]
