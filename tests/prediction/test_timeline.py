import csv
import errno
import io
import json
import os
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sercli.errors import UsageError
from sercli.labels import EMOTIONS
from sercli.prediction.discovery import Recording, find_recordings
from sercli.prediction.rows import Prediction, SegmentPrediction
from sercli.prediction.timeline import TIMELINES, plan_timelines, write_timelines

COLUMNS = ("file", "start", "end", "channel", "emotion", "confidence", *(f"p_{emotion}" for emotion in EMOTIONS))
PROBABILITIES = (0.1,) * 3 + (0.3,) + (0.1,) * 4
SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".rttm", ".txt", ".srt", ".vtt")

# NUL and lone surrogates, which no UTF-8 file holds, are tested apart.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
formulas = st.sampled_from(["=1+1", "+1", "-1", "@x", "\tx", "\rx", "'=x", "'x", "a\r\nb", 'a"b', "a,b"])
segments = st.builds(
    SegmentPrediction,
    start=st.floats(0, 1e5),
    end=st.floats(0, 1e5),
    emotion=st.sampled_from([*EMOTIONS, "uncertain"]),
    confidence=st.floats(0, 1),
    probabilities=st.tuples(*[st.floats(0, 1)] * len(EMOTIONS)),
)
rows = st.builds(
    Prediction,
    file=texts | formulas,
    status=st.just("ok"),
    channel=st.sampled_from(["mix", "1", "2"]),
    segments=st.lists(segments, max_size=3).map(tuple),
)
parts = st.sampled_from(["a", "A", "a~2", "..", "...", "x.wav", "X.WAV", "x.mp3", "b:c", "b_c", "_", "ß", "SS", "é"])
names = st.builds(
    lambda root, middle, last: root + "/".join([*middle, last]),
    st.sampled_from(["", "/", "//", "../", "./"]),
    st.lists(parts, max_size=3),
    parts,
)


def make_segment(start: float, end: float, emotion: str = "sad") -> SegmentPrediction:
    return SegmentPrediction(
        start=float(start),
        end=float(end),
        speech=float(end - start),
        emotion=emotion,
        confidence=0.3,
        probabilities=PROBABILITIES,
    )


def make_row(file: str, *spans: tuple[float, float], channel: str = "mix") -> Prediction:
    return Prediction(file=file, status="ok", channel=channel, segments=tuple(make_segment(*span) for span in spans))


def make_recordings(*found: str) -> list[Recording]:
    return [Recording(path=Path(name), name=name) for name in dict.fromkeys(found)]


def write(path: Path, *written: Prediction) -> str:
    plan = plan_timelines(path, "csv", make_recordings(*(row.file for row in written)), folder=False)
    passed = list(write_timelines(plan, iter([(row,) for row in written]), EMOTIONS))
    assert passed == [(row,) for row in written]
    return path.read_bytes().decode()


def plan_tree(folder: Path, recordings: list[Recording]) -> list[str]:
    sidecars = plan_timelines(folder, "csv", recordings, folder=True).sidecars
    assert list(sidecars) == [recording.name for recording in recordings]
    return [path.relative_to(folder).as_posix() for path in sidecars.values()]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(folder: Path, *found: str) -> None:
    for name in found:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_every_format_of_the_contract_has_a_writer() -> None:
    assert tuple(TIMELINES) == SUFFIXES


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=st.lists(rows, max_size=3))
def test_segments_come_back_from_csv(tmp_path: Path, written: list[Prediction]) -> None:
    reader = csv.DictReader(io.StringIO(write(tmp_path / "t.csv", *written), newline=""), strict=True)
    found = list(reader)
    assert tuple(reader.fieldnames or ()) == COLUMNS
    expected = [(row, segment) for row in written for segment in row.segments]
    assert len(found) == len(expected)
    for cells, (row, segment) in zip(found, expected, strict=True):
        file = cells["file"]
        neutral = file.startswith("'") and file.lstrip("'")[:1] in tuple("=+-@＝＋－＠\t\r\n")
        assert (file[1:] if neutral else file) == row.file
        assert (cells["channel"], cells["emotion"]) == (row.channel, segment.emotion)
        numbers = [float(cells[name]) for name in COLUMNS if name not in {"file", "channel", "emotion"}]
        assert numbers == pytest.approx(
            [segment.start, segment.end, segment.confidence, *segment.probabilities], abs=1e-6
        )


