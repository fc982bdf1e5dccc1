import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sercli.corpora.index import Index, Utterance, read_index
from sercli.corpora.registry import CORPORA
from sercli.errors import SplitError, UsageError
from sercli.labels import EMOTIONS, order_labels
from sercli.splits.development import make_training_split
from sercli.splits.fold import Fold, check_fold
from sercli.splits.protocols import (
    PROTOCOLS,
    describe_protocols,
    get_protocol,
    make_folds,
    name_cross_protocol,
)


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


def with_side(fold: Fold, side: str, members: tuple[int, ...]) -> Fold:
    sides = {name: getattr(fold, name) for name in ("train", "dev", "test")} | {side: members}
    return Fold(number=fold.number, train=sides["train"], dev=sides["dev"], test=sides["test"])


@pytest.mark.parametrize("seed", [0, 1, 17])
@pytest.mark.parametrize("protocol", [*OF_RAVDESS, "k2", "k5"])
def test_no_fold_leaks(protocol: str, seed: int) -> None:
    rules = get_protocol(protocol)
    folds = make_folds(INDEX, protocol, seed)
    assert folds
    first, second = (
        n for n, u in enumerate(INDEX.utterances) if u.file.endswith(("01-neutral-0.wav", "01-neutral-1.wav"))
    )
    for fold in folds:
        sides = [set(fold.train), set(fold.dev), set(fold.test)]
        assert all(sides)
        assert sum(map(len, sides)) == len(set.union(*sides)) == len(INDEX)
        assert side_of(fold, first) == side_of(fold, second), "duplicates part"
        if rules.speaker_independent:
            speakers = [{INDEX.utterances[n].speaker for n in side} for side in sides]
            assert sum(map(len, speakers)) == len(set.union(*speakers)) == 24
            genders = {INDEX.utterances[n].gender for n in fold.dev}
            assert genders == {"male", "female"}
    if rules.complete:
        assert sorted(n for fold in folds for n in fold.test) == list(range(len(INDEX)))


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


@pytest.mark.parametrize("protocol", [name for name, rules in PROTOCOLS.items() if rules.corpus])
def test_protocol_of_a_corpus_tests_the_published_speakers(protocol: str) -> None:
    corpus = CORPORA[PROTOCOLS[protocol].corpus]
    (rule,) = (rule for rule in corpus.protocols if rule.name == protocol)
    index = PROTOCOLS[protocol].select(merge(make_corpus_index(corpus.name), make_index(corpus="csv")))
    assert index.corpora == (corpus.name,)
    folds = make_folds(index, protocol, 0)
    assert [{index.utterances[n].speaker for n in fold.test} for fold in folds] == [set(f) for f in rule.test_speakers]
    assert sorted(n for fold in folds for n in fold.test) == list(range(len(index)))
    for fold in folds:
        speakers = [{index.utterances[n].speaker for n in side} for side in (fold.train, fold.dev, fold.test)]
        assert not speakers[2] & (speakers[0] | speakers[1])
        assert rule.dev_by_speaker != bool(speakers[0] & speakers[1])


def test_two_speakers_are_too_few_but_for_the_protocol_of_their_corpus() -> None:
    with pytest.raises(SplitError, match="found 2 of tess: add more, or use --protocol tess-speakers, random10 or"):
        make_folds(make_corpus_index("tess"), "loso", 0)
    with pytest.raises(SplitError, match="which is not among tess: use --protocol paper or random10 or loso or"):
        PROTOCOLS["emobox"].select(make_corpus_index("tess"))


def test_iemocap_is_tested_by_session_over_four_classes() -> None:
    index = PROTOCOLS["iemocap-sessions"].select(make_corpus_index("iemocap"))
    assert Counter(u.emotion for u in index.utterances) == {"angry": 90, "happy": 180, "sad": 90, "neutral": 90}
    folds = make_folds(index, "iemocap-sessions", 0)
    assert [{index.utterances[n].speaker[:-1] for n in fold.test} for fold in folds] == [
        {f"iemocap-0{session}"} for session in range(1, 6)
    ]


def test_speakers_of_two_corpora_are_on_one_side() -> None:
    song = make_index(corpus="ravdess")
    song = replace(song, utterances=tuple(replace(u, corpus="song", file=f"song/{u.file}") for u in song.utterances))
    both = merge(INDEX, song)
    for name in ("pooled", "k5", "loso"):
        assert len(make_folds(both, name, 0)) > 1
    fold = make_training_split(both, 0)
    assert not {both.utterances[n].speaker for n in fold.dev} & {both.utterances[n].speaker for n in fold.train}


