"""Who trains, who is looked at while training, and who tests: folds that cannot leak.

Every fold is checked by `check_fold` before it is handed out: no utterance, no sound and, in
speaker-independent protocols, no speaker stands on two sides. Altered copies are not in the index at all; they
follow their original when training reads the store.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

from sercli.corpora.index import Index
from sercli.errors import SplitError, UsageError

EMOBOX_TEST_SPEAKERS: tuple[tuple[int, ...], ...] = (
    (1, 11, 20, 21),
    (4, 10, 12, 14),
    (8, 9, 19, 23),
    (3, 5, 7, 24),
    (2, 15, 16, 18),
    (6, 13, 17, 22),
)
"""RAVDESS actors that test each fold of EmoBox (Ma et al. 2024, github.com/emo-box/EmoBox, data/ravdess)."""

LUNA_TEST_SPEAKERS: tuple[tuple[int, ...], ...] = (
    (2, 5, 14, 15, 16),
    (3, 6, 7, 13, 18),
    (10, 11, 12, 19, 20),
    (8, 17, 21, 23, 24),
    (1, 4, 9, 22),
)
"""RAVDESS actors that test each fold of Luna-Jiménez et al. 2022 (Applied Sciences 12:327)."""

DEV_SHARE = 1 / 9  # of what is not test, where whole speakers are not held out: a tenth of all beside a test of a tenth
MAX_DEV_SPEAKERS = 2  # of a corpus; one of each gender where it tells
POOLED_FOLDS = 6  # as many as EmoBox has

_CROSS_NAME = re.compile(r"cross-(?P<train>.+)-to-(?P<test>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One division of an index; each side holds positions in ``index.utterances``, ascending.

    Attributes:
        number: from 1.
        train: utterances the network learns from.
        dev: utterances that stop the training and set the calibration; cut from training.
        test: utterances that are scored; empty when a model is trained for use.
    """

    number: int
    train: tuple[int, ...]
    dev: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A named way to divide a corpus.

    Attributes:
        name: as in ``--protocol``.
        description: one line.
        speaker_independent: whether the speakers of test and dev are unseen in training.
        complete: whether the folds together test every utterance once.
        make: from index and seed to pairs of (rest, test) positions.
        select: the part of an index that takes part; `make` is given that part.
    """

    name: str
    description: str
    speaker_independent: bool
    complete: bool
    make: Callable[[Index, int], list[tuple[list[int], list[int]]]]
    select: Callable[[Index], Index] = lambda index: index


def make_folds(index: Index, protocol: str, seed: int) -> tuple[Fold, ...]:
    """Divides an index by a named protocol; the development part is drawn by the seed.

    Args:
        index: what the protocol's `Protocol.select` has left.
        protocol: a name that `get_protocol` knows.
        seed: of all draws.

    Raises:
        UsageError: if there is no such protocol.
        SplitError: if the corpus does not fit the protocol, or a fold would leak.
    """
    rules = get_protocol(protocol)
    folds = []
    for number, (rest, test) in enumerate(rules.make(index, seed), start=1):
        generator = np.random.default_rng([seed, number])
        train, dev = _cut_dev(index, rest, generator, by_speaker=rules.speaker_independent)
        fold = Fold(number=number, train=tuple(train), dev=tuple(dev), test=tuple(sorted(test)))
        check_fold(index, fold, speaker_independent=rules.speaker_independent)
        folds.append(fold)
    if rules.complete:
        _check_complete(index, folds)
    return tuple(folds)


def get_protocol(name: str) -> Protocol:
    """The protocol of that name, one of `PROTOCOLS` or as `name_cross_protocol` makes them.

    Raises:
        UsageError: if there is none; the message lists those there are.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    if cross := _CROSS_NAME.fullmatch(name):
        return _cross_corpus(name, cross["train"].split("+"), cross["test"].split("+"))
    msg = f"unknown protocol {name!r}: expected cross or one of {', '.join(PROTOCOLS)}"
    raise UsageError(msg)