def test_a_csv_timeline_to_the_letter(tmp_path: Path) -> None:
    assert write(tmp_path / "t.csv", make_row("a.wav", (0, 1.5), channel="2")) == (
        f"{','.join(COLUMNS)}\n"
        "a.wav,0.000000,1.500000,2,sad,0.300000,0.100000,0.100000,0.100000,0.300000,0.100000,0.100000,0.100000,0.100000\n"
    )


def test_tsv_has_whole_milliseconds_first(tmp_path: Path) -> None:
    content = write(tmp_path / "t.tsv", make_row("a b.wav", (0.0, 1.2346), (3600.9996, 3602.0)))
    assert list(csv.reader(io.StringIO(content), delimiter="\t")) == [
        ["start", "end", "file", "channel", "emotion", "confidence"],
        ["0", "1235", "a b.wav", "mix", "sad", "0.300000"],
        ["3601000", "3602000", "a b.wav", "mix", "sad", "0.300000"],
    ]


def test_json_has_an_object_for_each_recording_and_channel(tmp_path: Path) -> None:
    segment = {"start": 0.5, "end": 2.0, "emotion": "sad", "confidence": 0.3}
    segment |= {f"p_{emotion}": p for emotion, p in zip(EMOTIONS, PROBABILITIES, strict=True)}
    content = write(tmp_path / "t.json", make_row("a.wav", (0.5, 2.0), channel="1"), make_row("b.wav"))
    assert json.loads(content) == [
        {"file": "a.wav", "channel": "1", "segments": [segment]},
        {"file": "b.wav", "channel": "mix", "segments": []},
    ]
    lines = write(tmp_path / "t.jsonl", make_row("a.wav", (0.5, 2.0), channel="1"), make_row("b.wav")).splitlines()
    assert [json.loads(line) for line in lines] == [{"file": "a.wav", "channel": "1", **segment}]


def test_rttm_has_durations_and_names_without_blanks(tmp_path: Path) -> None:
    name = "calls/a b\tü%.wav"
    content = write(tmp_path / "t.rttm", make_row(name, (1.25, 3.5)), make_row(name, (0.0, 0.5), channel="2"))
    fields = [line.split(" ") for line in content.splitlines()]
    assert [(line[0], *line[2:]) for line in fields] == [
        ("SPEAKER", "1", "1.250", "2.250", "<NA>", "<NA>", "sad", "<NA>", "<NA>"),
        ("SPEAKER", "2", "0.000", "0.500", "<NA>", "<NA>", "sad", "<NA>", "<NA>"),
    ]
    assert {line[1] for line in fields} == {"calls/a%20b%09%C3%BC%25.wav"}
    assert urllib.parse.unquote(fields[0][1]) == name


def test_audacity_has_start_end_and_label(tmp_path: Path) -> None:
    content = write(tmp_path / "t.txt", make_row("a.wav", (0.0, 1.5)), make_row("a.wav", (2.0, 3.0), channel="2"))
    assert content == "0.000000\t1.500000\tsad 30%\n2.000000\t3.000000\t[2] sad 30%\n"