def test_folds_by_speaker_are_as_many_as_named() -> None:
    assert len(make_folds(INDEX, "k5", 0)) == 5
    for name in ("k1", "k25"):
        with pytest.raises(SplitError, match=f"protocol {name} needs at least 2 folds, each with a speaker, found 24"):
            make_folds(INDEX, name, 0)
    for name in ("k0", "k05", "k"):
        with pytest.raises(UsageError, match="unknown protocol"):
            make_folds(INDEX, name, 0)


def test_split_column_names_the_test_side() -> None:
    (fold,) = make_folds(INDEX, "split", 0)
    assert {INDEX.utterances[n].extra["split"] for n in fold.test} == {"test"}
    assert len(fold.test) == sum(u.extra["split"] == "test" for u in INDEX.utterances)
    with pytest.raises(SplitError, match="needs a column split"):
        make_folds(make_index(), "split", 0)


def test_help_describes_every_protocol() -> None:
    text = describe_protocols()
    assert all(f"**{name}**: {rules.description}" in text for name, rules in PROTOCOLS.items())


def test_the_paper_protocol_is_80_10_10_and_even_over_emotions() -> None:
    (fold,) = make_folds(INDEX, "paper", 0)
    shares = [len(side) / len(INDEX) for side in (fold.train, fold.dev, fold.test)]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.005)
    counts = Counter(INDEX.utterances[n].emotion for n in fold.test)
    assert max(counts.values()) - min(counts.values()) <= 2


def test_folds_depend_on_the_seed_and_on_nothing_else() -> None:
    assert make_folds(INDEX, "random10", 3) == make_folds(INDEX, "random10", 3)
    assert make_folds(INDEX, "random10", 3) != make_folds(INDEX, "random10", 4)


@given(kind=st.sampled_from(["utterance", "sound", "speaker"]), sides=st.permutations(["train", "dev", "test"]))
@settings(max_examples=20)
def test_a_leak_is_found_whatever_leaks(kind: str, sides: list[str]) -> None:
    fold = make_folds(INDEX, "emobox", 0)[0]
    source, target = sides[:2]
    position = getattr(fold, source)[0]
    index = INDEX
    if kind == "sound":
        other = getattr(fold, target)[0]
        utterances = list(INDEX.utterances)
        utterances[other] = replace(utterances[other], duplicate_of=utterances[position].sound)
        index = replace(INDEX, utterances=tuple(utterances))
        broken = fold
    elif kind == "speaker":
        broken = with_side(fold, target, (*getattr(fold, target), position))
        broken = with_side(broken, source, getattr(fold, source)[1:])
    else:
        broken = with_side(fold, target, (*getattr(fold, target), position))
    with pytest.raises(SplitError, match=f"leaks: {kind}"):
        check_fold(index, broken, speaker_independent=kind != "utterance")


@pytest.mark.parametrize("side", ["train", "dev"])
def test_an_empty_side_is_refused(side: str) -> None:
    fold = with_side(make_folds(INDEX, "paper", 0)[0], side, ())
    with pytest.raises(SplitError, match=f"no {side} utterances"):
        check_fold(INDEX, fold, speaker_independent=False)


def test_the_published_folds_want_ravdess() -> None:
    with pytest.raises(SplitError, match="24 speakers of ravdess, found 6: 'ravdess-07' is missing; prepare all of it"):
        make_folds(make_index(speakers=6), "emobox", 0)
    with pytest.raises(SplitError, match="divides ravdess, which is not among csv: use --protocol paper or"):
        get_protocol("emobox").select(OWN)


def test_unknown_speakers_and_too_few_of_an_emotion_are_refused() -> None:
    unnamed = replace(INDEX, utterances=tuple(replace(u, speaker="") for u in INDEX.utterances))
    with pytest.raises(SplitError, match="768 of 768 have none"):
        make_folds(unnamed, "loso", 0)
    first, *others = INDEX.utterances
    with pytest.raises(SplitError, match=r"1 of 768 have none, such as .*: add the column speaker"):
        make_folds(replace(INDEX, utterances=(replace(first, speaker=""), *others)), "loso", 0)
    few = replace(INDEX, utterances=INDEX.utterances[:12])
    with pytest.raises(SplitError, match="stratified"):
        make_folds(few, "random10", 0)


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