def name_cross_protocol(train: Sequence[str], test: Sequence[str]) -> str:
    """Name of the protocol that trains on all of some corpora and tests on all of others.

    Only the emotions that both sides have take part.

    Raises:
        UsageError: if a side is empty, or a corpus is on both.
    """
    if not train or not test or set(train) & set(test):
        msg = (
            f"training and testing across corpora needs different ones on either side, found "
            f"{', '.join(train) or 'none'} to train and {', '.join(test) or 'none'} to test"
        )
        raise UsageError(msg)
    return f"cross-{'+'.join(train)}-to-{'+'.join(test)}"


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
        kept, held = _cut_dev(index, members, generator, by_speaker=known)
        train += kept
        dev += held
    fold = Fold(number=1, train=tuple(_without_sounds(index, train, dev)), dev=tuple(sorted(dev)), test=())
    emotions = sorted({index.utterances[number].emotion for number in fold.train})
    if len(emotions) < 2:
        msg = f"a model needs utterances of at least 2 emotions to learn from, found {', '.join(emotions) or 'none'}"
        raise SplitError(msg)
    check_fold(index, fold, speaker_independent=False)
    return fold


def check_fold(index: Index, fold: Fold, *, speaker_independent: bool) -> None:
    """Makes sure that a fold does not leak.

    Raises:
        SplitError: if a side that must not be is empty, or if an utterance, a sound or (where asked for) a
            speaker stands on two sides; the message names it.
    """
    for name in ("train", "dev"):
        if not getattr(fold, name):
            msg = f"fold {fold.number} has no {name} utterances: the corpus is too small for this protocol"
            raise SplitError(msg)
    kinds: list[tuple[str, Callable[[int], str]]] = [
        ("utterance", lambda number: index.utterances[number].file),
        ("sound", lambda number: index.utterances[number].sound),
    ]
    if speaker_independent:
        kinds.append(("speaker", lambda number: index.utterances[number].speaker))
    for kind, name_of in kinds:
        side_of: dict[str, str] = {}
        for side in ("train", "dev", "test"):
            for number in getattr(fold, side):
                name = name_of(number)
                if side_of.setdefault(name, side) != side:
                    msg = f"fold {fold.number} leaks: {kind} {name!r} is in {side_of[name]} and in {side}"
                    raise SplitError(msg)


def _check_complete(index: Index, folds: Sequence[Fold]) -> None:
    tested = Counter(number for fold in folds for number in fold.test)
    if sorted(tested) != list(range(len(index))) or set(tested.values()) != {1}:
        msg = f"the folds should test each of the {len(index)} utterances once, found {sum(tested.values())} tests"
        raise SplitError(msg)


def _cut_dev(
    index: Index, rest: Sequence[int], generator: np.random.Generator, *, by_speaker: bool
) -> tuple[list[int], list[int]]:
    if by_speaker:
        held = set(_draw_speakers(index, rest, generator))
        dev = [number for number in rest if index.utterances[number].speaker in held]
    else:
        groups = _sounds(index, rest)
        parts = StratifiedShuffleSplit(1, test_size=DEV_SHARE, random_state=int(generator.integers(2**31)))
        _, dev_groups = _divide(index, groups, parts)[0]
        dev = [number for group in dev_groups for number in groups[group]]
    return _without_sounds(index, rest, dev), sorted(dev)


def _without_sounds(index: Index, members: Sequence[int], others: Sequence[int]) -> list[int]:
    """The members whose sound none of the others has: a duplicate is left out rather than leaked."""
    sounds = {index.utterances[number].sound for number in others}
    return sorted(number for number in members if index.utterances[number].sound not in sounds)


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


def _sounds(index: Index, members: Sequence[int]) -> list[list[int]]:
    """Positions grouped by sound, so that duplicates move together."""
    groups: dict[str, list[int]] = defaultdict(list)
    for number in members:
        groups[index.utterances[number].sound].append(number)
    return list(groups.values())


def _divide(
    index: Index, groups: list[list[int]], splitter: StratifiedKFold | StratifiedShuffleSplit
) -> list[tuple[list[int], list[int]]]:
    """Splits groups evenly over the emotions."""
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


def _stratified(folds: int | None) -> Callable[[Index, int], list[tuple[list[int], list[int]]]]:
    """Random folds, or one random tenth for None."""

    def make(index: Index, seed: int) -> list[tuple[list[int], list[int]]]:
        groups = _sounds(index, range(len(index)))
        splitter = (
            StratifiedShuffleSplit(1, test_size=0.1, random_state=seed)
            if folds is None
            else StratifiedKFold(folds, shuffle=True, random_state=seed)
        )
        return [
            ([n for g in rest for n in groups[g]], [n for g in test for n in groups[g]])
            for rest, test in _divide(index, groups, splitter)
        ]

    return make


