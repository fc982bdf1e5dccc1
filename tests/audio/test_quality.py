from pathlib import Path

import numpy as np
import pytest

from sercli.audio.decode import read_signal
from sercli.audio.quality import LEAST_SNR, LEAST_SPEECH, MOST_CLIPPED, QualityMeter
from sercli.audio.segments import Segmenter
from sercli.audio.signal import Signal
from sercli.audio.voice import FRAME, VOICE_RATE, VoiceDetector

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
SPEECH = ("man-even.wav", "woman-even.ogg", "woman-low-slow.wav")


def make_noise(n_samples: int, level: float, seed: int = 0) -> Signal:
    return (level * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def make_speech() -> Signal:
    """Several sentences, peaking at half of full scale, with pauses of a second and a faint background."""
    parts: list[Signal] = []
    for name in SPEECH:
        signal = read_signal(SAMPLES / name)[0][:, 0]
        parts += [0.5 * signal / np.abs(signal).max(), np.zeros(VOICE_RATE, np.float32)]
    speech = np.concatenate(parts)
    return speech + make_noise(len(speech), 0.0005)


def make_chord(seconds: float, level: float) -> Signal:
    """Held notes of several harmonics, as of an organ."""
    time = np.arange(round(seconds * VOICE_RATE)) / VOICE_RATE
    notes = [np.sin(2 * np.pi * pitch * k * time) / k for pitch in (261.63, 329.63, 392.0) for k in (1, 2, 3)]
    chord = np.sum(notes, axis=0)
    scaled: Signal = (level * chord / np.sqrt(np.mean(chord**2))).astype(np.float32)
    return scaled


def hear(signal: Signal, block: int = 10_000) -> tuple[str, ...]:
    meter, detector, segmenter, speech = QualityMeter(), VoiceDetector(), Segmenter(), 0.0
    for start in range(0, len(signal), block):
        part, last = signal[start : start + block], start + block >= len(signal)
        voice = detector.feed(part, last=last)
        meter.count(part)
        meter.listen(part, voice)
        speech += sum(segment.speech for segment in segmenter.feed(voice, last=last))
    assert speech > 0
    return meter.judge(speech)


def level_of_speech(signal: Signal) -> float:
    """Effective value of the frames that are speech."""
    frames = signal[: len(signal) // FRAME * FRAME].reshape(-1, FRAME)
    spoken = VoiceDetector().feed(signal, last=True)[: len(frames)] >= 0.5
    return float(np.sqrt(np.mean(frames[spoken] ** 2)))


@pytest.mark.parametrize("block", [FRAME - 1, 65_536])
def test_clean_speech_has_no_warnings(block: int) -> None:
    assert hear(make_speech(), block) == ()


@pytest.mark.parametrize("name", [*SPEECH, "man-low-slow.flac", "man-high-fast.flac", "woman-high-fast.wav"])
def test_a_clean_sentence_has_no_warnings(name: str) -> None:
    assert hear(read_signal(SAMPLES / name)[0][:, 0]) == ()


def test_speech_in_as_loud_noise_is_noisy() -> None:
    speech = make_speech()
    noise = make_noise(len(speech), level_of_speech(speech) * 10 ** (-3 / 20))
    (warning,) = hear(speech + noise)
    # Speech and noise together are 4.8 dB over noise at 3 dB, of which the detector may lose the faintest frames.
    assert warning in {f"noisy (speech {ratio} dB over what is between it)" for ratio in (4, 5, 6)}


@pytest.mark.parametrize(("ratio", "warns"), [(LEAST_SNR - 0.1, True), (LEAST_SNR + 0.1, False)])
def test_noise_is_told_under_a_ratio_between_speech_and_its_pauses(ratio: float, warns: bool) -> None:
    level = 10 ** (-ratio / 20)
    # Speech, its margin, a pause, perhaps speech: the second and the last belong to neither, however loud.
    parts = [(40, 1.0, 1.0), (4, 1.0, 0.0), (20, level, 0.05), (20, 2.0, 0.3)]
    meter = QualityMeter()
    meter.listen(
        np.concatenate([np.full(count * FRAME, 0.1 * loud, np.float32) for count, loud, _ in parts]),
        np.concatenate([np.full(count, voice, np.float32) for count, _, voice in parts]),
    )
    assert meter.judge(5.0) == (("noisy (speech 8 dB over what is between it)",) if warns else ())


@pytest.mark.parametrize(("ratio", "count", "warns"), [(9.9, 41, True), (9.9, 40, False), (10.1, 400, False)])
def test_other_sound_is_told_where_more_of_it_than_speech_is_nearly_as_loud(
    ratio: float, count: int, warns: bool
) -> None:
    meter = QualityMeter()
    signal = np.repeat(np.array([0.1] * 44 + [0.1 * 10 ** (-ratio / 20)] * count, np.float32), FRAME)
    meter.listen(signal, np.array([1.0] * 40 + [0.0] * (4 + count), np.float32))
    assert meter.judge(5.0) == (("more noise or music than speech",) if warns else ())


def test_amplified_and_cut_off_speech_is_clipped() -> None:
    clipped = np.clip(20 * make_speech(), -1, 1)
    share = float(np.mean(np.abs(clipped) >= 0.99))
    assert share > 0.05
    assert hear(clipped) == (f"clipped ({share:.1%} of the samples at full scale or over)",)


@pytest.mark.parametrize(("clipped", "warns"), [(10, False), (11, True)])
def test_clipping_is_told_from_its_share_on(clipped: int, warns: bool) -> None:
    signal = np.full(10_000, 0.98, np.float32)
    signal[:clipped:2], signal[1:clipped:2] = 0.99, -1.0
    meter = QualityMeter()
    for part in np.split(signal, [3, 5_000]):
        meter.count(part)
    assert MOST_CLIPPED == 0.001
    assert meter.judge(5.0) == (("clipped (0.1% of the samples at full scale or over)",) if warns else ())


def test_a_long_loud_chord_is_other_sound() -> None:
    speech = make_speech()
    signal = np.concatenate([speech, make_chord(20, 0.7 * level_of_speech(speech)), np.zeros(VOICE_RATE, np.float32)])
    assert hear(signal) == ("more noise or music than speech",)


def test_a_faint_chord_does_no_harm() -> None:
    speech = make_speech()
    assert hear(np.concatenate([speech, make_chord(20, 0.03 * level_of_speech(speech))])) == ()


@pytest.mark.parametrize(("speech", "warnings"), [(0.3, ("only 0.30 s of speech",)), (LEAST_SPEECH, ()), (60.0, ())])
def test_little_speech_is_told(speech: float, warnings: tuple[str, ...]) -> None:
    assert QualityMeter().judge(speech) == warnings


@pytest.mark.parametrize("n_frames", [*range(1, 12)])
def test_a_recording_of_a_few_frames_is_only_short(n_frames: int) -> None:
    meter = QualityMeter()
    meter.listen(make_noise(n_frames * FRAME, 0.1), np.ones(n_frames, np.float32))
    seconds = n_frames * FRAME / VOICE_RATE
    assert meter.judge(seconds) == (f"only {seconds:.2f} s of speech",)


def test_a_cut_out_syllable_is_only_short() -> None:
    speech = read_signal(SAMPLES / "man-even.wav")[0][:, 0]
    loudest = int(np.convolve(speech**2, np.ones(4_000), mode="valid").argmax())
    (warning,) = hear(speech[loudest : loudest + 4_000])
    assert warning.startswith("only 0.")


def test_without_pauses_noise_cannot_be_told() -> None:
    meter = QualityMeter()
    meter.listen(make_noise(100 * FRAME, 0.1), np.ones(100, np.float32))
    assert meter.judge(3.2) == ()


def test_pauses_of_digital_silence_are_not_noise() -> None:
    meter = QualityMeter()
    signal = np.concatenate([make_noise(50 * FRAME, 0.1), np.zeros(50 * FRAME, np.float32)])
    meter.listen(signal, np.repeat(np.array([1, 0], np.float32), 50))
    assert meter.judge(1.6) == ()
