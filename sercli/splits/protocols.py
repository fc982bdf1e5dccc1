"""Named train/dev/test protocols, including those of published papers."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sercli.corpora.corpus import Corpus, SpeakerFolds
from sercli.corpora.index import Index
from sercli.corpora.registry import CORPORA
from sercli.errors import SplitError, UsageError
from sercli.labels import require_list
from sercli.splits.development import MAX_DEV_SPEAKERS, hold_out_development
from sercli.splits.fold import Fold, check_fold
from sercli.splits.sounds import drop_duplicates_of, group_by_sound, split_into_folds, split_off_share
from sercli.splits.split_column import list_marked

POOLED, POOLED_FOLDS = "pooled", 6  # as many folds as EmoBox
MIN_FOLDS = 2
MIN_SPEAKERS = 1 + MAX_DEV_SPEAKERS + 1  # speakers per corpus: test, dev, train

_Splits = list[tuple[list[int], list[int]]]

_K_FOLDS_NAME = re.compile(r"k(?P<count>[1-9][0-9]{0,2})")
_CROSS_NAME = re.compile(r"cross-(?P<train>.+)-to-(?P<test>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A named way to split corpora.

    Attributes:
        name: Name for ``--protocol``.
        description: One-line description.
        speaker_independent: Whether test and development speakers are unseen in training.
        complete: Whether every utterance is tested exactly once.
        make: Function that makes pairs of (rest, test) positions from index and seed.
        select: Function that selects the utterances for `make`.
        needs_speakers: Whether every corpus needs `MIN_SPEAKERS` speakers, and every utterance a known one.
        dev_by_speaker: Whether development speakers are unseen in training, if `speaker_independent`.
        corpus: Corpus that the protocol is made for; empty for any.
        name_dev: Function that lists the development utterances that the index names; if none, they are drawn.
    """

    name: str
    description: str
    speaker_independent: bool
    complete: bool
    make: Callable[[Index, int], _Splits]
    select: Callable[[Index], Index] = lambda index: index
    needs_speakers: bool = False
    dev_by_speaker: bool = True
    corpus: str = ""
    name_dev: Callable[[Index], list[int]] = lambda _: []


def make_folds(index: Index, protocol: str, seed: int) -> tuple[Fold, ...]:
    """Splits an index by a protocol; the development speakers depend on the seed, unless the index names them.

    Args:
        index: Utterances returned by the protocol's `Protocol.select`.
        protocol: Name of a protocol, see `get_protocol`.
        seed: Seed of all draws.

    Raises:
        UsageError: If there is no such protocol.
        SplitError: If the corpus does not fit the protocol, or a fold would leak.
    """
    import numpy as np  # slow to import, and help texts read this module

    rules = get_protocol(protocol)
    _check_corpus(index, rules)
    by_speaker = rules.speaker_independent and rules.dev_by_speaker
    named = set(rules.name_dev(index))
    folds = []
    for number, (rest, test) in enumerate(rules.make(index, seed), start=1):
        generator = np.random.default_rng([seed, number])
        if named:
            dev = [position for position in rest if position in named]
            train = drop_duplicates_of(index, rest, dev)
            if not dev:
                msg = "all rows marked dev are copies of rows marked test: mark others"
                raise SplitError(msg)
        else:
            train, dev = hold_out_development(index, rest, generator, by_speaker=by_speaker)
        fold = Fold(number=number, train=tuple(train), dev=tuple(dev), test=tuple(sorted(test)))
        check_fold(index, fold, speaker_independent=rules.speaker_independent, dev_by_speaker=rules.dev_by_speaker)
        folds.append(fold)
    if rules.complete:
        _check_complete(index, folds)
    return tuple(folds)


