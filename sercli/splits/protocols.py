"""Named protocols of train/dev/test splits, those of published papers among them."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sercli.corpora.index import Index
from sercli.errors import SplitError, UsageError
from sercli.splits.development import MAX_DEV_SPEAKERS, hold_out_development
from sercli.splits.fold import Fold, check_fold
from sercli.splits.sounds import group_by_sound, leave_sounds_out, split_into_folds, split_off_share

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
MIN_SPEAKERS = 1 + MAX_DEV_SPEAKERS + 1  # of a corpus: to test, for development, to train on

_Sides = list[tuple[list[int], list[int]]]

_CROSS_NAME = re.compile(r"cross-(?P<train>.+)-to-(?P<test>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A named way to divide a corpus.

    Attributes:
        name: Name in ``--protocol``.
        description: Description in one line.
        speaker_independent: Whether the speakers of test and dev are unseen in training.
        complete: Whether the folds together test every utterance once.
        make: Makes pairs of (rest, test) positions from index and seed.
        select: Selects the utterances of an index that take part; `make` gets those.
        needs_speakers: Whether every corpus needs `MIN_SPEAKERS` speakers, and every utterance a known one.
    """

    name: str
    description: str
    speaker_independent: bool
    complete: bool
    make: Callable[[Index, int], _Sides]
    select: Callable[[Index], Index] = lambda index: index
    needs_speakers: bool = False


def make_folds(index: Index, protocol: str, seed: int) -> tuple[Fold, ...]:
    """Divides an index by a named protocol; the development speakers depend on the seed.

    Args:
        index: Utterances that the protocol's `Protocol.select` returned.
        protocol: Name that `get_protocol` knows.
        seed: Seed of all random draws.

    Raises:
        UsageError: if there is no such protocol.
        SplitError: if the corpus does not suit the protocol, or a fold would leak.
    """
    rules = get_protocol(protocol)
    _check_corpus(index, rules)
    folds = []
    for number, (rest, test) in enumerate(rules.make(index, seed), start=1):
        generator = np.random.default_rng([seed, number])
        train, dev = hold_out_development(index, rest, generator, by_speaker=rules.speaker_independent)
        fold = Fold(number=number, train=tuple(train), dev=tuple(dev), test=tuple(sorted(test)))
        check_fold(index, fold, speaker_independent=rules.speaker_independent)
        folds.append(fold)
    if rules.complete:
        _check_complete(index, folds)
    return tuple(folds)


