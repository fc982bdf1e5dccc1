"""Which row of a table belongs to which recording, and what its label means."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sercli.corpora.label_tables import match_files, measure_recording, refuse_segments
from sercli.errors import CorpusError
from sercli.labels import suggest_map
from tests.sounds import write_tone


def match(names: list[str], files: list[str], folder: str = "/table") -> dict[str, str]:
    return {str(file): name for file, name in match_files(names, [Path(file) for file in files], Path(folder)).items()}


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("calls/a.wav", "/table/calls/a.wav"),
        ("../calls/a.wav", "/calls/a.wav"),
        ("/data/calls/a.wav", "/data/calls/a.wav"),
        ("calls\\a.wav", "/table/calls/a.wav"),
        ("C:\\Users\\me\\calls\\a.wav", "/data/calls/a.wav"),
        ("c:/Users/me/a.wav", "/data/b/a.wav"),
        ("\\\\server\\share\\a.wav", "/data/a.wav"),
        ("calls/A.WAV", "/table/calls/a.wav"),
        ("a.wav", "/data/deep/a.wav"),
        ("a", "/data/deep/a.wav"),
        ("a.wav", "/data/deep/a.mp3"),
        ("a.b", "/data/a.b.flac"),
        ("\u00e9.wav", "/data/e\u0301.wav"),
        ("a.wav", "/data/a.wav "),
        ("./a.wav", "/else/a.wav"),
    ],
)
def test_row_belongs_to_the_file_it_names(name: str, file: str) -> None:
    assert match([name], [file]) == {file: name}
    assert match([name, "z.wav"], ["/q/y.wav", file]) == {file: name}


def test_longest_common_end_decides() -> None:
    names = ["D:\\old\\x\\1.wav", "D:\\old\\y\\1.wav", "D:\\old\\y\\2.wav"]
    files = ["/new/y/1.wav", "/new/x/1.wav", "/new/y/2.wav", "/new/z/1.wav"]
    assert match(names, files) == {files[0]: names[1], files[1]: names[0], files[2]: names[2]}


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["old/1.wav", "older/1.wav"], ["/new/1.wav"]),
        (["1.wav"], ["/x/1.wav", "/y/1.wav"]),
        (["1"], ["/x/1.wav", "/x/1.mp3"]),
        (["a/1.wav"], ["/x/2.wav"]),
        (["", "/", "C:"], ["/x/2.wav"]),
        (["a\0b"], ["/x/2.wav"]),
    ],
)
def test_what_is_not_sure_is_not_matched(names: list[str], files: list[str]) -> None:
    assert match(names, files) == {}


def test_a_row_of_a_missing_file_is_not_that_of_its_namesake_elsewhere() -> None:
    files = ["/table/sad/1.wav", "/table/sad/2.wav"]
    assert match(["angry/1.wav", "sad/2.wav"], files) == {"/table/sad/2.wav": "sad/2.wav"}


def test_exact_path_takes_the_row_from_files_of_the_same_name() -> None:
    assert match(["1.wav"], ["/x/1.wav", "/table/1.wav"]) == {"/table/1.wav": "1.wav"}


PARTS = st.lists(st.sampled_from(["a", "b", "A.wav", "a.wav", "b.mp3", "..", "C:"]), min_size=1, max_size=4)


@given(
    names=st.lists(st.tuples(PARTS, st.sampled_from("/\\")).map(lambda pair: pair[1].join(pair[0])), unique=True),
    files=st.lists(PARTS.map("/".join), unique=True),
)
def test_a_row_belongs_to_one_file_only(names: list[str], files: list[str]) -> None:
    paths = [Path("/r", *file.replace("..", "up").split("/")) for file in files]
    matches = match_files(names, list(dict.fromkeys(paths)), Path("/r"))
    assert set(matches) <= set(paths)
    assert set(matches.values()) <= set(names)
    assert len(set(matches.values())) == len(matches)


def refuse(path: Path, *spans: tuple[str, str]) -> str:
    """Returns why the spans are refused; empty if they are not."""
    rows = [(number, {"file": path.name, "start": s, "end": e}) for number, (s, e) in enumerate(spans, start=2)]
    try:
        refuse_segments(Path("t.csv"), [(row, path) for row in rows])
    except CorpusError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("0", "2"),
        ("0 days", "0 days 00:00:02"),
        ("0 days 00:00:00.05", "0 days 00:00:01.95"),
        ("", ""),
        ("0", "NaT"),
        ("0.0", "00:00:02"),
        ("0", "0:02.5"),
        ("0", "2.0s"),
        ("Monday", "Tuesday"),
        ("2021-05-01 10:00", "2021-05-01 10:05"),
    ],
)
def test_row_that_spans_the_recording_labels_it(tmp_path: Path, start: str, end: str) -> None:
    assert refuse(write_tone(tmp_path / "a.wav", seconds=2), (start, end)) == ""


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("0", "1.5", "line 2: labels only a segment of a.wav, 0 to 1.5 s of 2.0 s"),
        ("0 days 00:00:01", "0 days 00:00:02", "1 to 2 s of 2.0 s"),
        ("0 days 00:00:01", "", "1 s on"),
        ("10:00:00", "10:05:00", "36000 to 36300 s of 2.0 s"),
        ("1 days", "2 days", "86400 to 172800 s"),
        ("0,5", "1,5", "0.5 to 1.5 s of 2.0 s"),
        ("1e-05", "1.5", "1e-05 to 1.5 s of 2.0 s"),
    ],
)
def test_segments_are_refused(tmp_path: Path, start: str, end: str, message: str) -> None:
    reason = refuse(write_tone(tmp_path / "a.wav", seconds=2), (start, end))
    assert message in reason
    assert "expected one row per recording" in reason


def test_a_pipe_is_not_waited_for_and_raw_sound_is_no_crash(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    assert measure_recording(tmp_path / "pipe.wav", 1.0) == 0
    write_tone(tmp_path / "a.wav", seconds=2).rename(tmp_path / "a.raw")
    assert measure_recording(tmp_path / "a.raw", 1.0) == pytest.approx(2.0)


def test_several_segments_of_a_recording_are_refused(tmp_path: Path) -> None:
    reason = refuse(write_tone(tmp_path / "a.wav", seconds=2), ("0", "2"), ("0", "2"))
    assert "line 3: labels a second segment of a.wav, after line 2" in reason


def test_recording_that_cannot_be_decoded_is_left_to_its_decoder(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("text")
    assert refuse(tmp_path / "a.wav", ("0", "3")) == ""


@pytest.mark.parametrize(
    ("labels", "suggestion"),
    [
        (["anger", "fear", "ps", "Surprise "], "anger=angry,fear=fearful,ps=surprised,Surprise=surprised"),
        (["boredom"], ""),
        (["HAP", "boredom", "Pleasant  Surprise"], "HAP=happy,Pleasant Surprise=surprised"),
        (["joy", "joy"], "joy=happy"),
    ],
)
def test_map_is_suggested_for_near_misses(labels: list[str], suggestion: str) -> None:
    assert suggest_map(labels) == suggestion