def get_protocol(name: str) -> Protocol:
    """Returns a protocol of `PROTOCOLS`, or one named like ``k5`` or by `name_cross_protocol`.

    Raises:
        UsageError: If the name is unknown; the message lists the known ones.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    if folds := _K_FOLDS_NAME.fullmatch(name):
        return _speaker_folds(name, int(folds["count"]))
    if cross := _CROSS_NAME.fullmatch(name):
        train, test = cross["train"].split("+"), cross["test"].split("+")
        return _cross_corpus(name_cross_protocol(train, test), train, test)
    msg = (
        f"unknown protocol {name!r}: expected one of {', '.join(PROTOCOLS)}, k5 (or another number of folds), or "
        "cross-CORPUS-to-CORPUS, as in cross-nemo-to-ravdess"
    )
    raise UsageError(msg)


def name_protocol(name: str, train: Sequence[str] | None = None, test: Sequence[str] | None = None) -> str:
    """Returns the full name of a protocol; for ``cross``, the name that `name_cross_protocol` returns.

    Args:
        name: Name as for `get_protocol`, or ``cross``.
        train: Corpora to train on, for ``cross``.
        test: Corpora to test on, for ``cross``.

    Raises:
        UsageError: If the name is unknown, or corpora are given without ``cross`` or missing with it.
    """
    if len({name == "cross", train is not None, test is not None}) > 1:
        msg = "--protocol cross requires --train and --test, and they require it: name corpora to train and test on"
        raise UsageError(msg)
    if train is not None and test is not None:
        return name_cross_protocol(train, test)
    return get_protocol(name).name


def describe_protocols() -> str:
    """Lists all protocols with their descriptions as Markdown, for help texts."""
    descriptions = {name: rules.description for name, rules in PROTOCOLS.items()}
    descriptions["k5"] = "5 speaker-independent folds (k10: 10, and so on)"
    descriptions["cross"] = "train on --train, test on --test"
    return "\n\n".join(["Protocols:", *(f"- **{name}**: {text}" for name, text in descriptions.items())])


def name_cross_protocol(train: Sequence[str], test: Sequence[str]) -> str:
    """Names the protocol that trains on some corpora and tests on others.

    It uses only the emotions that train and test corpora share.

    Raises:
        UsageError: If either is empty, or a corpus is in both.
    """
    require_list("train", train)
    require_list("test", test)
    if not train or not test or set(train) & set(test):
        msg = (
            f"expected different corpora to train and to test on, found {', '.join(train) or 'none'} to train on and "
            f"{', '.join(test) or 'none'} to test on"
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
    others = f"or use --protocol {', '.join([*_find_published(index), 'random10'])} or paper"
    unknown = [utterance.file for utterance in index.utterances if not utterance.speaker]
    if unknown:
        msg = (
            f"protocol {rules.name} needs the speaker of every utterance, {len(unknown)} of {len(index)} have none, "
            f"such as {unknown[0]!r}: add the column speaker to the labels and run 'sercli prepare' again, {others}"
        )
        raise SplitError(msg)
    for corpus in index.corpora:
        speakers = {utterance.speaker for utterance in index.utterances if utterance.corpus == corpus}
        if len(speakers) < MIN_SPEAKERS:
            msg = (
                f"protocol {rules.name} needs at least {MIN_SPEAKERS} speakers per corpus (1 for test, "
                f"{MAX_DEV_SPEAKERS} for dev, 1 for train), found {len(speakers)} of {corpus}: add more, {others}"
            )
            raise SplitError(msg)


def _find_published(index: Index) -> list[str]:
    """Returns the protocols of corpora whose speakers are all in the index."""
    speakers = {(u.corpus, u.speaker) for u in index.utterances if u.speaker}
    present = Counter(corpus for corpus, _ in speakers)
    return [
        name
        for name, rules in PROTOCOLS.items()
        if rules.corpus and present[rules.corpus] == CORPORA[rules.corpus].speakers
    ]


def _check_complete(index: Index, folds: Sequence[Fold]) -> None:
    tested = Counter(number for fold in folds for number in fold.test)
    if sorted(tested) != list(range(len(index))) or set(tested.values()) != {1}:
        msg = f"expected each of the {len(index)} utterances in one test split, found {sum(tested.values())} in all"
        raise SplitError(msg)


def _random_tenth(index: Index, seed: int) -> _Splits:
    groups = group_by_sound(index, range(len(index)))
    rest, test = split_off_share(index, groups, 0.1, seed)
    return [(_join(rest), _join(test))]


def _random_folds(index: Index, seed: int) -> _Splits:
    groups = group_by_sound(index, range(len(index)))
    return [(_join(rest), _join(test)) for rest, test in split_into_folds(index, groups, 10, seed)]


def _join(groups: list[list[int]]) -> list[int]:
    return [number for group in groups for number in group]


def _for_corpus(corpus: Corpus, rule: SpeakerFolds) -> Protocol:
    """Makes a protocol that a corpus declares."""
    expected = {speaker for fold in rule.test_speakers for speaker in fold}

    def select(index: Index) -> Index:
        if corpus.name not in index.corpora:
            others = [name for name, other in PROTOCOLS.items() if other.corpus in {"", *index.corpora}]
            msg = (
                f"protocol {rule.name} needs the corpus {corpus.name}, but the index has only "
                f"{', '.join(index.corpora)}: use --protocol {' or '.join(others)}"
            )
            raise SplitError(msg)
        rows = [u for u in index.utterances if u.corpus == corpus.name]
        if rule.labels:
            rows = [replace(u, emotion=rule.labels[u.emotion]) for u in rows if u.emotion in rule.labels]
        return replace(index, utterances=tuple(rows))

    def make(index: Index, seed: int) -> _Splits:  # noqa: ARG001 - folds are fixed
        speakers = {utterance.speaker for utterance in index.utterances}
        if speakers != expected:
            missing = sorted(expected - speakers)
            why = f"{missing[0]!r} is missing; prepare all of it" if missing else f"{min(speakers - expected)!r} is new"
            msg = (
                f"protocol {rule.name} needs exactly the {len(expected)} speakers of {corpus.name}, found "
                f"{len(speakers - {''})}: {why}, or use another protocol"
            )
            raise SplitError(msg)
        return [_by_speaker(index, set(fold)) for fold in rule.test_speakers]

    return Protocol(
        name=rule.name,
        description=f"{rule.description} ({corpus.name})",
        speaker_independent=True,
        complete=True,
        make=make,
        select=select,
        dev_by_speaker=rule.dev_by_speaker,
        corpus=corpus.name,
    )


def _by_split_column(index: Index, seed: int) -> _Splits:  # noqa: ARG001 - no draw
    test = list_marked(index, "test")
    if not test:
        msg = "protocol split needs a column split in the index, with rows marked test: found none"
        raise SplitError(msg)
    return [(drop_duplicates_of(index, range(len(index)), test), test)]


def _list_dev(index: Index) -> list[int]:
    return list_marked(index, "dev")


def _leave_one_out(index: Index, seed: int) -> _Splits:  # noqa: ARG001 - no draw
    return [_by_speaker(index, {s}) for s in sorted({utterance.speaker for utterance in index.utterances})]


def _speaker_folds(name: str, count: int) -> Protocol:
    """Makes a protocol of `count` folds that each test speakers of every corpus, alternating between genders."""

    def make(index: Index, seed: int) -> _Splits:
        import numpy as np

        generator = np.random.default_rng([seed, 0])
        folds: list[set[str]] = [set() for _ in range(count)]
        drawn: set[str] = set()
        for corpus in index.corpora:
            gender_of = {u.speaker: u.gender for u in index.utterances if u.corpus == corpus}
            # A speaker of two corpora, such as one who speaks and sings, is tested in one fold.
            order = [s for s in generator.permutation(sorted(gender_of)).tolist() if s not in drawn]
            for number, speaker in enumerate(sorted(order, key=lambda name: gender_of[name])):
                folds[number % count].add(speaker)
            drawn |= set(order)
        if name != POOLED and (count < MIN_FOLDS or not all(folds)):
            msg = (
                f"protocol {name} needs at least {MIN_FOLDS} folds, each with a speaker, found {len(drawn)} speakers: "
                f"use k{MIN_FOLDS} to k{len(drawn)}"
            )
            raise SplitError(msg)
        return [_by_speaker(index, speakers) for speakers in folds if speakers]

    return Protocol(
        name=name,
        description=f"{'up to ' if name == POOLED else ''}{count} speaker-independent folds over all corpora together",
        speaker_independent=True,
        complete=True,
        make=make,
        needs_speakers=True,
    )


def _cross_corpus(name: str, train: list[str], test: list[str]) -> Protocol:
    def select(index: Index) -> Index:
        emotions = ({u.emotion for u in index.select(names).utterances} for names in (train, test))
        shared = set.intersection(*emotions)
        if len(shared) < 2:
            found = f" ({', '.join(sorted(shared))})" if shared else ""
            msg = f"train and test corpora share {len(shared)} emotions{found}, expected at least 2"
            raise SplitError(msg)
        kept = tuple(u for u in index.utterances if u.corpus in {*train, *test} and u.emotion in shared)
        return replace(index, utterances=kept)

    def make(index: Index, seed: int) -> _Splits:  # noqa: ARG001 - no draw
        tested = [number for number, u in enumerate(index.utterances) if u.corpus in test]
        rest = [number for number, u in enumerate(index.utterances) if u.corpus in train]
        return [(drop_duplicates_of(index, rest, tested), tested)]

    return Protocol(
        name=name,
        description=f"train on {' and '.join(train)}, test on {' and '.join(test)}, with their shared emotions",
        speaker_independent=True,
        complete=False,
        make=make,
        select=select,
    )


def _by_speaker(index: Index, speakers: set[str]) -> tuple[list[int], list[int]]:
    test = [number for number, u in enumerate(index.utterances) if u.speaker in speakers]
    rest = [number for number, u in enumerate(index.utterances) if u.speaker not in speakers]
    return drop_duplicates_of(index, rest, test), test


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="paper",
            description="random 80/10/10, stratified by emotion; the same speakers in all splits",
            speaker_independent=False,
            complete=False,
            make=_random_tenth,
        ),
        Protocol(
            name="random10",
            description="random 10-fold, stratified by emotion; the same speakers in all splits",
            speaker_independent=False,
            complete=True,
            make=_random_folds,
        ),
        Protocol(
            name="loso",
            description="leave one speaker out",
            speaker_independent=True,
            complete=True,
            make=_leave_one_out,
            needs_speakers=True,
        ),
        _speaker_folds(POOLED, POOLED_FOLDS),
        Protocol(
            name="split",
            description="test on rows with split=test in the index (dev: development); speakers may be in both",
            speaker_independent=False,
            complete=False,
            make=_by_split_column,
            name_dev=_list_dev,
        ),
        *(_for_corpus(corpus, rule) for corpus in CORPORA.values() for rule in corpus.protocols),
    )
}
"""Protocols by name, those for one corpus last; `get_protocol` also knows others."""
