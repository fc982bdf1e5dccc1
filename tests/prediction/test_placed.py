"""Speech whose place and label are known, joined with pauses, in every format: is each found where it was put?"""

from pathlib import Path

import numpy as np
import pytest

from sercli.audio.decode import read_signal
from sercli.audio.preprocess import resample, to_mono
from sercli.labels import EMOTIONS
from sercli.prediction.predictor import Predictor
from sercli.prediction.rows import Prediction, SegmentPrediction
from tests.encoded import ENCODERS, encode, fits
from tests.sounds import Samples

RATE = 16_000
PAUSE = 1.2  # seconds between utterances
CLOSE = 0.3  # seconds that a boundary may be off
SAMPLES = Path(__file__).parents[2] / "samples"
SPOKEN = ("woman-low-slow.wav", "man-even.wav", "woman-even.ogg", "man-low-slow.flac")


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return Predictor()


def read_mono(path: Path, sample_rate: int = RATE) -> Samples:
    signal, rate = read_signal(path)
    return resample(to_mono(signal), rate, sample_rate).astype(np.float64)


def join(utterances: list[Samples]) -> tuple[Samples, list[float]]:
    """All with pauses before, between and after, in shape ``(n_samples,)``, and the second that each begins at."""
    rng = np.random.default_rng(0)
    parts, starts, length = [], [], 0
    for utterance in utterances:
        pause = 1e-4 * rng.standard_normal(round(PAUSE * RATE))
        parts += [pause, utterance]
        starts.append((length + len(pause)) / RATE)
        length += len(pause) + len(utterance)
    return np.concatenate([*parts, 1e-4 * rng.standard_normal(round(PAUSE * RATE))]), starts


def inside(row: Prediction, start: float, end: float) -> list[SegmentPrediction]:
    return [s for s in row.segments if start - CLOSE <= (s.start + s.end) / 2 <= end + CLOSE]


@pytest.fixture(scope="module")
def spoken() -> tuple[Samples, list[tuple[float, float]]]:
    """Espeak's sentences, joined, and where the sound of each begins and ends."""
    utterances = [read_mono(SAMPLES / name) for name in SPOKEN]
    signal, starts = join(utterances)
    spans = []
    for utterance, start in zip(utterances, starts, strict=True):
        loud = np.flatnonzero(np.abs(utterance) > 0.05 * np.abs(utterance).max())
        spans.append((start + loud[0] / RATE, start + loud[-1] / RATE))
    return signal, spans


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 44_100, 48_000])
def test_sentences_are_found_where_they_were_put_in_every_format(
    shipped: Predictor, spoken: tuple[Samples, list[tuple[float, float]]], tmp_path: Path, kind: str, sample_rate: int
) -> None:
    signal, spans = spoken
    mono = resample(signal.astype(np.float32), RATE, sample_rate).astype(np.float64)[:, None]
    for channels in (1, 2):
        if not fits(kind, sample_rate, channels):
            continue
        path = encode(tmp_path, f"joined-{channels}", kind, np.repeat(mono, channels, axis=1), sample_rate)
        (row,) = shipped.predict_channels(path)
        assert (row.status, row.channel) == ("ok", "mix")
        assert row.duration == pytest.approx(len(signal) / RATE, abs=0.15)
        assert len(row.segments) == len(spans)
        for segment, (start, end) in zip(row.segments, spans, strict=True):
            assert segment.start == pytest.approx(start, abs=CLOSE)
            assert segment.end == pytest.approx(end, abs=CLOSE)