def _named_speakers(
    test_speakers: tuple[tuple[int, ...], ...],
) -> Callable[[Index, int], list[tuple[list[int], list[int]]]]:
    """Folds that a paper has published for RAVDESS."""

    def make(index: Index, seed: int) -> list[tuple[list[int], list[int]]]:  # noqa: ARG001 - folds are fixed
        wanted = {f"ravdess-{actor:02d}" for fold in test_speakers for actor in fold}
        found = {utterance.speaker for utterance in index.utterances}
        if found != wanted:
            odd = sorted(wanted ^ found)
            msg = f"this protocol divides the {len(wanted)} speakers of RAVDESS, found {len(found)} speakers: " + (
                f"{odd[0]!r} is missing; prepare all of RAVDESS, or take another protocol"
                if odd[0] in wanted
                else f"{odd[0]!r} is not one of them; choose with --corpora ravdess"
            )
            raise SplitError(msg)
        return [_by_speaker(index, {f"ravdess-{actor:02d}" for actor in actors}) for actors in test_speakers]

    return make


def _leave_one_out(index: Index, seed: int) -> list[tuple[list[int], list[int]]]:  # noqa: ARG001 - no draw
    return [_by_speaker(index, {s}) for s in sorted({utterance.speaker for utterance in index.utterances})]


def _pooled(index: Index, seed: int) -> list[tuple[list[int], list[int]]]:
    """Folds that each test some speakers of every corpus, of each gender in turns."""
    generator = np.random.default_rng([seed, 0])
    folds: list[set[str]] = [set() for _ in range(POOLED_FOLDS)]
    for corpus in index.corpora:
        gender_of = {u.speaker: u.gender for u in index.utterances if u.corpus == corpus}
        drawn = generator.permutation(sorted(gender_of)).tolist()
        for number, speaker in enumerate(sorted(drawn, key=lambda name: gender_of[name])):
            folds[number % POOLED_FOLDS].add(speaker)
    return [_by_speaker(index, speakers) for speakers in folds if speakers]


def _cross_corpus(name: str, train: list[str], test: list[str]) -> Protocol:
    def select(index: Index) -> Index:
        sides = [index.select(names) for names in (train, test)]
        shared = set.intersection(*({u.emotion for u in side.utterances} for side in sides))
        if len(shared) < 2:
            msg = f"the corpora on both sides share {len(shared)} emotions, at least 2 are needed"
            raise SplitError(msg)
        kept = tuple(u for u in index.utterances if u.corpus in {*train, *test} and u.emotion in shared)
        return replace(index, utterances=kept)

    def make(index: Index, seed: int) -> list[tuple[list[int], list[int]]]:  # noqa: ARG001 - no draw
        tested = [number for number, u in enumerate(index.utterances) if u.corpus in test]
        rest = [number for number, u in enumerate(index.utterances) if u.corpus in train]
        return [(_without_sounds(index, rest, tested), tested)]

    return Protocol(
        name=name,
        description=f"train on {' and '.join(train)}, test on {' and '.join(test)}; the emotions that they share",
        speaker_independent=True,
        complete=False,
        make=make,
        select=select,
    )


def _by_speaker(index: Index, speakers: set[str]) -> tuple[list[int], list[int]]:
    test = [number for number, u in enumerate(index.utterances) if u.speaker in speakers]
    rest = [number for number, u in enumerate(index.utterances) if u.speaker not in speakers]
    return _without_sounds(index, rest, test), test


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="paper",
            description="random 80/10/10, even over emotions; the same speakers on all sides",
            speaker_independent=False,
            complete=False,
            make=_stratified(None),
        ),
        Protocol(
            name="random10",
            description="random 10-fold, even over emotions; the same speakers on all sides",
            speaker_independent=False,
            complete=True,
            make=_stratified(10),
        ),
        Protocol(
            name="emobox",
            description="the six speaker-independent folds of EmoBox",
            speaker_independent=True,
            complete=True,
            make=_named_speakers(EMOBOX_TEST_SPEAKERS),
        ),
        Protocol(
            name="luna",
            description="the five speaker-independent folds of Luna-Jiménez et al.",
            speaker_independent=True,
            complete=True,
            make=_named_speakers(LUNA_TEST_SPEAKERS),
        ),
        Protocol(
            name="loso",
            description="leave one speaker out",
            speaker_independent=True,
            complete=True,
            make=_leave_one_out,
        ),
        Protocol(
            name="pooled",
            description=f"{POOLED_FOLDS} speaker-independent folds over all corpora together",
            speaker_independent=True,
            complete=True,
            make=_pooled,
        ),
    )
}
"""The protocols by name; those across corpora have names of their own, see `name_cross_protocol`."""
