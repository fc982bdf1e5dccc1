import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal
import torch

from sercli.audio.degradation import degrade
from sercli.audio.preprocess import resample
from sercli.errors import UsageError
from sercli.features.filters import mel_frequencies
from sercli.features.frontend import FeatureConfig, compute_features
from sercli.models.normalizer import Normalizer
from sercli.training import augmentation
from sercli.training.augmentation import SpectralAugmentation, smooth_labels
from sercli.training.recipe_files import RECIPES
from sercli.training.recipes import AugmentConfig

LOGMEL = FeatureConfig(names=("logmel",))
BANDS = LOGMEL.n_mels
NORMALIZER = Normalizer(
    mean=np.linspace(-20, -50, BANDS).astype(np.float32),
    std=np.linspace(8, 12, BANDS).astype(np.float32),
)
CPU = torch.device("cpu")


def make_voice(seconds: float, pitch: float = 150.0) -> npt.NDArray[np.float32]:
    """Harmonics up to 8 kHz, swelling four times a second."""
    times = np.arange(int(16_000 * seconds)) / 16_000
    harmonics = np.arange(1, int(8_000 / pitch))[:, None]
    voice = (np.sin(2 * np.pi * pitch * harmonics * times) / harmonics**0.5).sum(axis=0)
    swelling = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * times)
    swelled: npt.NDArray[np.float32] = (0.05 * voice * swelling).astype(np.float32)
    return swelled