@pytest.mark.parametrize(
    ("corpus", "protocol", "message"),
    [
        ("one speaker", "loso", "needs at least 4 speakers per corpus .*, found 1 of csv: add more, or use"),
        ("three speakers", "loso", "needs at least 4 speakers per corpus .*, found 3 of csv"),
        ("three speakers", "pooled", "needs at least 4 speakers per corpus .*, found 3 of csv"),
        ("no speakers", "loso", "needs the speaker of every utterance, 96 of 96 have none"),
        ("no speakers", "pooled", "needs the speaker of every utterance, 96 of 96 have none"),
        ("no speakers", "emobox", "24 speakers of ravdess, found 0: 'ravdess-01' is missing"),
        ("one speaker", "luna", "24 speakers of ravdess, found 1: 'ravdess-01' is missing"),
        ("one speaker of RAVDESS", "luna", "found 1: 'ravdess-02' is missing"),
        ("one emotion", "loso", "needs utterances of at least 2 emotions, found sad"),
        ("one emotion", "paper", "needs utterances of at least 2 emotions, found sad"),
        ("one utterance", "random10", "needs utterances of at least 2 emotions, found calm"),
        ("two utterances", "paper", "at least 2 of each emotion, without duplicates, found 1"),
        ("two emotions, one of one speaker", "loso", "fold 1 trains on happy only, .* all utterances of sad"),
        ("two emotions, one of one speaker", "pooled", "fold 1 trains on sad only, .* all utterances of happy"),
        ("one utterance of an emotion", "random10", "at least 10 of each emotion, .* found 1 of calm"),
        ("one utterance of an emotion", "paper", "at least 2 of each emotion, .* found 1 of calm"),
        ("three speakers", "paper", "at least 71 without duplicates for 8 emotions, found 47"),
    ],
)
def test_a_corpus_too_small_for_a_protocol_is_refused_with_what_is_missing(
    corpus: str, protocol: str, message: str
) -> None:
    with pytest.raises(SplitError, match=message) as caught:
        make_folds(SMALL[corpus], protocol, 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("protocol", [*PROTOCOLS, "k2", "cross-csv-to-csv2"])
@pytest.mark.parametrize("corpus", SMALL)
def test_every_small_corpus_is_divided_or_refused(corpus: str, protocol: str) -> None:
    index = SMALL[corpus]
    copies = tuple(replace(u, corpus="csv2", file=f"2/{u.file}", speaker="") for u in index.utterances)
    both = replace(index, utterances=(*(replace(u, corpus="csv") for u in index.utterances), *copies))
    try:
        folds = make_folds(both if protocol.startswith("cross") else index, protocol, 0)
    except SplitError:
        return
    assert folds
    for fold in folds:
        assert len({index.utterances[n % len(index)].emotion for n in fold.train}) > 1
        assert fold.dev
        assert fold.test


@pytest.mark.parametrize("corpus", SMALL)
def test_every_small_corpus_is_trained_on_or_refused(corpus: str) -> None:
    index = SMALL[corpus]
    try:
        fold = make_training_split(index, 0)
    except SplitError:
        return
    assert len({index.utterances[n].emotion for n in fold.train}) > 1
    assert fold.dev


def test_an_unknown_protocol_lists_those_there_are() -> None:
    expected = "expected one of paper, random10, loso, pooled, split, emobox, luna, .*, or cross-CORPUS-to-CORPUS"
    for name in ("best", "cross"):
        with pytest.raises(UsageError, match=f"unknown protocol '{name}': {expected}"):
            make_folds(INDEX, name, 0)


def test_a_training_split_holds_out_speakers_of_every_corpus() -> None:
    nemo = make_index(speakers=9, corpus="nemo", gendered=False)
    both = Index(folder=Path(), utterances=(*nemo.utterances, *INDEX.utterances))
    fold = make_training_split(both, 0)
    dev = {both.utterances[n].speaker for n in fold.dev}
    assert Counter(name.split("-")[0] for name in dev) == {"nemo": 2, "ravdess": 2}
    assert not dev & {both.utterances[n].speaker for n in fold.train}
    assert len(fold.train) + len(fold.dev) == len(both)


def test_a_training_split_without_speakers_is_random() -> None:
    unnamed = replace(INDEX, utterances=tuple(replace(u, speaker="") for u in INDEX.utterances))
    fold = make_training_split(unnamed, 0)
    assert len(fold.dev) == pytest.approx(len(INDEX) / 9, abs=2)


def test_a_training_split_is_random_where_one_speaker_is_unknown() -> None:
    first, *others = INDEX.utterances
    fold = make_training_split(replace(INDEX, utterances=(replace(first, speaker=""), *others)), 0)
    assert len(fold.dev) == pytest.approx(len(INDEX) / 9, abs=2)
    assert len(fold.train) + len(fold.dev) == len(INDEX)


def test_nothing_is_learned_from_one_emotion() -> None:
    sad = replace(INDEX, utterances=tuple(u for u in INDEX.utterances if u.emotion == "sad"))
    with pytest.raises(SplitError, match="at least 2 emotions to learn from, found sad"):
        make_training_split(sad, 0)


def test_sounds_that_corpora_or_speakers_share_are_left_out_of_training() -> None:
    copies = tuple(
        replace(u, corpus="csv", file=f"csv/{n}.wav", speaker="csv-1", duplicate_of=u.file)
        for n, u in enumerate(INDEX.utterances)
        if u.speaker in {"ravdess-01", "ravdess-02", "ravdess-03"}
    )
    for seed in range(5):
        make_training_split(replace(INDEX, utterances=(*copies, *INDEX.utterances)), seed)
    shared = tuple(
        replace(u, duplicate_of=INDEX.utterances[0].file) if u.emotion == "calm" else u for u in INDEX.utterances
    )
    # All utterances of a label with one sound are on one side.
    with pytest.raises(SplitError, match="no utterance of 'calm' to train on"):
        make_folds(replace(INDEX, utterances=shared), "loso", 0)


@pytest.mark.corpus
def test_the_duplicates_of_the_real_corpus_stay_together(corpora: Path, tmp_path: Path) -> None:
    from sercli.corpora.prepare import Request, prepare_corpus
    from sercli.corpora.registry import get_corpus

    request = Request(
        corpus=get_corpus("ravdess"),
        index=tmp_path / "index.csv",
        data_dir=tmp_path,
        source=corpora / "ravdess",
        jobs=2,
    )
    prepare_corpus(request)
    index = read_index(tmp_path / "index.csv")
    pair = [n for n, u in enumerate(index.utterances) if u.duplicate_of]
    original = next(n for n, u in enumerate(index.utterances) if u.file == index.utterances[pair[0]].duplicate_of)
    for protocol in set(OF_RAVDESS) - {"split"}:
        for fold in make_folds(index, protocol, 0):
            assert side_of(fold, pair[0]) == side_of(fold, original)


BOTH = merge(make_index(), make_index(speakers=9, corpus="nemo"))


@pytest.mark.parametrize("seed", [0, 3])
def test_pooled_folds_test_and_watch_speakers_of_every_corpus(seed: int) -> None:
    folds = make_folds(BOTH, "pooled", seed)
    assert len(folds) == 6
    tested = Counter(number for fold in folds for number in fold.test)
    assert sorted(tested) == list(range(len(BOTH)))
    for fold in folds:
        for side in (fold.train, fold.dev, fold.test):
            assert {BOTH.utterances[number].corpus for number in side} == {"nemo", "ravdess"}
        genders = {(BOTH.utterances[n].corpus, BOTH.utterances[n].gender) for n in fold.dev}
        assert len(genders) == 4


def test_across_corpora_only_shared_emotions_take_part() -> None:
    name = name_cross_protocol(["ravdess"], ["nemo"])
    poor = replace(BOTH, utterances=tuple(u for u in BOTH.utterances if u.corpus != "nemo" or u.emotion != "calm"))
    rules = get_protocol(name)
    index = rules.select(poor)
    (fold,) = make_folds(index, name, 0)
    assert {index.utterances[n].corpus for n in (*fold.train, *fold.dev)} == {"ravdess"}
    assert {index.utterances[n].corpus for n in fold.test} == {"nemo"}
    assert {u.emotion for u in index.utterances} == set(EMOTIONS) - {"calm"}
    assert len(fold.test) == sum(u.corpus == "nemo" for u in poor.utterances)
    assert rules.speaker_independent


def test_across_corpora_a_recording_that_both_have_does_not_train() -> None:
    first = next(u for u in BOTH.utterances if u.corpus == "nemo")
    twin = next(u for u in BOTH.utterances if u.corpus == "ravdess" and not u.duplicate_of)
    index = replace(
        BOTH, utterances=tuple(replace(u, duplicate_of=twin.file) if u == first else u for u in BOTH.utterances)
    )
    (fold,) = make_folds(index, "cross-ravdess-to-nemo", 0)
    files = {index.utterances[n].file for n in (*fold.train, *fold.dev)}
    assert twin.file not in files


def test_corpora_on_either_side_differ_and_share_emotions() -> None:
    with pytest.raises(UsageError, match="expected different corpora to train and to test on"):
        name_cross_protocol(["ravdess"], ["ravdess", "nemo"])
    with pytest.raises(UsageError, match="expected different corpora to train and to test on"):
        name_cross_protocol([], ["nemo"])
    with pytest.raises(UsageError, match="expected different corpora to train and to test on"):
        get_protocol("cross-nemo+ravdess-to-nemo")
    apart = replace(
        BOTH,
        utterances=tuple(u for u in BOTH.utterances if (u.corpus == "nemo") == (u.emotion == "sad")),
    )
    with pytest.raises(SplitError, match="share 0 emotions"):
        get_protocol("cross-ravdess-to-nemo").select(apart)
