import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sercli.errors import InputError
from sercli.files import hash_file
from sercli.labels import EMOTIONS
from sercli.prediction.discovery import Recording
from sercli.prediction.finished import FinishedRecordings, open_finished
from sercli.prediction.rows import Prediction, RecordingResult, SegmentPrediction, Status

# os.fsdecode turns undecodable bytes of a name into lone surrogates.
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.binary().map(os.fsdecode)
reals = st.floats(0, 1e9)
probabilities = st.tuples(*[st.floats(0, 1)] * len(EMOTIONS))
segments = st.builds(
    SegmentPrediction,
    start=reals,
    end=reals,
    speech=reals,
    emotion=st.sampled_from(EMOTIONS),
    confidence=st.floats(0, 1),
    probabilities=probabilities,
)
predictions = st.builds(
    Prediction,
    file=texts,
    status=st.sampled_from(get_args(Status)),
    channel=texts,
    emotion=st.sampled_from(["", "uncertain", *EMOTIONS]),
    confidence=st.none() | st.floats(0, 1),
    probabilities=st.just(()) | probabilities,
    start=st.none() | reals,
    end=st.none() | reals,
    duration=st.none() | reals,
    speech=st.none() | reals,
    error=texts,
    warnings=st.lists(texts, max_size=2).map(tuple),
    segments=st.lists(segments, max_size=2).map(tuple),
)


def make_recordings(folder: Path, *names: str) -> list[Recording]:
    recordings = []
    for name in names:
        path = folder / name
        path.write_bytes(b"sound of " + os.fsencode(name))
        recordings.append(Recording(path=path, name=name))
    return recordings


def make_rows(name: str, status: Status = "ok") -> tuple[Prediction, ...]:
    segment = SegmentPrediction(
        start=0.1, end=1 / 3, speech=0.2, emotion="sad", confidence=0.3, probabilities=(0.125,) * 8
    )
    return (
        Prediction(file=name, status=status, channel="1", duration=2 / 3, segments=(segment,)),
        Prediction(file=name, status="no-speech", channel="2"),
    )


def make_result(recording: Recording, status: Status = "ok") -> RecordingResult:
    return RecordingResult(
        sha256=hash_file(recording.path), duration=2 / 3, predictions=make_rows(recording.name, status)
    )


def add(journal: FinishedRecordings, recording: Recording, status: Status = "ok") -> None:
    journal.add(recording.name, make_result(recording, status))


@contextlib.contextmanager
def interrupted(report: Path, key: str = "key", *, restart: bool = False) -> Iterator[FinishedRecordings]:
    """The journal of a run that is interrupted at the end of the block."""
    with contextlib.suppress(KeyboardInterrupt), open_finished(report, key, restart=restart) as journal:
        yield journal
        raise KeyboardInterrupt


def finished(report: Path, recordings: list[Recording], key: str = "key", *, restart: bool = False) -> set[int]:
    with interrupted(report, key, restart=restart) as journal:
        return journal.find(recordings)


@pytest.fixture
def recordings(tmp_path: Path) -> list[Recording]:
    return make_recordings(tmp_path, "a.wav", os.fsdecode(b"caf\xe9.wav"), "c.wav")


@pytest.fixture
def report(tmp_path: Path, recordings: list[Recording]) -> Path:
    """Of a run that finished the first two recordings and then ended."""
    report = tmp_path / "out" / "report.csv"
    with interrupted(report) as journal:
        for recording in recordings[:2]:
            add(journal, recording)
    return report


@given(prediction=predictions)
def test_a_prediction_comes_back_from_json_with_all_its_digits(prediction: Prediction) -> None:
    assert Prediction.from_dict(json.loads(json.dumps(prediction.to_dict()))) == prediction


def test_what_was_finished_is_found_again(report: Path, recordings: list[Recording]) -> None:
    with interrupted(report) as journal:
        assert len(journal) == 2
        assert journal.find(recordings) == {0, 1}
        assert [journal.read(each.name) for each in recordings[:2]] == [make_result(each) for each in recordings[:2]]
        add(journal, recordings[2])
        assert journal.read(recordings[0].name) == make_result(recordings[0])
        assert journal.read(recordings[2].name) == make_result(recordings[2])
    assert finished(report, recordings) == {0, 1, 2}


def test_a_page_needs_rows_with_envelopes(report: Path, recordings: list[Recording]) -> None:
    with interrupted(report) as journal:
        result = make_result(recordings[1])
        rows = tuple(dataclasses.replace(row, envelope="abc") for row in result.predictions)
        journal.add(recordings[1].name, dataclasses.replace(result, predictions=rows))
        assert journal.find(recordings) == {0, 1}
        assert journal.find(recordings, envelope=True) == {1}


def test_another_key_is_refused_and_drops_nothing(report: Path, recordings: list[Recording]) -> None:
    with pytest.raises(InputError, match="has finished 2 recordings with other options"):
        finished(report, recordings, key="another")
    assert finished(report, recordings) == {0, 1}
    assert finished(report, recordings, key="another", restart=True) == set()
    assert finished(report, recordings) == set(), "an empty journal is nobody's"


def test_nothing_is_left_where_nothing_was_finished(tmp_path: Path) -> None:
    with interrupted(tmp_path / "new/folder/report.csv"):
        pass
    assert not (tmp_path / "new").exists()


def test_a_restart_drops_what_was_finished(report: Path, recordings: list[Recording]) -> None:
    assert finished(report, recordings, restart=True) == set()
    assert finished(report, recordings) == set()


def test_a_file_that_changed_or_went_is_not_finished(report: Path, recordings: list[Recording]) -> None:
    recordings[0].path.write_bytes(b"other sound")
    assert finished(report, recordings) == {1}
    recordings[1].path.unlink()
    assert finished(report, recordings) == set()


def test_what_failed_is_tried_again_until_it_succeeds(tmp_path: Path) -> None:
    recordings = make_recordings(tmp_path, "a.wav", "b.wav")
    report = tmp_path / "report.csv"
    with interrupted(report) as journal:
        add(journal, recordings[0], "failed")
        add(journal, recordings[1])
        assert journal.find(recordings) == {1}
    assert finished(report, recordings) == {1}
    with interrupted(report) as journal:
        add(journal, recordings[0])
    assert finished(report, recordings) == {0, 1}


def test_a_recording_that_could_not_be_read_is_not_finished(tmp_path: Path) -> None:
    gone = Recording(path=tmp_path / "gone.wav", name="gone.wav")
    with interrupted(tmp_path / "report.csv") as journal:
        journal.add("gone.wav", RecordingResult(sha256="", duration=0.0, predictions=make_rows("gone.wav")))
        assert journal.find([gone]) == set()


def test_two_runs_on_one_report_are_refused(report: Path, recordings: list[Recording]) -> None:
    with interrupted(report) as journal:
        with pytest.raises(InputError, match="being written by another sercli predict"), open_finished(report, "key"):
            pass
        assert journal.find(recordings) == {0, 1}
    assert finished(report, recordings) == {0, 1}


def test_a_journal_is_for_its_owner_only(report: Path) -> None:
    assert report.with_name(".report.csv.journal").stat().st_mode & 0o777 == 0o600


def test_a_journal_goes_when_its_block_ends_and_stays_when_it_is_interrupted(report: Path) -> None:
    def interrupt() -> None:
        with open_finished(report, "key"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    with open_finished(report, "key") as journal:
        assert len(journal) == 2
    assert list(report.parent.iterdir()) == []
