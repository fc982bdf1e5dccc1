"""Indexes of made-up utterances, without sound files."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sercli.corpora.index import Index, Utterance
from sercli.corpora.registry import CORPORA
from sercli.labels import EMOTIONS, order_labels
from sercli.splits.fold import Fold
from sercli.splits.protocols import PROTOCOLS


def make_index(*, speakers: int = 24, takes: int = 4, corpus: str = "ravdess", gendered: bool = True) -> Index:
    """Every speaker says every emotion; the second take of the first one duplicates the first."""
    utterances = [
        Utterance(
            file=f"{corpus}/{speaker:02}-{emotion}-{take}.wav",
            corpus=corpus,
            speaker=f"{corpus}-{speaker:02}",
            gender=("male" if speaker % 2 else "female") if gendered else "",
            emotion=emotion,
        )
        for speaker, emotion, take in itertools.product(range(1, speakers + 1), EMOTIONS, range(takes))
    ]
    utterances[1] = replace(utterances[1], duplicate_of=utterances[0].file)
    utterances.sort(key=lambda u: (u.corpus, u.file))
    return Index(folder=Path(), utterances=tuple(utterances))


def label_split(index: Index) -> Index:
    """Every ninth utterance is to be tested, duplicates of which are too."""
    rows = (replace(u, extra={"split": "test" if n % 9 == 4 else "train"}) for n, u in enumerate(index.utterances))
    return replace(index, utterances=tuple(rows))


INDEX = label_split(make_index())
OF_RAVDESS = [name for name, rules in PROTOCOLS.items() if rules.corpus in {"", "ravdess"}]


def side_of(fold: Fold, position: int) -> str:
    return next(side for side in ("train", "dev", "test") if position in getattr(fold, side))


def merge(*indexes: Index) -> Index:
    utterances = sorted(itertools.chain(*(index.utterances for index in indexes)), key=lambda u: (u.corpus, u.file))
    return Index(folder=Path(), utterances=tuple(utterances))


def make_corpus_index(name: str) -> Index:
    """Every speaker of a published corpus says each of its labels nine times."""
    corpus = CORPORA[name]
    speakers = sorted({speaker for rule in corpus.protocols for fold in rule.test_speakers for speaker in fold})
    utterances = [
        Utterance(
            file=f"{speaker}-{label}-{take}.wav",
            corpus=name,
            speaker=speaker,
            gender="male" if number % 2 else "female",
            emotion=label,
        )
        for (number, speaker), label, take in itertools.product(
            enumerate(speakers), order_labels(corpus.label_map.values()), range(9)
        )
    ]
    return Index(folder=Path(), utterances=tuple(sorted(utterances, key=lambda u: u.file)))


def keep(index: Index, chosen: Callable[[Utterance], bool]) -> Index:
    return replace(index, utterances=tuple(u for u in index.utterances if chosen(u)))


def number_of(utterance: Utterance) -> int:
    return int(utterance.speaker[-2:])


OWN = make_index(speakers=6, takes=2, corpus="csv")
SMALL = {
    "one speaker": keep(OWN, lambda u: number_of(u) == 1),
    "three speakers": keep(OWN, lambda u: number_of(u) <= 3),
    "no speakers": replace(OWN, utterances=tuple(replace(u, speaker="") for u in OWN.utterances)),
    "one emotion": keep(OWN, lambda u: u.emotion == "sad"),
    "an emotion that one speaker has": keep(OWN, lambda u: (u.emotion == "sad") == (number_of(u) == 1)),
    "two emotions, one of one speaker": keep(
        OWN, lambda u: u.emotion == ("sad" if number_of(u) == 1 else "happy") and number_of(u) <= 4
    ),
    "one utterance of an emotion": keep(OWN, lambda u: u.emotion != "calm" or u.file == "csv/03-calm-0.wav"),
    "one utterance": keep(OWN, lambda u: u.file == "csv/03-calm-0.wav"),
    "two utterances": keep(OWN, lambda u: u.file in {"csv/03-calm-0.wav", "csv/03-sad-0.wav"}),
    "one speaker of RAVDESS": make_index(speakers=1),
}

BOTH = merge(make_index(), make_index(speakers=9, corpus="nemo"))
