"""Labels of the user's own from a table of labels to a report, and labels that cannot be."""

import csv
import json
import shlex
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sercli import Predictor, evaluate, featurize, predict_folder, prepare, train
from sercli.corpora.index import Index, Utterance
from sercli.errors import ModelError, SplitError, UsageError
from sercli.labels import (
    LabelSelection,
    check_labels,
    choose_negative,
    clean_text,
    format_label_map,
    group_alike,
    parse_label_map,
)
from sercli.models.config import NetworkConfig
from sercli.models.model import load_model
from sercli.splits.development import make_training_split
from sercli.training.recipes import Recipe, TrainConfig
from tests.toy import make_ravdess
from tests.toy_model import make_model

CALM, FED_UP, PLEASED = "ήρεμος", "μπαφιασμένος", "χαρούμενος"
GREEK = {"calm": CALM, "angry": FED_UP, "happy": PLEASED}
NAMES = (CALM, FED_UP, PLEASED)  # in alphabetical order
SMALL = Recipe(
    name="small",
    features=("logmel",),
    network=NetworkConfig(channels=(16, 16), lstm_size=16, attention_size=8, dense_size=16),
    training=TrainConfig(batch_size=8, learning_rate=0.005, max_epochs=12, copies=0),
)


@pytest.fixture(scope="module")
def greek(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recordings, their table of Greek labels, features, and a model trained on them."""
    folder = tmp_path_factory.mktemp("greek")
    make_ravdess(folder / "calls", speakers=5, emotions=tuple(GREEK), takes=3)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        write = csv.writer(stream)
        write.writerow(["file", "emotion", "speaker"])
        for path in sorted((folder / "calls").rglob("*.wav")):
            label = {"02": CALM, "03": PLEASED, "05": FED_UP}[path.stem.split("-")[2]]
            write.writerow([path.relative_to(folder / "calls"), label, path.stem[-2:]])
    prepare("csv", folder / "calls", data_dir=folder, labels=folder / "labels.csv", jobs=1)
    featurize(folder / "index.csv", folder / "features.h5", SMALL)
    train(folder / "index.csv", folder / "features.h5", SMALL, folder / "model", negative=[FED_UP], device="cpu")
    return folder


def test_three_greek_labels_from_a_table_to_a_report(greek: Path, tmp_path: Path) -> None:
    description = json.loads((greek / "model/model.json").read_text(encoding="utf-8"))
    assert (description["labels"], description["negative"]) == (list(NAMES), [FED_UP])
    assert description["label_selection"] == {"emotions": [], "map": {}}
    assert f"`{FED_UP}`" in (greek / "model/MODEL_CARD.md").read_text(encoding="utf-8")
    result = predict_folder(
        greek / "calls",
        tmp_path / "r.csv",
        model=greek / "model",
        segments=str(tmp_path / "t.csv"),
        labels=str(greek / "labels.csv"),
        jobs=1,
    )
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [column for column in rows[0] if column.startswith("p_")] == [f"p_{name}" for name in NAMES]
    assert all(sum(float(row[f"p_{name}"]) for name in NAMES) == pytest.approx(1, abs=1e-5) for row in rows)
    assert {row["emotion"] for row in rows} == set(NAMES)
    assert result.scores is not None
    assert result.scores.labels == NAMES
    assert result.scores.uar > 0.6
    summary = json.loads((tmp_path / "r.summary.json").read_text(encoding="utf-8"))
    assert summary["negative"] == [FED_UP]
    first = summary["most_negative"][0]
    assert first["p_negative"] == max(float(row[f"p_{FED_UP}"]) for row in rows)
    assert f"p_{CALM}" in (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()[0]


def test_labels_are_selected_and_merged_for_training(greek: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    train(
        greek / "index.csv",
        greek / "features.h5",
        SMALL.with_max_epochs(1),
        out,
        emotions=["calm", PLEASED],
        label_map={CALM: "calm"},
        device="cpu",
    )
    model = load_model(out)
    assert (model.labels, model.negative) == (("calm", PLEASED), ())
    assert model.facts["label_selection"] == {"emotions": ["calm", PLEASED], "map": {CALM: "calm"}}
    assert model.facts["training_data"]["csv"]["utterances"] == 30


def test_an_evaluation_has_the_labels_of_its_utterances(greek: Path, tmp_path: Path) -> None:
    report = evaluate(
        greek / "index.csv",
        greek / "features.h5",
        SMALL.with_max_epochs(1),
        tmp_path / "r",
        protocol="paper",
        label_map={PLEASED: "happy"},
        device="cpu",
    )
    assert report.labels == ("happy", CALM, FED_UP)
    assert report.label_selection == {"emotions": [], "map": {PLEASED: "happy"}}
    header = (tmp_path / "r/predictions.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header.endswith(f"truth,prediction,p_happy,p_{CALM},p_{FED_UP}")
    assert len(report.scores.overall.confusion) == 3


def test_some_labels_of_a_model_are_kept(tmp_path: Path) -> None:
    model = load_model(make_model(tmp_path / "m"))
    (recording,) = make_ravdess(tmp_path, speakers=1, emotions=("sad",), takes=1).rglob("*.wav")
    both = Predictor(tmp_path / "m").predict(recording).probabilities
    kept = Predictor(tmp_path / "m", emotions=["sad", "calm"])
    probabilities = dict(zip(model.labels, both, strict=True))
    total = probabilities["calm"] + probabilities["sad"]
    prediction = kept.predict(recording)
    assert (kept.labels, kept.negative) == (("calm", "sad"), ("sad",))
    assert prediction.probabilities == pytest.approx([probabilities["calm"] / total, probabilities["sad"] / total])
    with pytest.raises(UsageError, match="at least 2 labels"):
        Predictor(tmp_path / "m", emotions=["sad"])
    with pytest.raises(UsageError, match=r"unknown label of the model 'anger'.*angry"):
        Predictor(tmp_path / "m", emotions=["sad", "anger"])


def test_a_model_folder_without_negative_labels_is_refused(tmp_path: Path) -> None:
    path = make_model(tmp_path / "m") / "model.json"
    assert load_model(tmp_path / "m").negative == ("sad", "angry", "fearful", "disgust")
    description = json.loads(path.read_text())
    del description["negative"]
    path.write_text(json.dumps(description))
    with pytest.raises(ModelError, match=r"model\.json should have the lists .* \('negative' is missing\)"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("wrong", [[], ["sad"], ["sad", "sad"], ["sad", "Sad"], ["sad", ""], "ab", None, [1, 2]])
def test_a_model_folder_with_labels_that_cannot_be_is_refused(tmp_path: Path, wrong: object) -> None:
    path = make_model(tmp_path / "m") / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "labels": wrong}))
    with pytest.raises(ModelError, match=r"model\.json should have the lists labels and negative"):
        load_model(tmp_path / "m")


def make_index(*rows: tuple[str, str]) -> Index:
    """An index of (speaker, label) pairs."""
    return Index(
        folder=Path(),
        utterances=tuple(
            Utterance(file=f"{n:04}.wav", corpus="csv", speaker=speaker, emotion=label)
            for n, (speaker, label) in enumerate(rows)
        ),
    )


EIGHT = [(f"s{n}", label) for n in range(8) for label in ("sad", "happy")]


def test_labels_stand_in_one_order() -> None:
    assert make_index(("a", "zeal"), ("a", "sad"), ("a", "Boredom"), ("a", "neutral")).labels == (
        "neutral",
        "sad",
        "Boredom",
        "zeal",
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_label_of_one_speaker_cannot_be_trained(seed: int) -> None:
    index = make_index(*EIGHT, ("s3", "boredom"), ("s3", "boredom"))
    with pytest.raises(SplitError, match=r"'boredom' for .* \(1 speaker has 'boredom'\): add other"):
        make_training_split(index, seed)
    make_training_split(index.relabel(LabelSelection(emotions=("sad", "happy"))), seed)


@pytest.mark.parametrize("seed", range(10))
def test_development_speakers_are_drawn_so_that_both_sides_have_all_labels(seed: int) -> None:
    index = make_index(*EIGHT, ("s3", "boredom"), ("s5", "boredom"))
    fold = make_training_split(index, seed)
    for side in (fold.train, fold.dev):
        assert {index.utterances[number].emotion for number in side} == {"sad", "happy", "boredom"}


@pytest.mark.parametrize(
    ("found", "selection", "message"),
    [
        (
            ["sad", "Fed up", "fed-up"],
            {},
            "differ only by case, spaces, hyphens or underscores: 'Fed up' and 'fed-up'; .*'fed-up=Fed up'",
        ),
        (
            ["sad", "happy", "joy"],
            {},
            "sercli has other names for 'joy', which are also in the index: merge them with --map joy=happy",
        ),
        (["sad", "happy"], {"emotions": ("sad", "anger")}, "unknown label 'anger': expected one of happy, sad$"),
        (["sad", "happy"], {"emotions": ("sad", "joy")}, "unknown label 'joy': .*; did you mean happy"),
        (["sad", "happy"], {"label_map": {"joy": "happy"}}, "unknown label 'joy'"),
    ],
)
def test_an_invalid_selection_is_refused(found: list[str], selection: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_index(*[("a", label) for label in found]).relabel(LabelSelection(**selection))  # type: ignore[arg-type]


def test_near_misses_may_stand_beside_canonical_labels_where_both_are_named() -> None:
    index = make_index(("a", "fear"), ("a", "fearful"), ("a", "sad"))
    assert index.relabel(LabelSelection(emotions=("fear", "fearful"))).labels == ("fearful", "fear")
    assert index.relabel(LabelSelection(label_map={"FEAR": "fearful"})).labels == ("sad", "fearful")


def test_a_selection_of_one_label_leaves_nothing_to_learn() -> None:
    with pytest.raises(UsageError, match="expected at least 2 labels, found sad"):
        make_index(*EIGHT).relabel(LabelSelection(emotions=("sad",)))
    with pytest.raises(SplitError, match="at least 2 emotions to learn from, found sad"):
        make_training_split(make_index(("s1", "sad"), ("s2", "sad")), 0)


def test_three_hundred_labels_are_divided_or_refused_in_a_line() -> None:
    names = [f"label {number:03}" for number in range(300)]
    few = make_index(*[("", name) for name in names for _ in range(2)])
    with pytest.raises(SplitError, match="at least 2692 without duplicates for 300 emotions, found 600"):
        make_training_split(few, 0)
    single = make_index(*[(f"s{number % 8}", name) for number, name in enumerate(names)])
    with pytest.raises(SplitError, match=r"for training \(1 speaker has 'label .*or list only the other labels"):
        make_training_split(single, 0)
    many = make_index(*[(f"s{speaker}", name) for speaker in range(4) for name in names])
    assert len(make_training_split(many, 0).dev) == 600


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((text, "expected LABEL=LABEL") for text in ("joy", "joy=", "=sad")),
        ("joy=uncertain", "'uncertain' is reserved"),
        (f"joy={'x' * 81}", "it has 81 characters"),
        ("sad=happy\nx=y", "cannot read the labels"),
        ("joy=happy,joy=sad", "merges 'joy' into both 'happy' and 'sad'"),
    ],
)
def test_an_invalid_label_map_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_label_map(text)


def test_a_label_with_a_comma_is_quoted() -> None:
    assert parse_label_map('"happy, excited"=happy,joy=happy') == {"joy": "happy", "happy, excited": "happy"}


sources = st.text(min_size=1, max_size=9).map(clean_text).filter(bool)


@given(st.dictionaries(sources, st.sampled_from(["happy", "Pleased, excited", 'so-called "ok"']), max_size=4))
@example({"it's, well": "happy", '"quoted"': "happy", "a=b": "happy"})
def test_a_label_map_survives_the_round_trip(label_map: dict[str, str]) -> None:
    assert parse_label_map(format_label_map(label_map.items())) == label_map


def test_a_suggested_map_can_be_pasted_into_a_shell() -> None:
    with pytest.raises(UsageError, match="merge them with --map ") as refused:
        check_labels(["it's, well", "It's, well", "calm"])
    (word,) = shlex.split(str(refused.value).partition("--map ")[2])
    (pair,) = parse_label_map(word).items()
    assert set(pair) == {"it's, well", "It's, well"}


def test_negative_labels_are_those_of_the_model() -> None:
    assert choose_negative(["sad", "bored"]) == ("sad",)
    assert choose_negative(["happy", "sad", "bored"], ["bored", "sad"]) == ("sad", "bored")
    with pytest.raises(UsageError, match="unknown negative label 'angry'"):
        choose_negative(["sad", "bored"], ["angry"])
    with pytest.raises(UsageError, match=r"negative should be a list, such as \['sad'\], found the text 'sad'"):
        choose_negative(["sad", "bored"], "sad")


@pytest.mark.parametrize("labels", [["-1", "1"], ["1-2", "12"], ["1 0", "10"], ["A-", "A"], ["mood -1", "mood 1"]])
def test_signs_and_ranges_are_part_of_a_label(labels: list[str]) -> None:
    check_labels(labels)


@pytest.mark.parametrize(
    "labels",
    [
        ["fed - up", "Fed--Up"],
        ["happy_", "happy"],
        ["खुशी भाव", "खुशी-भाव"],
        ["fed up", "Fed-Up"],
        ["fed_up", "fedup"],
        ["level 1", "level1"],
        ["x-2y", "x2y"],
    ],
)
def test_labels_that_differ_by_what_joins_their_words_are_alike(labels: list[str]) -> None:
    assert [sorted(group) for group in group_alike(labels)] == [sorted(labels)]
    with pytest.raises(UsageError, match="differ only by case, spaces, hyphens or underscores"):
        check_labels(labels)