def test_each_side_of_a_call_has_its_own_timeline(
    shipped: Predictor, spoken: tuple[Samples, list[tuple[float, float]]], tmp_path: Path
) -> None:
    signal, spans = spoken
    sides = np.zeros((len(signal), 2))
    for number, (start, end) in enumerate(spans):
        part = slice(round((start - 0.3) * RATE), round((end + 0.3) * RATE))
        sides[part, number % 2] = signal[part]
    agent, customer = shipped.predict_channels(encode(tmp_path, "call", "mp3", sides, RATE))
    for row, channel, own in ((agent, "1", spans[::2]), (customer, "2", spans[1::2])):
        assert (row.channel, row.status) == (channel, "ok")
        assert [segment.start for segment in row.segments] == pytest.approx([start for start, _ in own], abs=CLOSE)
        assert [segment.end for segment in row.segments] == pytest.approx([end for _, end in own], abs=CLOSE)


@pytest.mark.parametrize("seconds", [0.02, 0.3, 1.0, 30.0, 130.0])
def test_every_length_gets_an_answer_and_nothing_at_the_end_is_lost(
    shipped: Predictor, spoken: tuple[Samples, list[tuple[float, float]]], tmp_path: Path, seconds: float
) -> None:
    signal, spans = spoken
    speech = signal[round(spans[0][0] * RATE) : round(spans[0][1] * RATE)]
    count = round(seconds * RATE)
    filled = np.concatenate([np.tile(signal, 1 + count // len(signal))[: max(0, count - len(speech))], speech])[-count:]
    (row,) = shipped.predict_channels(encode(tmp_path, "long", "flac", filled[:, None], RATE))
    assert row.duration == pytest.approx(seconds)
    assert row.status == "ok"
    if seconds >= 0.3:
        assert row.segments[-1].end == pytest.approx(seconds, abs=CLOSE)
    if seconds > len(signal) / RATE:
        assert len(row.segments) >= len(spans) * int(seconds / (len(signal) / RATE))


@pytest.mark.corpus
def test_clips_of_ravdess_keep_place_and_label_in_a_long_recording(
    shipped: Predictor, corpora: Path, tmp_path: Path
) -> None:
    """Ten clips of each of 24 speakers, at 8 kHz µ-law: as many labels are right as of the clips alone."""
    clips = sorted((corpora / "ravdess").glob("Actor_*/*.flac"))[2::6]
    truth = [EMOTIONS[int(path.name[6:8]) - 1] for path in clips]
    signals = [read_mono(path, 8_000) for path in clips]
    alone = []
    for number, signal in enumerate(signals):
        path = encode(tmp_path, f"{number}", "wav-ulaw", _level(signal)[:, None], 8_000)
        alone.append(shipped.predict(path))
    pause = np.zeros(round(PAUSE * 8_000))
    joined = np.concatenate([part for signal in signals for part in (pause, _level(signal))])
    starts = np.cumsum([0, *[len(pause) + len(signal) for signal in signals[:-1]]]) / 8_000 + PAUSE
    whole = shipped.predict(encode(tmp_path, "joined", "wav-ulaw", joined[:, None], 8_000))
    right, covered = 0, []
    for row, start, signal, emotion in zip(alone, starts, signals, truth, strict=True):
        here = inside(whole, start, start + len(signal) / 8_000)
        (sound,) = row.segments  # alone it is one segment, from the first to the last sound
        overlaps = [min(each.end - start, sound.end) - max(each.start - start, sound.start) for each in here]
        covered.append(sum(max(0.0, overlap) for overlap in overlaps) / (sound.end - sound.start))
        if here:
            mean = np.mean([np.log(segment.probabilities) for segment in here], axis=0)
            right += EMOTIONS[int(np.argmax(mean))] == emotion
    assert len(clips) == 240
    assert min(covered) > 0.2, "no clip is lost, not even a shout"
    assert np.mean(np.array(covered) > 0.5) >= 0.95
    assert right >= sum(row.emotion == emotion for row, emotion in zip(alone, truth, strict=True)) - 2


def _level(signal: Samples) -> Samples:
    """At a peak that a telephone would have, so that µ-law's noise lies well under it."""
    levelled: Samples = 0.5 * signal / np.abs(signal).max()
    return levelled
