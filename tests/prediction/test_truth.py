import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from sercli.errors import CorpusError, InputError, UsageError
from sercli.labels import EMOTIONS
from sercli.prediction.discovery import Recording
from sercli.prediction.rows import Prediction
from sercli.prediction.truth import NAMES, find_labels, save_confusions, score
from tests.sounds import write_tone


def record(*names: str | Path) -> list[Recording]:
    return [Recording(path=Path(name), name=Path(name).as_posix()) for name in names]


def write_table(path: Path, *rows: str, header: str = "file,emotion") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return str(path)


def predict(file: str, emotion: str) -> Prediction:
    return Prediction(file=file, status="ok", emotion=emotion)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_row_labels_the_file_at_its_path(here: Path) -> None:
    table = write_table(here / "t/truth.csv", "../calls/a.wav,sad", f"{here}/calls/b.wav,happy")
    recordings = record("calls/a.wav", here / "calls/b.wav", "calls/c.wav")
    assert find_labels(table, recordings, EMOTIONS) == {"calls/a.wav": "sad", f"{here}/calls/b.wav": "happy"}


def test_same_names_in_different_folders_keep_their_own_labels(here: Path) -> None:
    table = write_table(here / "truth.csv", "a/x.wav,sad", "b/x.wav,happy")
    assert find_labels(table, record("b/x.wav", "a/x.wav"), EMOTIONS) == {"a/x.wav": "sad", "b/x.wav": "happy"}


def test_a_file_name_that_is_the_only_one_on_both_sides_is_enough(here: Path) -> None:
    table = write_table(here / "truth.csv", "old/a.wav,sad", "x.wav,calm", "old/b.wav,happy", "older/b.wav,angry")
    recordings = record("new/a.wav", "new/x.wav", "newer/x.wav", "new/b.wav")
    assert find_labels(table, recordings, EMOTIONS) == {"new/a.wav": "sad"}


def test_other_columns_and_capitals_are_taken(here: Path) -> None:
    table = write_table(here / "t.csv", "1,Sad,a.wav", header="n,emotion,file")
    assert find_labels(table, record("a.wav"), EMOTIONS) == {"a.wav": "sad"}


def test_labels_that_the_model_does_not_know_are_listed_with_those_that_it_does(here: Path) -> None:
    table = write_table(here / "t.csv", "a.wav,sad", "b.wav,joy", "c.wav,", *[f"{n}.wav,x" for n in range(5)])
    expected = r"labels that the model does not know \(line 3: 'joy'; line 5: 'x'; .*; and 1 more\): expected neutral"
    with pytest.raises(CorpusError, match=expected):
        find_labels(table, record("a.wav"), EMOTIONS)


