import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sercli.audio.cutters import Cutting

import sercli
from sercli.audio.decode import read_signal
from sercli.audio.preprocess import preprocess
from sercli.errors import ModelError, UsageError
from sercli.features.frontend import FrontEnd
from sercli.labels import EMOTIONS
from sercli.models.folder import load_model, save_model
from sercli.parallel import single_thread
from sercli.prediction import scoring as module
from sercli.prediction.predictor import Predictor, Result
from sercli.prediction.rows import Prediction
from tests.sounds import make_tone, write_sound, write_tone

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


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_FRAMES", 100)


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


def test_jobs_change_nothing(predictor: Predictor, recordings: list[Path], small_batches: None) -> None:
    rows = [list(predictor.predict_many(recordings, jobs=jobs)) for jobs in (1, 2)]
    for one, other in zip(*rows, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("frames", [1, 1_000])
def test_batches_change_nothing_but_rounding(
    predictor: Predictor, recordings: list[Path], monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    expected = list(predictor.predict_many(recordings))
    monkeypatch.setattr(module, "BATCH_FRAMES", frames)
    for row, other in zip(predictor.predict_many(recordings, jobs=2), expected, strict=True):
        assert_close(row, other)


def test_recordings_are_worked_on_as_rows_are_taken(
    predictor: Predictor, recordings: list[Path], small_batches: None
) -> None:
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
    front_end = FrontEnd(model.features)
    signal, rate = read_signal(recordings[2])
    spans = [(0, 6), (6, 12), (8, 14)]
    logits = torch.cat(
        [
            model.logits(
                [torch.from_numpy(front_end.extract(preprocess(signal[a * rate : b * rate], rate, model.audio)))]
            )
            for a, b in spans
        ]
    )
    weights = torch.tensor([6.0, 6.0, 2.0])
    expected = ((logits * weights[:, None]).sum(0) / weights.sum()).softmax(0)
    found = predictor.predict(recordings[2])
    assert found.probabilities == pytest.approx(expected.tolist(), abs=2e-3)  # a window's last hop is counted apart
    assert [(segment.start, segment.end) for segment in found.segments] == spans


def test_the_end_of_a_long_recording_counts(predictor: Predictor, tmp_path: Path) -> None:
    # 12.5 s: with windows of six seconds the last half second would be left over.
    start, ends = make_tone(seconds=12.0), [make_tone(seconds=0.5, frequency=f, level=0.9) for f in (220, 3_000)]
    paths = [write_sound(tmp_path / f"{number}.wav", np.concatenate([start, end])) for number, end in enumerate(ends)]
    first, second = predictor.predict_many(paths)
    assert first.probabilities != pytest.approx(second.probabilities, abs=5e-5)
    assert first.segments[-1].probabilities != pytest.approx(second.segments[-1].probabilities, abs=1e-3)


@pytest.mark.parametrize("n_samples", [1, 2, 320, 4_800])
def test_a_very_short_recording_gets_an_answer(predictor: Predictor, tmp_path: Path, n_samples: int) -> None:
    found = predictor.predict(write_pcm(tmp_path / "short.wav", [9_000] * n_samples))
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
        "none.wav": "holds no samples",
        "nan.wav": "holds samples that are not finite numbers",
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


def test_ctrl_c_gives_out_what_was_worked_through(predictor: Predictor, recordings: list[Path]) -> None:
    counted: list[int] = []

    def interrupt(done: int, _: float) -> None:
        if done == 4:
            raise KeyboardInterrupt
        counted.append(done)

    given: list[Result] = []
    with pytest.raises(KeyboardInterrupt):
        given.extend(predictor.predict_as_done(recordings, progress=interrupt))
    assert max(counted) == 3
    # A list that is not extended to its end keeps what it was given.
    assert [result.position for result in given] == [0, 1, 2]
    expected = list(predictor.predict_many(recordings[:3]))
    for result, row in zip(given, expected, strict=True):
        assert_close(result.predictions[0], row)


def test_nothing_to_do_gives_no_rows(predictor: Predictor) -> None:
    assert list(predictor.predict_many([])) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_callers_number_of_torch_threads_is_kept(
    predictor: Predictor, recordings: list[Path], small_batches: None, jobs: int
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        rows = predictor.predict_many(recordings, jobs=jobs)
        next(rows)
        assert torch.get_num_threads() == 3
        list(rows)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_model_of_numbers_that_are_not_finite_is_told_as_such(
    model_folder: Path, tmp_path: Path, recordings: list[Path]
) -> None:
    model = load_model(model_folder)
    for parameter in model.network.parameters():
        torch.nn.init.constant_(parameter, float("nan"))
    save_model(tmp_path / "model", model)
    with pytest.raises(ModelError, match="gives values that are not finite: train it anew"):
        Predictor(tmp_path / "model", cutting=Cutting(vad=False)).predict(recordings[1])


def test_a_device_that_is_not_there_is_wrong_usage(model_folder: Path) -> None:
    with pytest.raises(UsageError, match="unknown device 'tpu': expected one of auto, cpu"):
        Predictor(model_folder, device="tpu")


def test_a_missing_model_folder_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model folder at .*gone: expected model\.safetensors"):
        Predictor(tmp_path / "gone")


def test_the_package_offers_the_predictor_and_loads_torch_only_for_it() -> None:
    code = (
        "import sys, sercli\n"
        "assert not {'torch', 'numpy', 'librosa'} & sys.modules.keys()\n"
        "from sercli import Predictor\n"
        "from sercli.prediction.predictor import Predictor as same\n"
        "assert Predictor is same and 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        sercli.Nothing  # noqa: B018


def test_a_file_called_dash_is_a_file(predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tone(tmp_path / "tone.wav").rename(tmp_path / "-")
    monkeypatch.chdir(tmp_path)
    assert predictor.predict("-").status == "ok"
    (tmp_path / "-").unlink()
    assert predictor.predict("-").error == "no such file"


def test_a_window_is_scored_though_all_that_is_new_in_it_is_silent(model_folder: Path, tmp_path: Path) -> None:
    sound = np.concatenate([make_tone(seconds=2.0), np.zeros((6 * RATE, 1))])
    cutting = Cutting(vad=False, window=3.0, hop=1.0)
    found = Predictor(model_folder, cutting=cutting).predict(write_sound(tmp_path / "tail.wav", sound))
    assert [segment.start for segment in found.segments] == [0.0, 1.0]
    assert found.speech == pytest.approx(2.0, abs=0.1)


def test_threads_are_put_back_whoever_leaves_last() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        one, two = single_thread(), single_thread()
        one.__enter__()
        two.__enter__()
        one.__exit__(None, None, None)
        assert torch.get_num_threads() == 1
        two.__exit__(None, None, None)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