def test_subtitles_count_on_and_tell_hours(tmp_path: Path) -> None:
    row = make_row("a.wav", (0.0, 1.2346), (59.9996, 61.0), (3661.5, 360_000.001))
    assert write(tmp_path / "t.srt", row) == (
        "1\n00:00:00,000 --> 00:00:01,235\nsad 30%\n\n"
        "2\n00:01:00,000 --> 00:01:01,000\nsad 30%\n\n"
        "3\n01:01:01,500 --> 100:00:00,001\nsad 30%\n\n"
    )
    assert write(tmp_path / "t.vtt", row) == (
        "WEBVTT\n\n"
        "1\n00:00:00.000 --> 00:00:01.235\nsad 30%\n\n"
        "2\n00:01:00.000 --> 00:01:01.000\nsad 30%\n\n"
        "3\n01:01:01.500 --> 100:00:00.001\nsad 30%\n\n"
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_timeline_without_segments_is_a_file_all_the_same(tmp_path: Path, suffix: str) -> None:
    content = write(tmp_path / f"t{suffix}", Prediction(file="a.wav", status="failed", error="broken"))
    assert content == {
        ".csv": f"{','.join(COLUMNS)}\n",
        ".tsv": "start\tend\tfile\tchannel\temotion\tconfidence\n",
        ".json": '[\n{"file": "a.wav", "channel": "mix", "segments": []}\n]\n',
        ".vtt": "WEBVTT\n\n",
    }.get(suffix, "")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_that_are_no_text_can_be_written(tmp_path: Path, suffix: str) -> None:
    content = write(tmp_path / f"t{suffix}", make_row(os.fsdecode(b"caf\xe9.wav"), (0, 1)))
    shown = {".rttm": "caf%5Cxe9.wav", ".json": r"caf\\xe9.wav", ".jsonl": r"caf\\xe9.wav"}
    assert TIMELINES[suffix].single or shown.get(suffix, r"caf\xe9.wav") in content


@pytest.mark.parametrize("name", ["=1+1.wav", "+49.wav", "-x.wav", "@x.wav", "\tx.wav", "'=x.wav"])
def test_names_like_formulas_are_escaped_in_tables(tmp_path: Path, name: str) -> None:
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        content = write(tmp_path / f"t{suffix}", make_row(name, (0, 1)))
        (cells,) = csv.DictReader(io.StringIO(content, newline=""), delimiter=delimiter)
        assert cells["file"] == f"'{name}"


@pytest.mark.parametrize("suffix", [".txt", ".srt", ".vtt"])
def test_a_format_of_one_recording_refuses_two_in_one_file(tmp_path: Path, suffix: str) -> None:
    message = (
        f"t{suffix} cannot tell 2 recordings apart: give a folder, as --segments t/ --segments-format {suffix[1:]}"
    )
    with pytest.raises(UsageError, match=re.escape(message)):
        plan_timelines(tmp_path / f"t{suffix}", "csv", make_recordings("a.wav", "b.wav"), folder=False)


@pytest.mark.parametrize("name", ["t", "t.xlsx", ".csv", "t.csv.gz"])
def test_an_unknown_suffix_lists_the_valid_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"expected one of \.csv, \.tsv, \.json, \.jsonl, \.rttm, \.txt, \.srt, \.vtt"):
        plan_timelines(tmp_path / name, "csv", make_recordings("a.wav"), folder=False)


def test_an_unknown_kind_for_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown format of timelines 'doc'"):
        plan_timelines(tmp_path / "new", "doc", make_recordings("a.wav"), folder=True)
    with pytest.raises(UsageError, match=r"unknown format of timelines"):
        plan_timelines(tmp_path, "", make_recordings("a.wav"), folder=False)


def test_the_kind_of_timeline_may_be_in_capitals_and_have_a_dot(tmp_path: Path) -> None:
    kinds = [plan_timelines(tmp_path, kind, make_recordings("a.wav"), folder=True) for kind in ("srt", "SRT", ".Srt")]
    assert kinds == [kinds[0]] * 3


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t").touch()
    with pytest.raises(UsageError, match="is not a folder"):
        plan_timelines(tmp_path / "t", "csv", make_recordings("a.wav"), folder=True)


