import itertools
from collections import Counter
from dataclasses import replace

import pytest

from sercli.corpora.index import Index
from sercli.corpora.registry import CORPORA
from sercli.errors import SplitError, UsageError
from sercli.labels import EMOTIONS
from sercli.splits.development import make_training_split
from sercli.splits.protocols import PROTOCOLS, describe_protocols, get_protocol, make_folds, name_cross_protocol
from tests.splits.indexes import BOTH, INDEX, OF_RAVDESS, OWN, SMALL, make_corpus_index, make_index, merge, side_of


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


def test_two_speakers_are_too_few_except_for_the_protocol_of_their_corpus() -> None:
    with pytest.raises(SplitError, match="found 2 of tess: add more, or use --protocol tess-speakers, random10 or"):
        make_folds(make_corpus_index("tess"), "loso", 0)
    with pytest.raises(SplitError, match="but the index has only tess: use --protocol paper or random10 or loso or"):
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
        with pytest.raises(
            SplitError, match=f"{name} needs at least 2 folds, each with a speaker, found 24 speakers: use k2 to k24"
        ):
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


def mark(index: Index, number: int, word: str) -> Index:
    rows = list(index.utterances)
    rows[number] = replace(rows[number], extra={"split": word})
    return replace(index, utterances=tuple(rows))


def test_split_column_may_name_the_development_side() -> None:
    words = itertools.cycle(["train", "TRAIN ", "other", "", "Dev", "validation", "Test"])
    index = replace(INDEX, utterances=tuple(replace(u, extra={"split": next(words)}) for u in INDEX.utterances))
    (fold,) = make_folds(index, "split", 0)
    for side, expected in (
        ("train", {"train", "TRAIN ", "other", ""}),
        ("dev", {"Dev", "validation"}),
        ("test", {"Test"}),
    ):
        assert {index.utterances[n].extra["split"] for n in getattr(fold, side)} == expected
    assert make_folds(index, "split", 1) == (fold,), "nothing is drawn"
    with pytest.raises(SplitError, match=r"split of '.*' should be train, dev or test, found 'holdout'"):
        make_folds(mark(index, 7, "Holdout"), "split", 0)


def test_a_sound_of_two_splits_is_tested_and_not_developed_on() -> None:
    (copy,) = (n for n, u in enumerate(INDEX.utterances) if u.duplicate_of)
    (original,) = (n for n, u in enumerate(INDEX.utterances) if u.file == INDEX.utterances[copy].duplicate_of)
    index = mark(mark(mark(INDEX, original, "dev"), copy, "test"), 99, "dev")
    (fold,) = make_folds(index, "split", 0)
    assert fold.dev == (99,)
    assert copy in fold.test
    assert original not in (*fold.train, *fold.dev, *fold.test)
    with pytest.raises(SplitError, match="all rows marked dev are copies of rows marked test"):
        make_folds(mark(mark(INDEX, original, "dev"), copy, "test"), "split", 0)


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


def test_the_published_folds_want_ravdess() -> None:
    with pytest.raises(SplitError, match="24 speakers of ravdess, found 6: 'ravdess-07' is missing; prepare all of it"):
        make_folds(make_index(speakers=6), "emobox", 0)
    with pytest.raises(SplitError, match=r"has only csv: use --protocol paper or random10"):
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


@pytest.mark.parametrize(
    ("corpus", "protocol", "message"),
    [
        ("one speaker", "loso", "needs at least 4 speakers per corpus .*, found 1 of csv: add more, or use"),
        ("three speakers", "loso", "needs at least 4 speakers per corpus .*, found 3 of csv"),
        ("one speaker of RAVDESS", "loso", "found 1 of ravdess: add more, or use --protocol random10 or paper$"),
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


def test_an_unknown_protocol_lists_those_there_are() -> None:
    expected = "expected one of paper, random10, loso, pooled, split, emobox, luna, .*, or cross-CORPUS-to-CORPUS"
    for name in ("best", "cross"):
        with pytest.raises(UsageError, match=f"unknown protocol '{name}': {expected}"):
            make_folds(INDEX, name, 0)


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
