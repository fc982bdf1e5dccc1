import numpy as np
import pytest

from sercli.audio.quality import LITTLE_SPEECH, MAX_CLIPPED, MIN_LEVELS, MIN_SNR, QualityMeter
from sercli.audio.signal import Signal
from sercli.audio.splitters import count_speech
from sercli.audio.vad import FRAME, SAMPLE_RATE, VoiceDetector, frame_power
from tests.sounds import read_sample

SPEECH = ("man-even.wav", "woman-even.ogg", "woman-low-slow.wav")


def make_noise(n_samples: int, level: float, seed: int = 0) -> Signal:
    return (level * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def make_speech() -> Signal:
    """Several sentences, peaking at half of full scale, with pauses of a second and a faint background."""
    parts: list[Signal] = []
    for name in SPEECH:
        signal = read_sample(name)
        parts += [0.5 * signal / np.abs(signal).max(), np.zeros(SAMPLE_RATE, np.float32)]
    speech = np.concatenate(parts)
    return speech + make_noise(len(speech), 0.0005)


def make_chord(seconds: float, level: float) -> Signal:
    """Held notes of several harmonics, as of an organ."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    notes = [np.sin(2 * np.pi * pitch * k * time) / k for pitch in (261.63, 329.63, 392.0) for k in (1, 2, 3)]
    chord = np.sum(notes, axis=0)
    scaled: Signal = (level * chord / np.sqrt(np.mean(chord**2))).astype(np.float32)
    return scaled


def hear(signal: Signal, block: int = 10_000) -> tuple[str, ...]:
    meter, detector = QualityMeter(), VoiceDetector()
    padded = np.pad(signal, (0, -len(signal) % FRAME))
    probabilities = detector.feed(padded[None], last=True)[0]
    frames = max(1, block // FRAME)
    for start in range(0, len(probabilities), frames):
        part = padded[start * FRAME : (start + frames) * FRAME]
        meter.count(part)
        meter.listen(frame_power(part), probabilities[start : start + frames])
    speech = count_speech(probabilities)
    assert speech > 0
    return meter.judge(speech, has_speech=True)


def level_of_speech(signal: Signal) -> float:
    """Effective value of the frames that are speech."""
    frames = signal[: len(signal) // FRAME * FRAME].reshape(-1, FRAME)
    spoken = VoiceDetector().feed(signal[None], last=True)[0, : len(frames)] >= 0.5
    return float(np.sqrt(np.mean(frames[spoken] ** 2)))


@pytest.mark.parametrize("block", [FRAME - 1, 65_536])
def test_clean_speech_has_no_warnings(block: int) -> None:
    assert hear(make_speech(), block) == ()


@pytest.mark.parametrize("name", [*SPEECH, "man-low-slow.flac", "man-high-fast.flac", "woman-high-fast.wav"])
def test_a_clean_sentence_has_no_warnings(name: str) -> None:
    assert hear(read_sample(name)) == ()


def test_speech_in_as_loud_noise_is_noisy() -> None:
    speech = make_speech()
    noise = make_noise(len(speech), level_of_speech(speech) * 10 ** (-3 / 20))
    (warning,) = hear(speech + noise)
    assert warning == "noisy (speech only 5 dB above the background)"  # both together are 4.8 dB over noise at 3 dB


@pytest.mark.parametrize(("ratio", "warns"), [(MIN_SNR - 0.1, True), (MIN_SNR + 0.1, False)])
def test_noise_is_reported_below_a_ratio_between_speech_and_its_pauses(ratio: float, warns: bool) -> None:
    level = 10 ** (-ratio / 20)
    # Speech, its margin, a pause, perhaps speech: the second and the last belong to neither, however loud.
    parts = [(40, 1.0, 1.0), (4, 1.0, 0.0), (20, level, 0.05), (20, 2.0, 0.3)]
    meter = QualityMeter()
    meter.listen(
        np.concatenate([np.full(count, (0.1 * loud) ** 2, np.float32) for count, loud, _ in parts]),
        np.concatenate([np.full(count, voice, np.float32) for count, _, voice in parts]),
    )
    assert meter.judge(5.0, has_speech=True) == (("noisy (speech only 8 dB above the background)",) if warns else ())


@pytest.mark.parametrize(("ratio", "count", "warns"), [(9.9, 41, True), (9.9, 40, False), (10.1, 400, False)])
def test_other_sound_is_reported_where_more_of_it_than_speech_is_nearly_as_loud(
    ratio: float, count: int, warns: bool
) -> None:
    meter = QualityMeter()
    power = np.array([0.01] * 44 + [0.01 * 10 ** (-ratio / 10)] * count, np.float32)
    meter.listen(power, np.array([1.0] * 40 + [0.0] * (4 + count), np.float32))
    assert meter.judge(5.0, has_speech=True) == (("more noise or music than speech",) if warns else ())


def test_amplified_and_cut_off_speech_is_clipped() -> None:
    clipped = np.clip(20 * make_speech(), -1, 1)
    share = float(np.mean(np.abs(clipped) >= 0.99))
    assert share > 0.05
    assert hear(clipped) == (f"clipped ({share:.1%} of the samples at full scale or over)",)


@pytest.mark.parametrize(("clipped", "warns"), [(10, False), (11, True)])
def test_clipping_is_reported_from_its_share_on(clipped: int, warns: bool) -> None:
    signal = np.full(10_000, 0.98, np.float32)
    signal[:clipped:2], signal[1:clipped:2] = 0.99, -1.0
    meter = QualityMeter()
    for part in np.split(signal, [3, 5_000]):
        meter.count(part)
    assert MAX_CLIPPED == 0.001
    assert meter.judge(5.0, has_speech=True) == (
        ("clipped (0.1% of the samples at full scale or over)",) if warns else ()
    )


def test_a_long_loud_chord_is_other_sound() -> None:
    speech = make_speech()
    signal = np.concatenate([speech, make_chord(20, 0.7 * level_of_speech(speech)), np.zeros(SAMPLE_RATE, np.float32)])
    assert hear(signal) == ("more noise or music than speech",)


def test_a_faint_chord_does_no_harm() -> None:
    speech = make_speech()
    assert hear(np.concatenate([speech, make_chord(20, 0.03 * level_of_speech(speech))])) == ()


@pytest.mark.parametrize(("speech", "warnings"), [(0.3, ("only 0.30 s of speech",)), (LITTLE_SPEECH, ()), (60.0, ())])
def test_little_speech_is_reported(speech: float, warnings: tuple[str, ...]) -> None:
    assert QualityMeter().judge(speech, has_speech=True) == warnings


@pytest.mark.parametrize("n_frames", [*range(1, 12)])
def test_a_recording_of_a_few_frames_is_only_short(n_frames: int) -> None:
    meter = QualityMeter()
    meter.listen(frame_power(make_noise(n_frames * FRAME, 0.1)), np.ones(n_frames, np.float32))
    seconds = n_frames * FRAME / SAMPLE_RATE
    assert meter.judge(seconds, has_speech=True) == (f"only {seconds:.2f} s of speech",)


def test_a_cut_out_syllable_is_only_short() -> None:
    speech = read_sample("man-even.wav")
    loudest = int(np.convolve(speech**2, np.ones(4_000), mode="valid").argmax())
    (warning,) = hear(speech[loudest : loudest + 4_000])
    assert warning.startswith("only 0.")


def test_without_pauses_noise_cannot_be_measured() -> None:
    meter = QualityMeter()
    meter.listen(frame_power(make_noise(100 * FRAME, 0.1)), np.ones(100, np.float32))
    assert meter.judge(3.2, has_speech=True) == ()


def test_pauses_of_digital_silence_are_not_noise() -> None:
    meter = QualityMeter()
    signal = np.concatenate([make_noise(50 * FRAME, 0.1), np.zeros(50 * FRAME, np.float32)])
    meter.listen(frame_power(signal), np.repeat(np.array([1, 0], np.float32), 50))
    assert meter.judge(1.6, has_speech=True) == ()


@pytest.mark.parametrize(("levels", "warns"), [(MIN_LEVELS - 1, True), (MIN_LEVELS + 1, False)])
def test_speech_of_few_quantization_steps_is_very_quiet(levels: int, warns: bool) -> None:
    steps = np.resize(np.arange(-levels, levels + 1), 16_000)
    meter = QualityMeter()
    for part in np.split((steps / 32_768).astype(np.float32), [5, 3_000]):
        meter.count(part)
    expected = (f"very quiet (peak -54 dB full scale, {levels} quantization steps)",)
    assert meter.judge(5.0, has_speech=True) == (expected if warns else ())


def test_loud_speech_of_few_quantization_steps_is_coarsely_quantized() -> None:
    meter = QualityMeter()
    meter.count(np.resize(np.arange(-57, 58) / 128, 16_000).astype(np.float32))
    assert meter.judge(5.0, has_speech=True) == ("coarsely quantized (peak -7 dB full scale, 57 quantization steps)",)


def test_loud_sound_of_coarse_steps_is_not_quiet() -> None:
    meter = QualityMeter()
    meter.count(np.resize(np.array([-0.9, 0.9], np.float32), 16_000))
    assert meter.judge(5.0, has_speech=True) == ()


@pytest.mark.parametrize(("frames", "why"), [(40, "the level varies like speech"), (9, "it is too short to tell")])
def test_sound_that_was_scored_although_no_speech_was_detected_is_marked(frames: int, why: str) -> None:
    meter = QualityMeter()
    meter.listen(np.geomspace(1e-3, 1e-1, frames).astype(np.float32), np.full(frames, 0.05, np.float32))
    assert meter.judge(0.2, has_speech=False) == (f"no speech detected, scored because {why}",)


def test_a_sound_too_short_to_tell_a_hum_from_a_shout_is_not_silent() -> None:
    for frames, silences in ((2, (True, False)), (3, (False, False)), (15, (False, False)), (16, (True, True))):
        for probability, silent in zip((0.05, 0.4), silences, strict=True):
            meter = QualityMeter()
            meter.listen(np.full(frames, 0.01, np.float32), np.full(frames, probability, np.float32))
            assert meter.is_silent == silent


@pytest.mark.parametrize(
    ("db", "probability", "silent"),
    [
        ((-20.0, -20.0), 0.1, True),  # steady
        ((-20.0, -25.0), 0.1, True),
        ((-20.0, -27.0), 0.1, False),  # comes and goes
        ((-20.0, -23.0), 0.4, False),  # may be a voice
        ((-20.0, -21.0), 0.4, True),  # no voice is as even
        ((-61.0, -90.0), 0.1, True),  # next to nothing
        ((-59.0, -90.0), 0.1, False),
    ],
)
def test_silence_needs_voice_activity_and_level_to_agree(
    db: tuple[float, float], probability: float, silent: bool
) -> None:
    meter = QualityMeter()
    for _ in range(20):
        meter.listen((10 ** (np.array(db) / 10)).astype(np.float32), np.full(2, probability, np.float32))
    assert meter.is_silent == silent


def test_digital_silence_is_silent() -> None:
    meter = QualityMeter()
    assert meter.is_silent
    meter.listen(np.zeros(10, np.float32), np.ones(10, np.float32))
    assert meter.is_silent