def test_a_file_in_place_of_a_folder_of_sidecars_is_refused(here: Path) -> None:
    (here / "timelines").mkdir()
    (here / "timelines/a").touch()
    recordings = [Recording(path=Path("rec/a/x.wav"), name="rec/a/x.wav", relative="a/x.wav")]
    with pytest.raises(UsageError, match=r"cannot write timelines into timelines/a: timelines/a is not a folder"):
        plan_timelines(Path("timelines"), "csv", recordings, folder=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_in_the_middle_leaves_the_old_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    before = write(path, make_row("a.wav", (0, 1)))

    def broken() -> Iterator[tuple[Prediction, ...]]:
        yield (make_row("a.wav", (5, 6)),)
        raise OSError(errno.ENOSPC, "disk full")

    plan = plan_timelines(path, "csv", make_recordings("a.wav"), folder=False)
    with pytest.raises(OSError, match=r"No space left on device: .*t\."):
        list(write_timelines(plan, broken(), EMOTIONS))
    assert path.read_bytes().decode() == before
    assert list(tmp_path.iterdir()) == [path]


def test_sidecars_are_there_as_soon_as_their_recording_is_done(tmp_path: Path) -> None:
    plan = plan_timelines(tmp_path / "new", ".rttm", make_recordings("a.wav", "b/c.mp3"), folder=True)
    both = (make_row("a.wav", (0, 1), channel="1"), make_row("a.wav", (1, 2), channel="2"))
    passing = write_timelines(plan, iter([both, (make_row("b/c.mp3", (0, 1)),)]), EMOTIONS)
    assert next(passing) == both
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.wav.rttm"]
    assert len((tmp_path / "new/a.wav.rttm").read_text().splitlines()) == 2
    assert len(list(passing)) == 1
    assert (tmp_path / "new/b/c.mp3.rttm").read_text().startswith("SPEAKER b/c.mp3 1 0.000 1.000 ")


def test_sidecars_lie_in_a_tree_like_that_of_the_recordings(here: Path) -> None:
    touch(here, "calls/a/x.wav", "calls/a/x.mp3", "calls/y.flac")
    expected = ["a/x.mp3.csv", "a/x.wav.csv", "y.flac.csv"]
    assert plan_tree(here / "out", find_recordings(["calls"])) == expected
    assert plan_tree(here / "out", find_recordings([here / "calls"])) == expected


def test_roots_with_the_same_names_in_them_do_not_share_sidecars(here: Path) -> None:
    touch(here, "one/x.wav", "two/x.wav", "two/y.wav", "three/X.WAV")
    assert plan_tree(here / "out", find_recordings(["one", "two", "three"])) == [
        "x.wav.csv",
        "two/x.wav.csv",
        "y.wav.csv",
        "three/X.WAV.csv",
    ]


def test_a_sidecar_is_never_in_the_way_of_another_ones_folder(here: Path) -> None:
    touch(here, "calls/x.wav", "calls/x.wav.csv/y.wav")
    recordings = find_recordings(["calls"])
    plan = plan_timelines(here / "out", "csv", recordings, folder=True)
    list(write_timelines(plan, ((make_row(recording.name, (0, 1)),) for recording in recordings), EMOTIONS))
    assert all(path.is_file() for path in plan.sidecars.values())


@given(
    found=st.lists(
        st.tuples(names, st.none() | names.map(lambda name: name.lstrip("/"))), unique_by=lambda each: each[0]
    )
)
def test_no_two_sidecars_are_one_file_and_none_leaves_the_folder(found: list[tuple[str, str | None]]) -> None:
    folder = Path("/out/here")
    recordings = [Recording(path=Path(name), name=name, relative=inner or "") for name, inner in found]
    sidecars = plan_timelines(folder, "csv", recordings, folder=True).sidecars
    assert list(sidecars) == [name for name, _ in found]
    assert len({str(path).casefold() for path in sidecars.values()}) == len(found)
    for path in sidecars.values():
        assert os.path.normpath(path) == str(path)
        assert path.is_relative_to(folder)
        assert path.suffix == ".csv"
        assert ":" not in str(path)


@pytest.mark.parametrize(
    ("suffix", "shown"),
    [
        (".csv", '"<b>a, b"'),
        (".tsv", "<b>a, b"),
        (".json", '"emotion": "<b>a, b"'),
        (".rttm", "<NA> <NA> <b>a,_b <NA> <NA>\n"),
        (".txt", "\t<b>a, b 30%\n"),
        (".srt", "\n‹b›a, b 30%\n"),
        (".vtt", "\n&lt;b&gt;a, b 30%\n"),
    ],
)
def test_labels_are_text_in_every_format(tmp_path: Path, suffix: str, shown: str) -> None:
    row = Prediction(file="a.wav", status="ok", segments=(make_segment(0, 1, "<b>a, b"),))
    assert shown in write(tmp_path / f"t{suffix}", row)
