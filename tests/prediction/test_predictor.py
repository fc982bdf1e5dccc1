import dataclasses
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import sercli
from sercli.audio.decode import read_signal
from sercli.audio.degradation import DEGRADATIONS, degrade
from sercli.audio.preprocess import resample, to_mono
from sercli.corpora.index import Index, Utterance
from sercli.errors import ModelError, UsageError
from sercli.features.extraction import extract_store
from sercli.features.frontend import extract_features
from sercli.features.parameters import StoreParameters
from sercli.features.store import FeatureStore
from sercli.files import hash_file
from sercli.labels import EMOTIONS
from sercli.models import model as model_module
from sercli.models.export import pack_weights
from sercli.models.model import load_model, save_model
from sercli.prediction.predictor import Predictor
from sercli.prediction.rows import Prediction, RecordingResult
from tests.sounds import make_tone, preprocess_recording, write_sound, write_tone
from tests.toy_model import build_model

RATE = 16_000


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Recordings of all lengths, some of them broken or silent."""
    folder = tmp_path_factory.mktemp("recordings")
    lengths = [0.02, 3.1, 14.0, 0.4, 6.0, 6.1, 2.2, 0.7, 9.5, 1.3]
    paths = [
        write_tone(folder / f"{number}.wav", seconds=seconds, frequency=150 + 40 * number, seed=number)
        for number, seconds in enumerate(lengths)
    ]
    (folder / "text.wav").write_text("not a sound\n")
    paths.insert(3, folder / "text.wav")
    paths.insert(7, write_sound(folder / "silent.flac", np.zeros(RATE)))
    return paths


def assert_close(found: Prediction, expected: Prediction) -> None:
    """Equal but for rounding in the network."""
    assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    for one, other in zip(found.segments, expected.segments, strict=True):
        assert (one.start, one.end, one.emotion) == (other.start, other.end, other.emotion)
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    found, expected = (
        dataclasses.replace(row, probabilities=(), confidence=None, segments=()) for row in (found, expected)
    )
    assert found == expected


def write_pcm(path: Path, values: list[int]) -> Path:
    return write_sound(path, np.array(values) / 32_768)


def test_a_prediction_says_all_there_is_of_a_recording(predictor: Predictor, recordings: list[Path]) -> None:
    found = predictor.predict(recordings[1])
    assert (found.file, found.channel, found.status, found.error) == (
        recordings[1].as_posix(),
        "mix",
        "ok",
        "",
    )
    assert (found.start, found.end, found.duration) == (0.0, 3.1, 3.1)
    assert found.speech == pytest.approx(3.1, abs=0.05)
    assert len(found.probabilities) == len(EMOTIONS)
    assert sum(found.probabilities) == pytest.approx(1)
    assert found.confidence == max(found.probabilities)
    assert found.emotion == EMOTIONS[found.probabilities.index(found.confidence)]


def test_a_batch_gives_what_each_recording_gives_alone(predictor: Predictor, recordings: list[Path]) -> None:
    together = list(predictor.predict_many(recordings))
    assert [row.file for row in together] == [path.as_posix() for path in recordings]
    for row, path in zip(together, recordings, strict=True):
        assert_close(row, predictor.predict(path))
    assert len({row.probabilities for row in together if row.status == "ok"}) == 10


def test_jobs_change_nothing(predictor: Predictor, recordings: list[Path]) -> None:
    rows = [list(predictor.predict_many(recordings, jobs=jobs)) for jobs in (1, 2)]
    for one, other in zip(*rows, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("frames", [1, 1_000])
def test_batches_of_the_network_change_nothing_but_rounding(
    predictor: Predictor, recordings: list[Path], monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    expected = [predictor.predict(path) for path in recordings]
    monkeypatch.setattr(model_module, "BATCH_FRAMES", frames)
    monkeypatch.setattr("sercli.prediction.scoring.BATCH_FRAMES", frames)
    for path, other in zip(recordings, expected, strict=True):
        assert_close(predictor.predict(path), other)


def test_recordings_are_worked_on_as_rows_are_taken(predictor: Predictor, recordings: list[Path]) -> None:
    seen: list[tuple[int, float]] = []
    many = predictor.predict_many(recordings * 100, jobs=2, progress=lambda *steps: seen.append(steps))
    next(many)
    assert 1 <= len(seen) < 1_000
    many.close()
    assert [recordings for recordings, _ in seen] == list(range(1, len(seen) + 1))


def test_one_bad_recording_does_not_touch_the_others(predictor: Predictor, recordings: list[Path]) -> None:
    rows = list(predictor.predict_many(recordings, jobs=2))
    assert [row.status for row in rows].count("ok") == 10
    bad, silent = rows[3], rows[7]
    assert (bad.status, bad.emotion, bad.confidence, bad.probabilities) == ("failed", "", None, ())
    assert (bad.start, bad.end, bad.duration, bad.speech) == (None, None, None, None)
    assert bad.error.startswith("is not a sound file that can be decoded")
    assert silent == Prediction(
        file=recordings[7].as_posix(), status="no-speech", start=0.0, end=1.0, duration=1.0, speech=0.0
    )


def test_a_long_recording_is_the_mean_of_its_windows_weighted_by_what_is_new_in_each(
    predictor: Predictor, model_folder: Path, recordings: list[Path]
) -> None:
    model = load_model(model_folder)
    signal, rate = read_signal(recordings[2])
    spans = [(0, 6), (6, 12), (8, 14)]
    matrices = [
        extract_features(preprocess_recording(signal[a * rate : b * rate], rate, model.audio), model.features)
        for a, b in spans
    ]
    expected = model.predict_proba(matrices, [6.0, 6.0, 2.0])
    found = predictor.predict(recordings[2])
    assert found.probabilities == pytest.approx(expected.tolist(), abs=2e-3)  # a window's last hop is counted apart
    assert [(segment.start, segment.end) for segment in found.segments] == spans


@pytest.mark.parametrize(
    ("name", "sample_rate", "channels"),
    [("mono.wav", 16_000, 1), ("stereo.flac", 48_000, 2), ("telephone.wav", 8_000, 1), ("odd.ogg", 22_050, 2)],
)
def test_a_recording_is_scored_by_the_features_that_training_stores(
    model_folder: Path, tmp_path: Path, name: str, sample_rate: int, channels: int
) -> None:
    samples = make_tone(seconds=2.3, sample_rate=sample_rate, channels=channels)
    samples *= 0.5 + 0.5 * np.sin(np.arange(len(samples)) / sample_rate * 20)[:, None]  # comes and goes as speech does
    path = write_sound(tmp_path / name, samples, sample_rate)
    utterance = Utterance(file=name, corpus="csv", emotion="calm", sha256=hash_file(path))
    model = load_model(model_folder)
    parameters = StoreParameters(audio=model.audio, segmentation=model.segmentation, features=model.features)
    extract_store(Index(folder=tmp_path, utterances=(utterance,)), tmp_path / "store.h5", parameters)
    with FeatureStore(tmp_path / "store.h5") as store:
        expected = model.predict_proba([store.read(0)], [1.0])
    found = Predictor(model_folder).predict(path)
    assert found.probabilities == pytest.approx(expected.tolist(), abs=2e-3)  # stores hold half precision


def test_the_end_of_a_long_recording_counts(predictor: Predictor, tmp_path: Path) -> None:
    # 12.5 s: with windows of six seconds the last half second would be left over.
    start, ends = make_tone(seconds=12.0), [make_tone(seconds=0.5, frequency=f, level=0.9) for f in (220, 3_000)]
    paths = [write_sound(tmp_path / f"{number}.wav", np.concatenate([start, end])) for number, end in enumerate(ends)]
    first, second = predictor.predict_many(paths)
    assert list(predictor.predict_many(paths[0])) == list(predictor.predict_many(str(paths[0]))) == [first]
    assert first.probabilities != pytest.approx(second.probabilities, abs=5e-5)
    assert first.segments[-1].probabilities != pytest.approx(second.segments[-1].probabilities, abs=1e-3)


@pytest.mark.parametrize("n_samples", [2, 320, 4_800])
def test_a_very_short_recording_gets_an_answer(predictor: Predictor, tmp_path: Path, n_samples: int) -> None:
    found = predictor.predict(write_pcm(tmp_path / "short.wav", [9_000, -9_000] * (n_samples // 2)))
    assert (found.status, found.duration) == ("ok", n_samples / RATE)
    assert sum(found.probabilities) == pytest.approx(1)


def test_what_cannot_be_decoded_says_why(predictor: Predictor, tmp_path: Path) -> None:
    good = write_tone(tmp_path / "good.wav", seconds=1.0).read_bytes()
    (tmp_path / "header.wav").write_bytes(good[:20])
    (tmp_path / "empty.wav").touch()
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "dangling.wav").symlink_to("gone.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    write_sound(tmp_path / "none.wav", np.zeros((0, 1)))
    write_sound(tmp_path / "nan.wav", np.array([0.1, np.nan, 0.2]), subtype="FLOAT")
    reasons = {
        "header.wav": "is not a sound file that can be decoded",
        "empty.wav": "is an empty file (0 bytes)",
        "folder.wav": "is a folder, not a sound file",
        "dangling.wav": "no such file",
        "pipe.wav": "is not a regular file",
        "none.wav": "contains no samples",
        "nan.wav": "contains samples that are not finite numbers",
        "gone.wav": "no such file",
    }
    rows = list(predictor.predict_many([tmp_path / name for name in reasons], jobs=2))
    for row, reason in zip(rows, reasons.values(), strict=True):
        assert row.status == "failed"
        assert row.error.startswith(reason)
        assert "\n" not in row.error


def test_a_file_without_the_right_to_read_it_says_so(predictor: Predictor, without_rights: Path) -> None:
    files = [write_tone(without_rights / name) for name in ("closed.wav", "open.wav")]
    files[0].chmod(0)
    assert [predictor.predict(file).error for file in files] == ["cannot be read (Permission denied)", ""]


def test_an_interrupt_keeps_what_was_done(predictor: Predictor, recordings: list[Path]) -> None:
    def interrupt(done: int, _: float) -> None:
        if done == 4:
            raise KeyboardInterrupt

    given: list[tuple[int, RecordingResult]] = []
    with pytest.raises(KeyboardInterrupt):
        given.extend(predictor.predict_as_done(recordings, progress=interrupt))
    # A list that is not extended to its end keeps what it was given.
    assert [position for position, _ in given] == [0, 1, 2]
    for position, result in given:
        assert_close(result.predictions[0], predictor.predict(recordings[position]))


def test_positions_that_are_finished_are_left_out(predictor: Predictor, recordings: list[Path]) -> None:
    counted: list[int] = []
    results = predictor.predict_as_done(
        recordings[:5], finished={0, 2, 3}, progress=lambda done, _: counted.append(done)
    )
    assert {position: result.predictions[0].file for position, result in results} == {
        position: recordings[position].as_posix() for position in (1, 4)
    }
    assert counted == [4, 5]


def test_nothing_to_do_gives_no_rows(predictor: Predictor) -> None:
    assert list(predictor.predict_many([])) == []


def test_a_network_that_returns_nan_says_so(tmp_path: Path, recordings: list[Path]) -> None:
    model, network = build_model()
    graph = onnx.load_from_string(model.graph)
    for initializer in graph.graph.initializer:
        if initializer.dims == [len(EMOTIONS)]:
            nan = np.full(len(EMOTIONS), np.nan, np.float32)
            initializer.CopyFrom(onnx.numpy_helper.from_array(nan, initializer.name))
    broken = dataclasses.replace(model, graph=graph.SerializeToString())
    save_model(tmp_path / "model", broken, pack_weights(network))
    predictor = Predictor(tmp_path / "model", window=6)
    reason = "the network returned values that are not finite: train the model again"
    assert predictor.predict(recordings[1]).error == reason
    with pytest.raises(ModelError, match=reason):  # before any recording
        next(predictor.predict_many(recordings))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": "left"}, "channels should be one of auto, mix, split"),
        ({"window": 0.05}, r"window should be 0\.1 to 60 s"),
        ({"window": 61}, r"window should be 0\.1 to 60 s"),
        ({"window": 2, "hop": 3}, "--hop 3 would leave gaps between windows of 2 s"),
        ({"hop": 1}, "--hop requires fixed windows"),
        ({"min_confidence": 1.1}, "min_confidence should be 0 to 1"),
        ({"timeout": 0}, "timeout should be over 0 s, and finite"),
        ({"timeout": math.inf}, "timeout should be over 0 s, and finite"),
    ],
)
def test_options_out_of_range_are_wrong_usage(model_folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Predictor(model_folder, **options)


def test_one_row_is_a_mix_and_never_one_of_split_channels(predictor: Predictor, tmp_path: Path) -> None:
    low, high = (read_signal(write_tone(tmp_path / "tone.wav", frequency=hertz))[0] for hertz in (200, 900))
    call = write_sound(tmp_path / "call.wav", np.hstack([low, high]).astype(float))
    folder = predictor.settings.folder
    mixed = Predictor(folder, window=6.0, channels="mix").predict(call)
    assert (mixed.channel, mixed.status) == ("mix", "ok")
    auto, split = (Predictor(folder, window=6.0, channels=channels) for channels in ("auto", "split"))
    assert auto.predict(call) == mixed
    for each in (auto, split):
        assert [row.channel for row in each.predict_channels(call)] == ["1", "2"]
    with pytest.raises(UsageError, match="cannot split the channels: call predict_channels"):
        split.predict(call)


def test_a_missing_model_folder_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model at .*gone: expected a folder with model\.onnx and model\.json"):
        Predictor(tmp_path / "gone")


def test_the_package_offers_the_predictor() -> None:
    assert sercli.Predictor is Predictor
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        sercli.Nothing  # noqa: B018


def test_a_file_called_dash_is_a_file(predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tone(tmp_path / "tone.wav").rename(tmp_path / "-")
    monkeypatch.chdir(tmp_path)
    assert predictor.predict("-").status == "ok"
    (tmp_path / "-").unlink()
    assert predictor.predict("-").error == "no such file"


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_synthetic_voices_are_unlike_the_training_data(suffix: str) -> None:
    samples = sorted((Path(__file__).parents[2] / "samples").rglob(f"*{suffix}"))
    predictor = Predictor()
    rows = [row for path in samples for row in predictor.predict_channels(path) if row.status == "ok"]
    assert len(rows) >= 2
    for row in rows:
        assert row.typicality is not None
        assert 0 <= row.typicality < 0.02
        assert row.warnings[-1] == "unlike the training data"


def test_many_voices_in_one_recording_do_not_average_to_a_usual_one(tmp_path: Path) -> None:
    signals = [read_signal(path) for path in sorted((Path(__file__).parents[2] / "samples").glob("*man-*"))]
    assert len(signals) >= 6
    joined = np.concatenate([np.pad(resample(to_mono(signal), rate, 16_000), 8_000) for signal, rate in signals])
    row = Predictor().predict(write_sound(tmp_path / "joined.wav", joined.astype(float)))
    assert len(row.segments) > 1
    assert row.typicality is not None
    assert row.typicality < 0.02


@pytest.mark.parametrize("degradation", [None, *DEGRADATIONS])
def test_speech_of_development_speakers_is_not_called_unlike_the_training_data(
    corpora: Path, degradation: str | None, tmp_path: Path
) -> None:
    predictor = Predictor()
    paths = sorted((corpora / "ravdess/Actor_07").glob("*.flac"))[:12]
    if degradation:
        signals = [degrade(*read_signal(path), degradation) for path in paths]
        paths = [
            write_sound(tmp_path / f"{n}.wav", signal[0].astype(float), signal[1]) for n, signal in enumerate(signals)
        ]
    rows = [predictor.predict(path) for path in paths]
    assert [row.warnings for row in rows if "unlike the training data" in row.warnings] == []
    assert np.mean([row.typicality for row in rows if row.typicality is not None]) > 0.2


@pytest.mark.parametrize("gain", [1.0, 8.0])
@pytest.mark.parametrize("seconds", [0.15, 0.3, 0.6])
def test_a_piece_of_a_shout_is_never_without_speech(corpora: Path, tmp_path: Path, seconds: float, gain: float) -> None:
    predictor = Predictor()
    for path in sorted((corpora / "ravdess").glob("Actor_09/03-01-05-02-*.flac")):
        signal, rate = read_signal(path)
        length = round(seconds * rate)
        start = int(np.convolve(np.square(signal[:, 0]), np.ones(length), "valid").argmax())
        piece = signal[start : start + length].astype(float)
        loud = np.clip(gain * piece / np.abs(piece).max(), -1, 1)
        assert predictor.predict(write_sound(tmp_path / path.name, loud, rate)).status == "ok"


def test_a_model_without_typicality_leaves_it_empty(predictor: Predictor, tmp_path: Path) -> None:
    row = predictor.predict(write_tone(tmp_path / "a.wav", seconds=1.0))
    assert (row.status, row.typicality, "unlike the training data" in row.warnings) == ("ok", None, False)
    assert row.to_row(EMOTIONS)["typicality"] is None