def extract_logmel(signal: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Log-mel spectrogram in shape ``(bands, n_frames)``."""
    return compute_features(signal.astype(np.float32), LOGMEL)["logmel"].T


def smooth_all(truth: torch.Tensor, smoothing: float) -> torch.Tensor:
    return smooth_labels(truth, smoothing, torch.ones(len(truth), 8))


def make_batch(lengths: tuple[int, ...] = (90, 120, 40)) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalized log-mel of voices, zero beyond each length."""
    batch = torch.zeros(len(lengths), BANDS, max(lengths))
    for row, length in enumerate(lengths):
        matrix = extract_logmel(make_voice(seconds=length * 0.016, pitch=120 + 40 * row))[:, :length]
        batch[row, :, :length] = torch.from_numpy(NORMALIZER.apply(matrix.T).T.copy())
    return batch, torch.tensor(lengths)


def augment(config: AugmentConfig, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    batch, n_frames = make_batch()
    alter = SpectralAugmentation(config, LOGMEL, NORMALIZER, CPU)
    return alter(batch, n_frames, smooth_all(torch.tensor([0, 3, 5]), 0.0), torch.Generator().manual_seed(seed))


def to_db(batch: torch.Tensor) -> torch.Tensor:
    return batch * torch.from_numpy(NORMALIZER.std)[:, None] + torch.from_numpy(NORMALIZER.mean)[:, None]


def measure_power(batch: torch.Tensor) -> torch.Tensor:
    """Total power of each frame of a normalized log-mel spectrogram."""
    edges = mel_frequencies(BANDS + 2, fmin=40, fmax=8_000)
    bandwidths = torch.tensor(edges[2:] - edges[:-2], dtype=torch.float32)[:, None]
    return (10 ** (to_db(batch) / 10) * bandwidths).sum(dim=-2)


def choose(monkeypatch: pytest.MonkeyPatch, **values: float) -> None:
    """Turns off all degradations by constants but those named."""
    for name, value in {"NOISE_SHARE": 0.0, "TELEPHONE_SHARE": 0.0, "EQUALIZER_DB": 0.0, **values}.items():
        monkeypatch.setattr(augmentation, name, value)


def test_nothing_asked_for_changes_nothing() -> None:
    batch, n_frames = make_batch()
    altered, lengths, targets = augment(AugmentConfig())
    torch.testing.assert_close(altered, batch)
    assert lengths.tolist() == n_frames.tolist()
    assert targets.argmax(dim=1).tolist() == [0, 3, 5]


@pytest.mark.parametrize(
    "config",
    [
        AugmentConfig(crop=0.5),
        AugmentConfig(speed=0.2, warp=0.1),
        AugmentConfig(degraded=1.0),
        AugmentConfig(degraded=1.0, reverberation=1.0, babble=0.5, noise_margin=0.5),
        AugmentConfig(frequency_mask=8, time_mask=16),
        AugmentConfig(mixup=0.3),
        RECIPES["default"].augmentation,
    ],
)
def test_one_seed_gives_one_batch_and_padding_stays_zero(config: AugmentConfig) -> None:
    one, lengths, targets = augment(config)
    two, *_ = augment(config)
    other, *_ = augment(config, seed=1)
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert other.shape != one.shape or not torch.equal(other, one)
    assert torch.isfinite(one).all()
    for row, length in zip(one, lengths.tolist(), strict=True):
        assert not row[:, length:].any()
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(3))


def test_crop_takes_pieces_of_one_to_three_seconds() -> None:
    lengths = torch.tensor([300, 250, 40] * 20)
    numbers = torch.arange(1.0, 301).expand(60, BANDS, 300)  # a frame's value is its number
    batch = numbers * (numbers <= lengths[:, None, None])
    alter = SpectralAugmentation(AugmentConfig(crop=0.5), LOGMEL, NORMALIZER, CPU)
    cropped, n_frames, _ = alter(batch, lengths, torch.zeros(60, 8), torch.Generator().manual_seed(0))
    assert cropped.shape[2] == n_frames.max()
    whole = n_frames == lengths
    assert whole[2::3].all(), "a short utterance stays whole"
    assert 0.2 < whole[lengths > 40].float().mean() < 0.8
    seconds = n_frames[~whole] * 0.016
    assert seconds.min() > 0.95 < 2 < seconds.max() < 3.05
    starts = set()
    for piece, length in zip(cropped, n_frames.tolist(), strict=True):
        first = int(piece[0, 0])
        assert piece[0].tolist() == [*range(first, first + length), *[0] * (len(piece[0]) - length)]
        starts.add(first)
    assert len(starts) > 8
    assert (cropped[:, 0].amax(dim=1) <= lengths).all(), "no padding is taken"


def test_speed_changes_the_length_and_nothing_else_of_a_steady_sound() -> None:
    _, lengths, _ = augment(AugmentConfig(speed=0.3))
    ratios = lengths / torch.tensor([90, 120, 40])
    assert ((ratios > np.exp(-0.31)) & (ratios < np.exp(0.31))).all()
    assert (ratios != 1).any()
    alter = SpectralAugmentation(AugmentConfig(speed=0.3), LOGMEL, NORMALIZER, CPU)
    steady = torch.randn(1, BANDS, 1).expand(1, BANDS, 50)
    played, n_frames, _ = alter(steady, torch.tensor([50]), smooth_all(torch.tensor([0]), 0.0), torch.Generator())
    torch.testing.assert_close(played, steady[:, :, :1].expand(1, BANDS, int(n_frames)), rtol=1e-4, atol=1e-4)


def test_warp_moves_a_line_by_its_factor() -> None:
    alter = SpectralAugmentation(AugmentConfig(warp=0.2), LOGMEL, NORMALIZER, CPU)
    decibels = torch.full((64, BANDS, 20), -80.0)
    decibels[:, 80] = 0.0
    batch = (decibels - to_db(torch.zeros(1, BANDS, 1))) / (
        to_db(torch.ones(1, BANDS, 1)) - to_db(torch.zeros(1, BANDS, 1))
    )
    targets = smooth_all(torch.zeros(64, dtype=torch.long), 0.0)
    warped, *_ = alter(batch, torch.full((64,), 20), targets, torch.Generator())
    loudest = to_db(warped)[:, :, 10].argmax(dim=1)
    hertz = mel_frequencies(BANDS + 2, fmin=40, fmax=8_000)[1:-1]
    factors = hertz[80] / hertz[loudest.numpy()]
    assert factors.min() < 0.9 < 1.1 < factors.max()
    assert (np.abs(np.log(factors)) < 0.25).all()


def test_a_made_up_telephone_does_to_the_bands_what_a_real_one_does() -> None:
    voice = make_voice(seconds=1.5)
    real, rate = degrade(voice, 16_000, "telephone")
    before, after = extract_logmel(voice), extract_logmel(resample(real, rate, 16_000))
    batch = torch.from_numpy(NORMALIZER.apply(before.T).T.copy())[None].expand(200, -1, -1)
    alter = SpectralAugmentation(AugmentConfig(degraded=1.0), LOGMEL, NORMALIZER, CPU)
    n_frames = torch.full((200,), batch.shape[2])
    made, *_ = alter(batch, n_frames, smooth_all(torch.zeros(200, dtype=torch.long), 0.0), torch.Generator())
    high = slice(104, BANDS)  # bands over 4.4 kHz
    lost = before[high].mean() - after[high].mean()
    lost_in_copies = before[high].mean() - to_db(made)[:, high].mean(dim=(1, 2))
    assert lost > 10
    assert (lost_in_copies > lost - 6).float().mean() > 0.3  # about as many as go through a telephone, less noise
    assert (lost_in_copies < 6).float().mean() > 0.1


@pytest.mark.parametrize(
    "config",
    [AugmentConfig(degraded=1.0), AugmentConfig(degraded=1.0, reverberation=1.0, babble=0.5, noise_margin=0.5)],
)
def test_the_level_is_kept_whatever_the_channel_does(config: AugmentConfig) -> None:
    batch, n_frames = make_batch()
    altered, lengths, _ = augment(config)
    for row in range(len(batch)):
        before, after = (
            measure_power(b[row, :, :length]).mean() for b, length in ((batch, n_frames[row]), (altered, lengths[row]))
        )
        torch.testing.assert_close(after, before, rtol=1e-2, atol=0)


@pytest.mark.parametrize("slope", [-1.5, 0.0])
def test_simulated_noise_has_the_spectrum_and_level_of_real_noise(
    slope: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = np.arange(64_000) / 16_000
    tone = 0.1 * np.sin(2 * np.pi * 4_000 * times).astype(np.float32)
    amplitude = np.fft.rfftfreq(64_000, 1 / 16_000).clip(40) ** (slope / 2)
    amplitude[: 40 * 4] = 0  # what the lowest band does not hear
    noise = np.fft.irfft(np.fft.rfft(np.random.default_rng(0).standard_normal(64_000)) * amplitude)
    noise *= np.sqrt(np.mean(tone**2) / np.mean(noise**2)) * 10 ** (-20 / 20)
    clean = extract_logmel(tone)[:, 5:-5]
    noisy = extract_logmel(tone + noise)[:, 5:-5]
    monkeypatch.setattr(augmentation, "NOISE_SLOPE", (slope, slope))
    monkeypatch.setattr(augmentation, "NOISE_SNR", (20.0, 20.0))
    choose(monkeypatch, NOISE_SHARE=1.0)
    made = to_db(degrade_batch(torch.from_numpy(NORMALIZER.apply(clean.T).T.copy())[None]))[0]
    away = np.r_[4:85, 112:124]  # bands without the tone
    difference = 10 * np.log10((10 ** (made.numpy() / 10)).mean(1) / (10 ** (noisy / 10)).mean(1))[away]
    hertz = mel_frequencies(BANDS + 2, fmin=40, fmax=8_000)[1:-1][away]
    assert abs(np.polyfit(np.log2(hertz), difference, 1)[0]) < 0.3  # dB per octave
    assert abs(difference.mean()) < 1


def test_the_level_of_noise_does_not_depend_on_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentation, "NOISE_SNR", (10.0, 10.0))
    choose(monkeypatch, NOISE_SHARE=1.0, EQUALIZER_DB=4.0)
    batch, _ = make_batch((100,))
    alone = degrade_batch(batch.expand(100, -1, -1))
    padded = degrade_batch(torch.nn.functional.pad(batch, (0, 300)).expand(100, -1, -1), length=100)
    assert not padded[:, :, 100:].any()
    torch.testing.assert_close(to_db(padded[:, :, :100]).mean(), to_db(alone).mean(), rtol=0, atol=0.1)


def test_the_noise_of_the_codec_is_that_of_the_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    choose(monkeypatch, TELEPHONE_SHARE=1.0)
    lowpass = scipy.signal.butter(12, 1_000, fs=16_000, output="sos")
    rumble = scipy.signal.sosfilt(lowpass, np.random.default_rng(0).standard_normal(32_000)).astype(np.float32)
    clean = extract_logmel(0.2 * rumble)[:, 5:-5]
    coded, rate = degrade(0.2 * rumble, 16_000, "telephone")
    real = extract_logmel(resample(coded, rate, 16_000))[:, 5:-5]
    made = to_db(degrade_batch(torch.from_numpy(NORMALIZER.apply(clean.T).T.copy())[None].expand(20, -1, -1)))
    quiet = np.r_[70:90]  # bands between 1.7 and 2.9 kHz
    assert float(made[:, quiet].mean()) == pytest.approx(float(real[quiet].mean()), abs=4)
    by_band = made[:, quiet].mean(dim=(0, 2))
    assert float(by_band.max() - by_band.min()) < 1  # white


def test_a_made_up_room_decays_as_a_real_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    choose(monkeypatch)
    monkeypatch.setattr(augmentation, "REVERBERATION_TIME", (0.5, 0.5))
    monkeypatch.setattr(augmentation, "DIRECT_TO_REVERBERANT", (0.0, 0.0))
    rng, rate = np.random.default_rng(0), 16_000
    click = np.zeros(rate, np.float32)
    click[4_000:5_024] = rng.standard_normal(1_024)
    response = rng.standard_normal(rate // 2) * 10 ** (-3 * np.arange(rate // 2) / (rate // 2))
    response /= np.sqrt(np.sum(response**2))
    response[0] = 1.0
    clean, real = extract_logmel(click), extract_logmel(scipy.signal.fftconvolve(click, response)[:rate])
    batch = torch.from_numpy(NORMALIZER.apply(clean.T).T.copy())[None].expand(20, -1, -1)
    made = to_db(degrade_batch(batch, reverberation=1.0))
    tail = np.r_[24:36]  # 60 to 250 ms after the click
    by_frame = 10 * (10 ** (made.numpy() / 10)).mean(axis=(0, 1)).clip(1e-10)
    slopes = [
        np.polyfit(tail * 0.016, 10 * np.log10(power[tail]), 1)[0]
        for power in ((10 ** (real / 10)).mean(axis=0), by_frame)
    ]
    assert slopes[1] == pytest.approx(-120, abs=6)  # dB per second
    assert slopes[0] == pytest.approx(slopes[1], abs=15)
    ratio = [10 * np.log10(power[tail].sum() / power.max()) for power in ((10 ** (real / 10)).mean(axis=0), by_frame)]
    assert ratio[1] == pytest.approx(ratio[0], abs=2)


def test_babble_is_other_utterances_at_the_level_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    choose(monkeypatch, NOISE_SHARE=1.0, BABBLE_VOICES=1)
    monkeypatch.setattr(augmentation, "NOISE_SNR", (0.0, 0.0))
    tones = torch.full((2, BANDS, 50), -80.0)
    tones[0, 30], tones[1, 90] = 0.0, 0.0
    std, mean = (torch.from_numpy(values)[:, None] for values in (NORMALIZER.std, NORMALIZER.mean))
    made = to_db(degrade_batch(((tones - mean) / std).repeat(30, 1, 1), babble=1.0))[::2, :, 5]
    assert (made[:, 30] > -10).all()
    # The other tone is as loud as this one where it was drawn, which is half of the time.
    drawn = (made[:, 90] > -20).float().mean()
    assert 0.2 < drawn < 0.8


def test_noise_surrounds_a_noisy_utterance(monkeypatch: pytest.MonkeyPatch) -> None:
    choose(monkeypatch, NOISE_SHARE=0.5)
    monkeypatch.setattr(augmentation, "NOISE_SNR", (10.0, 10.0))
    batch, n_frames = make_batch((100,) * 40)
    alter = SpectralAugmentation(AugmentConfig(degraded=1.0, noise_margin=1.0), LOGMEL, NORMALIZER, CPU)
    targets = smooth_all(torch.zeros(40, dtype=torch.long), 0.0)
    made, lengths, _ = alter(batch, n_frames, targets, torch.Generator().manual_seed(0))
    assert lengths.min() == 100
    assert 130 < lengths.max() <= 225
    longest = int(lengths.argmax())
    power = measure_power(made[longest, :, : lengths[longest]])
    assert power.min() > power.max() / 1_000


def degrade_batch(
    batch: torch.Tensor, length: int | None = None, *, reverberation: float = 0.0, babble: float = 0.0
) -> torch.Tensor:
    """Degrades every utterance of a batch, all of one length."""
    n_frames = torch.full((len(batch),), length or batch.shape[2])
    config = AugmentConfig(degraded=1.0, reverberation=reverberation, babble=babble)
    alter = SpectralAugmentation(config, LOGMEL, NORMALIZER, CPU)
    targets = smooth_all(torch.zeros(len(batch), dtype=torch.long), 0.0)
    return alter(batch, n_frames, targets, torch.Generator().manual_seed(0))[0]


def test_mixed_utterances_have_mixed_targets() -> None:
    altered, lengths, targets = augment(AugmentConfig(mixup=1.0), seed=3)
    assert altered.shape[0] == 3
    assert (lengths >= torch.tensor([90, 120, 40])).all()
    assert ((targets > 0).sum(dim=1) <= 2).all()
    assert (targets.max(dim=1).values < 1).any()


def test_label_smoothing_spreads_its_share() -> None:
    targets = smooth_all(torch.tensor([2]), 0.1)
    assert targets[0, 2] == pytest.approx(0.9 + 0.1 / 8)
    assert targets[0, 0] == pytest.approx(0.1 / 8)


def test_other_features_are_refused() -> None:
    with pytest.raises(UsageError, match="logmel alone, found the features mfcc"):
        SpectralAugmentation(AugmentConfig(), FeatureConfig(names=("mfcc",)), NORMALIZER, CPU)
