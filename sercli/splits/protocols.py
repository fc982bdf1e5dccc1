"""The named ways to divide a corpus, those of papers among them."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

from sercli.corpora.index import Index
from sercli.errors import SplitError, UsageError
from sercli.splits.development import cut_development
from sercli.splits.fold import Fold, check_fold
from sercli.splits.sounds import divide_evenly, group_by_sound, leave_sounds_out

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

POOLED_FOLDS = 6  # as many as EmoBox has

_CROSS_NAME = re.compile(r"cross-(?P<train>.+)-to-(?P<test>.+)")


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
        train, dev = cut_development(index, rest, generator, by_speaker=rules.speaker_independent)
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
        train, test = cross["train"].split("+"), cross["test"].split("+")
        return _cross_corpus(name_cross_protocol(train, test), train, test)
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


def _check_complete(index: Index, folds: Sequence[Fold]) -> None:
    tested = Counter(number for fold in folds for number in fold.test)
    if sorted(tested) != list(range(len(index))) or set(tested.values()) != {1}:
        msg = f"the folds should test each of the {len(index)} utterances once, found {sum(tested.values())} tests"
        raise SplitError(msg)


def _stratified(folds: int | None) -> Callable[[Index, int], list[tuple[list[int], list[int]]]]:
    """Random folds, or one random tenth for None."""

    def make(index: Index, seed: int) -> list[tuple[list[int], list[int]]]:
        groups = group_by_sound(index, range(len(index)))
        splitter = (
            StratifiedShuffleSplit(1, test_size=0.1, random_state=seed)
            if folds is None
            else StratifiedKFold(folds, shuffle=True, random_state=seed)
        )
        return [
            ([n for g in rest for n in groups[g]], [n for g in test for n in groups[g]])
            for rest, test in divide_evenly(index, groups, splitter)
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
        return [(leave_sounds_out(index, rest, tested), tested)]

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
    return leave_sounds_out(index, rest, test), test


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
