from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lfilter

from sercli.errors import CorpusError, InputError
from sercli.models.folder import load_model
from sercli.models.normalizer import ENROLMENT_FRAMES, Moments, Normalizer
from sercli.prediction.discovery import Recording, find_recordings
from sercli.prediction.enrolment import CHANNEL, FOLDER, Speakers, find_speakers
from sercli.prediction.predictor import Predictor
from tests.sounds import make_tone, write_sound, write_tone


@pytest.fixture
def calls(tmp_path: Path) -> list[Recording]:
    for number, name in enumerate(("ann/1.wav", "ann/2.wav", "bob/1.wav")):
        write_tone(tmp_path / name, seconds=3.0, frequency=200 + 60 * number, seed=number)
    return find_recordings([tmp_path])


def test_speakers_by_folder_by_channel_and_by_table(calls: list[Recording], tmp_path: Path) -> None:
    names = [recording.name for recording in calls]
    folders = find_speakers(FOLDER, calls)
    assert folders.find(names[0], "mix") == folders.find(names[1], "mix") != folders.find(names[2], "mix")
    assert folders.find(names[0], "2") == folders.find(names[1], "2") != folders.find(names[1], "1"), "sides of calls"
    channels = find_speakers(CHANNEL, calls)
    assert len({channels.find(name, channel) for name in names for channel in "12"}) == 6
    table = tmp_path / "who.csv"
    table.write_text("file,speaker\nann/1.wav,A\nann/2.wav,B\nbob/1.wav,A\n")
    assert [find_speakers(str(table), calls).find(name, "mix") for name in names] == ["A", "B", "A"]
    table.write_text("file,speaker\nann/1.wav,\nbob/1.wav,A\n")
    assert find_speakers(str(table), calls).names == {names[2]: "A"}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("file,who\na,b\n", CorpusError, "speaker"),
        ("file,speaker\nann/1.wav,A\nann/1.wav,B\n", CorpusError, "'A' in line 2 and 'B' here"),
        ("file,speaker\nzoe.wav,A\n", InputError, "none of the 3 recordings has a speaker"),
    ],
)
def test_a_table_that_does_not_serve_says_why(
    calls: list[Recording], tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    (tmp_path / "who.csv").write_text(text)
    with pytest.raises(error, match=message):
        find_speakers(str(tmp_path / "who.csv"), calls)


def test_enrolment_takes_a_microphones_colour_out(predictor: Predictor, tmp_path: Path) -> None:
    """The same recordings through a dull microphone: with enrolment the answers hardly change."""
    rng = np.random.default_rng(3)
    for number in range(6):
        tone = make_tone(seconds=3.0, frequency=150 + 70 * number, seed=number)[:, 0]
        signal = tone * (0.6 + 0.4 * np.sin(np.arange(len(tone)) / 900)) + 0.02 * rng.standard_normal(len(tone))
        write_sound(tmp_path / "bright" / f"{number}.wav", signal)
        write_sound(tmp_path / "dull" / f"{number}.wav", lfilter([0.35], [1, -0.65], signal))
    moved = []
    for enroll in (None, FOLDER):
        found = []
        for folder in ("bright", "dull"):
            recordings = find_recordings([tmp_path / folder])
            speakers = find_speakers(enroll, recordings) if enroll else None
            rows = list(predictor.predict_many(recordings, speakers=speakers))
            found.append(np.array([row.probabilities for row in rows]))
        moved.append(np.abs(found[0] - found[1]).mean())
    assert moved[1] < 0.7 * moved[0]


def test_a_recording_without_a_speaker_is_scored_as_ever(predictor: Predictor, calls: list[Recording]) -> None:
    plain = list(predictor.predict_many(calls))
    some = list(predictor.predict_many(calls, speakers=Speakers(names={calls[0].name: "ann"}), jobs=2))
    assert [row.file for row in some] == [row.file for row in plain]
    assert some[0].probabilities != plain[0].probabilities
    for one, other in zip(some[1:], plain[1:], strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_recordings_and_seconds_are_told_as_progress(predictor: Predictor, calls: list[Recording]) -> None:
    seen: list[tuple[int, float]] = []
    list(predictor.predict_many(calls, speakers=find_speakers(FOLDER, calls), progress=lambda *now: seen.append(now)))
    assert seen == [(number, 3.0 * number) for number in range(1, 4)]


def test_a_speaker_of_whom_little_is_known_stays_near_the_average(model_folder: Path) -> None:
    normalizer = load_model(model_folder).normalizer
    size = len(normalizer.mean)
    frames = np.full((1, size), 1.0, np.float32) * (normalizer.mean + 3 * normalizer.std)
    little, much = Moments(), Moments()
    little.add(frames)
    for _ in range(20):
        much.add(np.repeat(frames, ENROLMENT_FRAMES, axis=0))
    moved = [(normalizer.enrol(moments).mean - normalizer.mean) / normalizer.std for moments in (little, much)]
    assert (np.abs(moved[0]) < 0.02).all()
    assert (moved[1] > 2.5).all()
    assert normalizer.enrol(Moments(total=np.zeros(size), squares=np.zeros(size))).mean == pytest.approx(
        normalizer.mean, abs=1e-4
    )


def test_a_speaker_who_is_the_average_speaker_is_normalised_as_ever() -> None:
    normalizer = Normalizer(mean=np.array([2.0], np.float32), deviation=np.array([3.0], np.float32))
    moments = Moments()
    moments.add(np.array([[-1.0], [5.0]] * 800, np.float32))
    enrolled = normalizer.enrol(moments)
    assert enrolled.mean == pytest.approx([2.0])
    assert enrolled.deviation == pytest.approx([3.0])