def test_two_labels_for_one_file_are_refused(here: Path) -> None:
    table = write_table(here / "t.csv", "a.wav,sad", "./a.wav,sad", f"{here}/a.wav,happy")
    with pytest.raises(CorpusError, match=r"line 4: .*a\.wav is 'sad' in line 2 and 'happy' here"):
        find_labels(table, record("a.wav"), EMOTIONS)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has no rows"),
        (b"file,label\na.wav,sad\n", "no column 'emotion'"),
        (b"file,emotion\na.wav\n", "line 2: expected 2 cells"),
        (b"\xff\xfe\x00", "not UTF-16"),
        (b"file,emotion\n\x81,sad\n", "line 2: not UTF-8"),
    ],
)
def test_a_table_that_cannot_be_read_is_reported_as_such(here: Path, content: bytes, reason: str) -> None:
    (here / "t.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=reason):
        find_labels("t.csv", record("a.wav"), EMOTIONS)


def test_a_missing_table_is_reported_as_such(here: Path) -> None:
    with pytest.raises(CorpusError, match=r"no table at gone\.csv: no such file"):
        find_labels("gone.csv", record("a.wav"), EMOTIONS)


def test_no_recording_with_a_label_is_an_error(here: Path) -> None:
    table = write_table(here / "t.csv", "a.wav,sad")
    with pytest.raises(InputError, match="no recording has a known label"):
        find_labels(table, record("b.wav", "c.wav"), EMOTIONS)
    with pytest.raises(InputError, match=r"expected names as 03-01-06-02-01-01-12\.wav"):
        find_labels(NAMES, record("b.wav"), EMOTIONS)


def test_example_of_what_was_looked_for_and_what_there_is(here: Path) -> None:
    table = write_table(here / "t.csv", "old/a.wav,sad")
    expected = r"t\.csv names 'old/a\.wav' in line 2, the recordings are named as 'x/b\.wav'; expected the same path"
    with pytest.raises(InputError, match=expected):
        find_labels(table, record("x/b.wav", "x/c.wav"), EMOTIONS)
    with pytest.raises(InputError, match=r"found names as 'x/b\.wav'"):
        find_labels(NAMES, record("x/b.wav"), EMOTIONS)


def test_labels_can_be_mapped(here: Path) -> None:
    table = write_table(here / "t.csv", "a.wav,joy", "b.wav,SAD", "c.wav,")
    with pytest.raises(CorpusError, match="as in --map joy=happy"):
        find_labels(table, record("a.wav"), EMOTIONS)
    assert find_labels(table, record("a.wav", "b.wav", "c.wav"), EMOTIONS, {"Joy": "happy"}) == {
        "a.wav": "happy",
        "b.wav": "sad",
    }


@pytest.mark.parametrize("source", ["t.csv", NAMES])
@pytest.mark.parametrize(("mapping", "wrong"), [({"jyo": "happy"}, "jyo"), ({"sad": "glad"}, "glad")])
def test_a_label_that_is_merged_must_be_there(here: Path, source: str, mapping: dict[str, str], wrong: str) -> None:
    write_table(here / "t.csv", "03-01-04-01-01-01-01.wav,sad")
    with pytest.raises(UsageError, match=f"unknown label '{wrong}': expected one of"):
        find_labels(source, record("03-01-04-01-01-01-01.wav"), EMOTIONS, mapping)


def test_windows_paths_and_semicolons(here: Path) -> None:
    table = write_table(here / "t.csv", r"C:\calls\A.WAV;sad", r"calls\b.wav;happy", header="File;Emotion")
    assert find_labels(table, record("calls/a.wav", "calls/b.wav"), EMOTIONS) == {
        "calls/a.wav": "sad",
        "calls/b.wav": "happy",
    }


def test_segments_are_refused_unless_they_span_the_recording(here: Path) -> None:
    write_tone(here / "a.wav", seconds=2)
    table = write_table(here / "t.csv", "a.wav,0,2.0,sad", "gone.wav,3,4,sad", header="file,start,end,emotion")
    assert find_labels(table, record("a.wav"), EMOTIONS) == {"a.wav": "sad"}
    table = write_table(here / "t.csv", "a.wav,0,1,sad", "a.wav,1,2,happy", header="file,start,end,emotion")
    with pytest.raises(CorpusError, match=r"line 2: labels only a segment of a\.wav, 0 to 1 s of 2.0 s"):
        find_labels(table, record("a.wav"), EMOTIONS)


def test_a_row_that_ends_where_the_header_says_needs_no_decoding(here: Path) -> None:
    counter = Path("/proc/self/io")
    if not counter.exists():
        pytest.skip("this system does not count what a process reads")
    path = write_tone(here / "a.wav", seconds=300)
    table = write_table(here / "t.csv", "a.wav,0,300.0,sad", header="file,start,end,emotion")
    find_labels(table, record("a.wav"), EMOTIONS)  # loads libraries
    before = int(counter.read_text().split()[1])
    assert find_labels(table, record("a.wav"), EMOTIONS) == {"a.wav": "sad"}
    assert int(counter.read_text().split()[1]) - before < path.stat().st_size / 4


def test_names_of_ravdess_carry_their_emotion() -> None:
    names = ["x/03-01-01-01-01-01-01.wav", "x/03-01-08-02-02-02-24.flac", "x/03-01-09-01-01-01-01.wav", "x/y.wav"]
    assert find_labels(NAMES, record(*names), EMOTIONS) == {names[0]: "neutral", names[1]: "surprised"}
    upset = ["upset", "neutral"]
    assert find_labels(NAMES, record(*names), upset, {"surprised": "upset"}) == {names[0]: "neutral", names[1]: "upset"}


def test_scores_count_what_was_answered_and_what_was_wrongly_without_speech() -> None:
    labels = {"a": "sad", "b": "sad", "c": "sad", "d": "happy", "e": "happy", "f": "happy", "h": "sad", "i": "calm"}
    rows = [
        *(predict(*pair) for pair in zip("abcd", ["sad", "sad", "calm", "happy"], strict=True)),
        Prediction(file="e", status="failed", error="x"),
        Prediction(file="f", status="no-speech"),
        predict("g", "angry"),
        predict("h", "uncertain"),
        Prediction(file="i", status="no-speech", channel="1"),
        Prediction(file="i", status="ok", emotion="calm", channel="2"),  # the other side of a call
    ]
    scores = score(rows, labels, EMOTIONS, rows=12)
    assert (scores.rows, scores.scored, scores.unlabeled) == (12, 6, 3)
    assert (scores.unanswered, scores.excluded) == (1, 3)
    assert scores.accuracy == 4 / 6
    assert scores.uar == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert scores.macro_f1 == pytest.approx((4 / 5 + 2 / 3 + 2 / 3) / 3)
    sad, calm, happy = EMOTIONS.index("sad"), EMOTIONS.index("calm"), EMOTIONS.index("happy")
    assert scores.confusion[sad, sad] == 2
    assert scores.confusion[sad, calm] == 1
    assert scores.confusion[happy, happy] == 1
    assert scores.confusion.sum() == 5
    assert scores.per_class["sad"] == {
        "precision": 1.0,
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(0.8),
        "support": 3,
    }
    assert scores.per_class["happy"]["recall"] == 0.5


def test_only_silence_where_there_is_speech_is_all_wrong() -> None:
    scores = score([Prediction(file="a", status="no-speech")], {"a": "sad"}, EMOTIONS, rows=1)
    assert (scores.scored, scores.unanswered, scores.accuracy, scores.uar, scores.macro_f1) == (1, 1, 0.0, 0.0, 0.0)
    assert not scores.confusion.any()


def test_nothing_answered_leaves_figures_undefined_not_zero() -> None:
    scores = score([Prediction(file="a", status="failed")], {"a": "sad"}, EMOTIONS, rows=1)
    figures = scores.to_dict()
    assert (figures["accuracy"], figures["uar"], figures["macro_f1"], figures["scored"]) == (None, None, None, 0)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_scores_are_saved_beside_the_report(tmp_path: Path) -> None:
    scores = score([predict("a", "sad"), predict("b", "calm")], {"a": "sad", "b": "sad"}, EMOTIONS, rows=2)
    picture = save_confusions(tmp_path / "night.shift.csv", scores)
    assert picture.name == "night.shift.confusion.png"
    saved = json.loads(json.dumps(scores.to_dict()))
    assert saved["accuracy"] == 0.5
    assert saved["labels"] == list(EMOTIONS)
    np.testing.assert_array_equal(saved["confusion"], scores.confusion)
    assert set(saved) == {field.name for field in dataclasses.fields(scores)}
    assert image.imread(picture).shape[2] == 4
