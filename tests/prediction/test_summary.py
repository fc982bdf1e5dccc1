import json
import os

import pytest

from sercli.labels import EMOTIONS, NEGATIVE
from sercli.prediction.rows import UNLIKE, Prediction, SegmentPrediction
from sercli.prediction.summary import MOST_NEGATIVE, BatchSummary


def make_probabilities(**given: float) -> tuple[float, ...]:
    return tuple(given.get(emotion, 0.0) for emotion in EMOTIONS)


def make_summary() -> BatchSummary:
    return BatchSummary(labels=EMOTIONS, negative=NEGATIVE)


def make_row(
    file: str,
    emotion: str = "calm",
    *segments: tuple[str, float],
    channel: str = "mix",
    confidence: float = 0.5,
    probabilities: tuple[float, ...] = make_probabilities(calm=1.0),
    duration: float = 10.0,
    warnings: tuple[str, ...] = (),
) -> Prediction:
    start, made = 0.0, []
    for name, length in segments:
        made.append(
            SegmentPrediction(
                start=start,
                end=start + length + 0.5,
                speech=length,
                emotion=name,
                confidence=confidence,
                probabilities=probabilities,
            )
        )
        start += length + 1
    return Prediction(
        file=file,
        status="ok",
        channel=channel,
        emotion=emotion,
        confidence=confidence,
        probabilities=probabilities,
        start=0.0,
        end=duration,
        duration=duration,
        warnings=warnings,
        segments=tuple(made),
    )


@pytest.mark.parametrize(("unlike", "warned"), [(1, False), (2, False), (3, True)])
def test_answers_that_are_mostly_unlike_the_training_data_are_not_to_be_believed(*, unlike: int, warned: bool) -> None:
    summary = make_summary()
    for number in range(4):
        summary.add_recording((make_row(f"{number}.wav", warnings=(UNLIKE,) if number < unlike else ()),))
    summary.add_recording((Prediction(file="x.wav", status="failed", error="is empty"),))
    note = summary.to_dict()["note"]
    assert (note is not None) == warned
    assert not warned or f"Check the results: {unlike} of 4 {'is' if unlike == 1 else 'are'} of" in note


def test_shares_are_of_seconds_of_speech_by_emotion_and_channel() -> None:
    summary = make_summary()
    summary.add_recording(
        (
            make_row("a.wav", "sad", ("sad", 3.0), ("happy", 1.0), channel="1", confidence=0.4),
            make_row("a.wav", "happy", ("happy", 4.0), channel="2", confidence=0.8),
        )
    )
    summary.add_recording((make_row("b.wav", "sad", ("sad", 1.0), channel="1", confidence=0.6),))
    told = summary.to_dict()
    assert told["channels"] == {
        "1": {
            "sad": {"rows": 2, "speech_seconds": 4.0, "share_of_speech": 0.8, "mean_confidence": 0.5},
            "happy": {"rows": 0, "speech_seconds": 1.0, "share_of_speech": 0.2, "mean_confidence": None},
        },
        "2": {"happy": {"rows": 1, "speech_seconds": 4.0, "share_of_speech": 1.0, "mean_confidence": 0.8}},
    }
    assert list(told["emotions"]) == ["happy", "sad"]  # the most heard first
    assert told["emotions"]["happy"]["share_of_speech"] == round(5 / 9, 6)
    assert told["emotions"]["happy"]["rows"] == 1
    assert (told["recordings"], told["rows"], told["ok"]) == (2, 3, 3)


def test_the_hours_are_those_of_each_recording_once() -> None:
    summary = make_summary()
    summary.add_recording(tuple(make_row("a.wav", channel=channel, duration=1800.0) for channel in "12"))
    summary.add_recording((Prediction(file="b.wav", status="failed", error="broken"),))
    assert summary.to_dict()["hours"] == 0.5


def test_rows_without_answer_are_counted_apart() -> None:
    summary = make_summary()
    summary.add_recording((make_row("a.wav"), Prediction(file="a.wav", status="no-speech", channel="2", duration=10.0)))
    summary.add_recording((Prediction(file="b.wav", status="failed", error="is an empty file (0 bytes)"),))
    told = summary.to_dict()
    assert {name: told[name] for name in ("recordings", "rows", "ok", "no_speech", "failed")} == {
        "recordings": 2,
        "rows": 3,
        "ok": 1,
        "no_speech": 1,
        "failed": 1,
    }
    assert summary.failures == [("b.wav", "is an empty file (0 bytes)")]