def get_protocol(name: str) -> Protocol:
    """Looks up a protocol of `PROTOCOLS`, or makes one whose name is from `name_cross_protocol`.

    Raises:
        UsageError: if the name is unknown; the message lists the known ones.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    if cross := _CROSS_NAME.fullmatch(name):
        train, test = cross["train"].split("+"), cross["test"].split("+")
        return _cross_corpus(name_cross_protocol(train, test), train, test)
    msg = f"unknown protocol {name!r}: expected cross or one of {', '.join(PROTOCOLS)}"
    raise UsageError(msg)


def name_cross_protocol(train: Sequence[str], test: Sequence[str]) -> str:
    """Names the protocol that trains on all of some corpora and tests on all of others.

    Only the emotions that both sides have take part.

    Raises:
        UsageError: if a side is empty, or a corpus is on both.
    """
    if not train or not test or set(train) & set(test):
        msg = (
            f"training and testing across corpora needs different ones on either side, found "
            f"{', '.join(train) or 'none'} to train on and {', '.join(test) or 'none'} to test on"
        )
        raise UsageError(msg)
    return f"cross-{'+'.join(train)}-to-{'+'.join(test)}"


def _check_corpus(index: Index, rules: Protocol) -> None:
    emotions = sorted({utterance.emotion for utterance in index.utterances})
    if len(emotions) < 2:
        msg = f"protocol {rules.name} needs utterances of at least 2 emotions, found {', '.join(emotions) or 'none'}"
        raise SplitError(msg)
    if not rules.needs_speakers:
        return
    others = "or take --protocol random10 or paper, which do without"
    unknown = [utterance.file for utterance in index.utterances if not utterance.speaker]
    if unknown:
        msg = (
            f"protocol {rules.name} needs the speaker of every utterance, {len(unknown)} of {len(index)} have none, "
            f"{unknown[0]!r} among them: add the column speaker to the labels and run 'sercli prepare' again, {others}"
        )
        raise SplitError(msg)
    for corpus in index.corpora:
        speakers = {utterance.speaker for utterance in index.utterances if utterance.corpus == corpus}
        if len(speakers) < MIN_SPEAKERS:
            msg = (
                f"protocol {rules.name} needs at least {MIN_SPEAKERS} speakers of each corpus (1 to test, "
                f"{MAX_DEV_SPEAKERS} for development, 1 to train on), found {len(speakers)} of {corpus}: add more, "
                f"{others}"
            )
            raise SplitError(msg)


def _check_complete(index: Index, folds: Sequence[Fold]) -> None:
    tested = Counter(number for fold in folds for number in fold.test)
    if sorted(tested) != list(range(len(index))) or set(tested.values()) != {1}:
        msg = f"the folds should test each of the {len(index)} utterances once, found {sum(tested.values())} tests"
        raise SplitError(msg)


def _random_tenth(index: Index, seed: int) -> _Sides:
    groups = group_by_sound(index, range(len(index)))
    rest, test = split_off_share(index, groups, 0.1, seed)
    return [(_join(rest), _join(test))]


def _random_folds(index: Index, seed: int) -> _Sides:
    groups = group_by_sound(index, range(len(index)))
    return [(_join(rest), _join(test)) for rest, test in split_into_folds(index, groups, 10, seed)]


def _join(groups: list[list[int]]) -> list[int]:
    return [number for group in groups for number in group]


def _named_speakers(test_speakers: tuple[tuple[int, ...], ...]) -> Callable[[Index, int], _Sides]:
    """Folds that a paper published for RAVDESS."""
    expected = {f"ravdess-{actor:02d}" for fold in test_speakers for actor in fold}

    def make(index: Index, seed: int) -> _Sides:  # noqa: ARG001 - folds are fixed
        speakers = {utterance.speaker for utterance in index.utterances}
        if speakers != expected:
            missing, others = sorted(expected - speakers), sorted(speakers - expected)
            if len(missing) == len(expected):
                why = "none of RAVDESS; for other corpora take --protocol loso, pooled, random10 or paper"
            elif missing:
                why = f"{missing[0]!r} is missing; prepare all of RAVDESS, or take another protocol"
            else:
                why = f"{others[0]!r} is not one of them; choose with --corpora ravdess"
            count = f"{len(speakers - {''})} speakers"
            msg = f"this protocol divides the {len(expected)} speakers of RAVDESS, found {count}: {why}"
            raise SplitError(msg)
        return [_by_speaker(index, {f"ravdess-{actor:02d}" for actor in actors}) for actors in test_speakers]

    return make


def _leave_one_out(index: Index, seed: int) -> _Sides:  # noqa: ARG001 - no draw
    return [_by_speaker(index, {s}) for s in sorted({utterance.speaker for utterance in index.utterances})]


def _pooled(index: Index, seed: int) -> _Sides:
    """Folds that each test some speakers of every corpus, alternating between genders."""
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
            names_of_shared = f" ({', '.join(sorted(shared))})" if shared else ""
            msg = f"the corpora on both sides share {len(shared)} emotions{names_of_shared}, at least 2 are needed"
            raise SplitError(msg)
        kept = tuple(u for u in index.utterances if u.corpus in {*train, *test} and u.emotion in shared)
        return replace(index, utterances=kept)

    def make(index: Index, seed: int) -> _Sides:  # noqa: ARG001 - no draw
        tested = [number for number, u in enumerate(index.utterances) if u.corpus in test]
        rest = [number for number, u in enumerate(index.utterances) if u.corpus in train]
        return [(leave_sounds_out(index, rest, tested), tested)]

    return Protocol(
        name=name,
        description=f"train on {' and '.join(train)}, test on {' and '.join(test)}, with the emotions that they share",
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
            description="random 80/10/10, stratified by emotion; the same speakers on all sides",
            speaker_independent=False,
            complete=False,
            make=_random_tenth,
        ),
        Protocol(
            name="random10",
            description="random 10-fold, stratified by emotion; the same speakers on all sides",
            speaker_independent=False,
            complete=True,
            make=_random_folds,
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
            needs_speakers=True,
        ),
        Protocol(
            name="pooled",
            description=f"{POOLED_FOLDS} speaker-independent folds over all corpora together",
            speaker_independent=True,
            complete=True,
            make=_pooled,
            needs_speakers=True,
        ),
    )
}
"""Protocols by name; those across corpora are named by `name_cross_protocol`."""