def test_uncertain_rows_are_answers_under_a_name_of_their_own() -> None:
    summary = make_summary()
    summary.add_recording((make_row("a.wav", "uncertain", ("uncertain", 2.0), ("sad", 1.0), confidence=0.2),))
    summary.add_recording((make_row("b.wav", "sad", ("sad", 1.0)),))
    assert summary.answered == 2
    assert {name: (share.rows, share.speech) for name, share in summary.total().items()} == {
        "sad": (1, 2.0),
        "uncertain": (1, 2.0),
    }
    assert list(summary.total()) == ["sad", "uncertain"]


def test_the_most_negative_are_named_in_order_up_to_the_limit() -> None:
    summary = make_summary()
    levels = [(7 * number) % 20 / 20 for number in range(20)]
    for number, level in enumerate(levels):
        negative = make_probabilities(
            sad=level / 2, angry=level / 4, fearful=level / 8, disgust=level / 8, calm=1 - level
        )
        summary.add_recording((make_row(f"{number:02d}.wav", channel="1", probabilities=negative),))
    expected = sorted(range(20), key=lambda number: -levels[number])[:MOST_NEGATIVE]
    assert [entry["file"] for entry in summary.to_dict()["most_negative"]] == [
        f"{number:02d}.wav" for number in expected
    ]
    assert summary.to_dict()["most_negative"][0] == {
        "file": f"{expected[0]:02d}.wav",
        "channel": "1",
        "p_negative": 0.95,
    }


def test_of_equally_negative_recordings_the_first_by_name_are_reported() -> None:
    summary = make_summary()
    for number in (5, 3, 11, 0, 7, 1, 9, 2, 10, 4, 8, 6):
        summary.add_recording((make_row(f"{number:02d}.wav", probabilities=make_probabilities(sad=1.0)),))
    assert [name for _, name, _ in summary.most_negative] == [f"{number:02d}.wav" for number in range(MOST_NEGATIVE)]


def test_failures_are_grouped_whatever_their_numbers() -> None:
    summary = make_summary()
    for reason in (
        "cut short: 1.20 s could be decoded of 3.50 s declared",
        "cut short: header declares 7 bytes of samples, the file holds 3",
        "contains samples that are not finite numbers, the first at 0.25 s",
        "contains samples that are not finite numbers, the first at 12.5 s",
        "is an empty file (0 bytes)",
        "no such file",
    ):
        summary.add_recording((Prediction(file="x.wav", status="failed", error=reason),))
    assert summary.to_dict()["failures"] == {
        "cut short": 2,
        "contains samples that are not finite numbers, the first at N s": 2,
        "is an empty file": 1,
        "no such file": 1,
    }
    assert len(summary.failures) == 6


def test_warnings_are_grouped_whatever_their_numbers() -> None:
    summary = make_summary()
    for warnings in (
        ("only 0.21 s of speech", "noisy (speech only 3 dB above the background)"),
        ("only 0.4 s of speech",),
    ):
        summary.add_recording((make_row("x.wav", warnings=warnings),))
    assert summary.to_dict()["warnings"] == {"only N s of speech": 2, "noisy": 1}


def test_only_rows_that_are_asked_for_are_kept() -> None:
    summary = BatchSummary(labels=EMOTIONS, keep={"b.wav"})
    rows = [make_row("a.wav"), make_row("b.wav", channel="1"), make_row("b.wav", channel="2")]
    summary.add_recording((rows[0],))
    summary.add_recording((rows[1], rows[2]))
    assert summary.kept == rows[1:]


@pytest.mark.parametrize("status", ["ok", "failed"])
def test_names_that_are_no_text_do_no_harm(status: str) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    summary = make_summary()
    summary.add_recording(
        (make_row(name) if status == "ok" else Prediction(file=name, status="failed", error="no such file"),)
    )
    told = json.dumps(summary.to_dict(), ensure_ascii=False, allow_nan=False).encode()
    assert (rb"caf\\xe9.wav" in told) == (status == "ok")


def test_an_empty_run_is_json_too() -> None:
    told = json.loads(json.dumps(make_summary().to_dict(), allow_nan=False))
    assert (told["recordings"], told["hours"], told["emotions"], told["most_negative"]) == (0, 0.0, {}, [])
