"""Front end: computes all features of a signal from one power spectrum, in pure numpy.

To add a feature, write a function from an `Analysis` to a matrix and add an entry to `FEATURES`; ``sercli featurize``
then adds it to a feature store and keeps everything else.

Definitions follow librosa 0.10 and later. Two estimates of librosa are fixed: chroma assumes a tuning of 0 (A4 = 440
Hz), and tonnetz uses this chroma instead of a constant-Q one.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sercli.audio.signal import Signal
from sercli.config import Config, look_up
from sercli.errors import UsageError
from sercli.features.filters import (
    CONTRAST_OCTAVES,
    Matrix,
    find_contrast_bands,
    group_mel_filters,
    make_chroma_filters,
    make_cosines,
    make_derivatives,
    make_tonal_centroids,
)

HalfMatrix = npt.NDArray[np.float16]

AMIN = 1e-10  # smallest power converted to dB, as in librosa.power_to_db
TOP_DB = 80.0  # dB below a signal's maximum where its spectra are clipped, as in librosa.power_to_db
ZERO_CROSSING_FLOOR = 1e-10  # amplitudes up to this count as zero, as in librosa.zero_crossings
BLOCK = 16  # frames transformed at a time, so that they stay in the CPU's cache
FRAMING = ("sample_rate", "n_fft", "hop_length")  # parameters that every feature depends on


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConfig(Config):
    """Parameters of the front end, named as in librosa.

    Attributes:
        sample_rate: Sample rate of the signal (Hz).
        n_fft: Length of the Hann window and of the transform (samples).
        hop_length: Distance between frames (samples).
        n_mels: Number of bands of the log-mel spectrogram, also used for the MFCC.
        fmin: Lowest frequency of the mel bands (Hz).
        fmax: Highest frequency of the mel bands (Hz).
        n_mfcc: Number of cepstral coefficients.
        n_chroma: Number of pitch classes.
        delta_width: Length of the derivative filters (frames); odd.
        names: Features to compute, a subset of `FEATURES` in its order; all by default.
    """

    sample_rate: int = 16_000
    n_fft: int = 1_024
    hop_length: int = 256
    n_mels: int = 128
    fmin: float = 40.0
    fmax: float = 8_000.0
    n_mfcc: int = 40
    n_chroma: int = 12
    delta_width: int = 9
    names: tuple[str, ...] = dataclasses.field(default_factory=lambda: tuple(FEATURES))

    def __post_init__(self) -> None:
        self._require(
            condition=bool(self.names) and order_features(self.names) == self.names,
            name="names",
            expected=f"some of {', '.join(FEATURES)}, each once and in this order",
        )
        self._require(condition=64 <= self.n_fft <= 65_536, name="n_fft", expected="64 to 65536 samples")
        self._require(condition=1 <= self.n_mels <= 512, name="n_mels", expected="1 to 512")
        self._require(condition=1 <= self.n_chroma <= 48, name="n_chroma", expected="1 to 48")
        self._require(condition=0 < self.hop_length <= self.n_fft, name="hop_length", expected="1 to n_fft samples")
        self._require(
            condition=0 <= self.fmin < self.fmax <= self.sample_rate / 2,
            name="fmax",
            expected="over fmin and at most half the sample rate",
        )
        self._require(condition=1 <= self.n_mfcc <= self.n_mels, name="n_mfcc", expected="1 to n_mels")
        self._require(
            condition=3 <= self.delta_width < 100 and self.delta_width % 2 == 1,
            name="delta_width",
            expected="an odd number of 3 to 99 frames",
        )

    @property
    def sizes(self) -> dict[str, int]:
        """Rows of each feature, in order."""
        return {name: FEATURES[name].rows(self) for name in self.names}

    @property
    def n_features(self) -> int:
        """Rows of the feature matrix."""
        return sum(self.sizes.values())

    def select(self, names: tuple[str, ...]) -> "FeatureConfig":
        """Restricts the parameters to some features.

        Raises:
            UsageError: If a name is not among this configuration's features.
        """
        self.rows(names)
        return dataclasses.replace(self, names=names)

    def rows(self, names: tuple[str, ...]) -> list[int]:
        """Returns the row numbers of the named features in this configuration's matrix.

        Raises:
            UsageError: If a name is not among this configuration's features.
        """
        start, spans = 0, {}
        for name, size in self.sizes.items():
            spans[name] = range(start, start + size)
            start += size
        missing = [name for name in names if name not in spans]
        if missing:
            msg = f"feature {missing[0]!r} is missing: expected one of {', '.join(self.names)}"
            raise UsageError(msg)
        return [row for name in names for row in spans[name]]

    def fingerprint_of(self, name: str) -> str:
        """Returns 12 hex digits that identify a feature's values: its parameters and version.

        Other features have no influence, so that adding one changes nothing.
        """
        feature = FEATURES[name]
        parameters = {key: getattr(self, key) for key in (*FRAMING, *feature.parameters)}
        text = json.dumps({"name": name, "version": feature.version, **parameters}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def order_features(names: Iterable[str]) -> tuple[str, ...]:
    """Sorts unique names in the order of `FEATURES`.

    Raises:
        UsageError: If a name is unknown.
    """
    requested = {name: look_up("feature", name, FEATURES) for name in names}
    return tuple(name for name in FEATURES if name in requested)


def extract_features(signal: Signal, config: FeatureConfig) -> HalfMatrix:
    """Computes the feature matrix of a signal in half precision, as stored.

    Args:
        signal: Mono signal in shape ``(n_samples,)`` at ``config.sample_rate``.
        config: Features and parameters.

    Returns:
        Matrix in shape ``(n_features, n_frames)``, rows in the order of ``config.sizes``.

    Raises:
        UsageError: If the signal has no samples, or its sample rate is too low for a feature.
    """
    features = compute_features(signal, config).values()
    return np.concatenate(list(features), axis=1, dtype=np.float16, casting="same_kind").T


def compute_features(signal: Signal, config: FeatureConfig) -> dict[str, Matrix]:
    """Computes each feature of a signal in single precision, in shape ``(n_frames, rows)``.

    Args:
        signal: Mono signal in shape ``(n_samples,)`` at ``config.sample_rate``.
        config: Features and parameters.

    Raises:
        UsageError: If the signal has no samples, or its sample rate is too low for a feature.
    """
    if not len(signal):
        msg = "features of a signal without samples: expected at least one sample"
        raise UsageError(msg)
    analysis = Analysis(signal, config)
    return {name: analysis.get(name) for name in config.names}


class Analysis:
    """A signal and intermediate results shared by its features, computed on first use.

    Args:
        signal: Mono signal in shape ``(n_samples,)``, at least one sample.
        config: Parameters.

    Attributes:
        n_frames: Number of frames, centered as in librosa: ``1 + n_samples // hop_length``.
    """

    def __init__(self, signal: Signal, config: FeatureConfig) -> None:
        self.signal, self.config = signal, config
        self.n_frames = 1 + len(signal) // config.hop_length
        self._features: dict[str, Matrix] = {}

    def get(self, name: str) -> Matrix:
        """Returns a feature in shape ``(n_frames, rows)``, computing it on first use."""
        if name not in self._features:
            self._features[name] = FEATURES[name].compute(self)
        return self._features[name]

    @cached_property
    def frames(self) -> Matrix:
        """Frames centered over zero padding, a view in shape ``(n_frames, n_fft)``."""
        n_fft, hop = self.config.n_fft, self.config.hop_length
        padded = np.zeros(len(self.signal) + 2 * (n_fft // 2) + n_fft % 2, np.float32)
        padded[n_fft // 2 : n_fft // 2 + len(self.signal)] = self.signal
        return np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop][: self.n_frames]

    @cached_property
    def power(self) -> Matrix:
        """Power spectrum in shape ``(n_frames, 1 + n_fft // 2)``.

        Uses double precision, like librosa: in single precision, quiet bins next to loud ones would drown in rounding
        noise. numpy's transform is faster here than scipy's.
        """
        n_fft = self.config.n_fft
        window = 0.5 - 0.5 * np.cos(2 * np.pi / n_fft * np.arange(n_fft))  # Hann, periodic
        power = np.empty((self.n_frames, 1 + n_fft // 2), np.float32)
        block = min(BLOCK, self.n_frames)
        windowed, spectrum = np.empty((block, n_fft)), np.empty((block, power.shape[1]), np.complex128)
        for start in range(0, self.n_frames, block):
            part = power[start : start + block]
            size = len(part)
            np.multiply(self.frames[start : start + block], window, out=windowed[:size])
            np.fft.rfft(windowed[:size], out=spectrum[:size])
            squares = spectrum[:size].view(np.float64)
            np.square(squares, out=squares)
            np.add(squares[:, 0::2], squares[:, 1::2], out=part, casting="same_kind")
        return power


def compute_logmel(analysis: Analysis) -> Matrix:
    """Computes the log-mel spectrogram (dB), like `librosa.power_to_db` of `librosa.feature.melspectrogram`."""
    config = analysis.config
    mel = np.empty((analysis.n_frames, config.n_mels), np.float32)
    groups = group_mel_filters(config.sample_rate, config.n_fft, config.n_mels, config.fmin, config.fmax)
    for bands, bins, weights in groups:
        np.matmul(analysis.power[:, bins], weights, out=mel[:, bands])
    return _to_db(mel)


def compute_mfcc(analysis: Analysis) -> Matrix:
    """Computes cepstral coefficients, like `librosa.feature.mfcc`."""
    cosines = make_cosines(analysis.config.n_mels, analysis.config.n_mfcc)
    return (analysis.get("logmel").astype(np.float64) @ cosines).astype(np.float32)


def compute_delta(analysis: Analysis) -> Matrix:
    """Computes the first derivative of the MFCC, like `librosa.feature.delta`."""
    return _derive(analysis, 1)


def compute_delta2(analysis: Analysis) -> Matrix:
    """Computes the second derivative of the MFCC, like `librosa.feature.delta` of order 2."""
    return _derive(analysis, 2)


def _derive(analysis: Analysis, order: int) -> Matrix:
    """Computes a derivative of the MFCC; the ends repeat the first and last full window, like scipy's mode "interp".

    A signal shorter than the filter, which librosa rejects, is extended by its last frame.
    """
    mfcc, width = analysis.get("mfcc"), analysis.config.delta_width
    if len(mfcc) < width:
        mfcc = np.pad(mfcc, ((0, width - len(mfcc)), (0, 0)), mode="edge")
    weights = make_derivatives(width)[:, order - 1]
    windows = np.lib.stride_tricks.sliding_window_view(mfcc, width, axis=0)
    derived: Matrix = np.pad(windows @ weights, ((width // 2, width // 2), (0, 0)), mode="edge")
    return derived[: analysis.n_frames]


def compute_chroma(analysis: Analysis) -> Matrix:
    """Computes the relative energy of pitch classes, 0 to 1, like `librosa.feature.chroma_stft` with tuning 0."""
    config = analysis.config
    energy = analysis.power @ make_chroma_filters(config.sample_rate, config.n_fft, config.n_chroma)
    return _divide(energy, energy.max(axis=1, keepdims=True))


def compute_tonnetz(analysis: Analysis) -> Matrix:
    """Computes tonal centroids, like `librosa.feature.tonnetz` of `compute_chroma`."""
    chroma = analysis.get("chroma")
    return _divide(chroma, chroma.sum(axis=1, keepdims=True)) @ make_tonal_centroids(analysis.config.n_chroma)


def compute_contrast(analysis: Analysis) -> Matrix:
    """Computes octave-band spectral contrast (dB), like `librosa.feature.spectral_contrast` (Jiang et al. 2002)."""
    bands = find_contrast_bands(analysis.config.sample_rate, analysis.config.n_fft)
    peaks, valleys = (np.empty((analysis.n_frames, len(bands)), np.float32) for _ in range(2))
    for number, (start, stop, count) in enumerate(bands):
        ordered = np.sort(analysis.power[:, start:stop], axis=1)
        peaks[:, number] = np.sqrt(ordered[:, -count:]).mean(axis=1)
        valleys[:, number] = np.sqrt(ordered[:, :count]).mean(axis=1)
    return _to_db(peaks) - _to_db(valleys)


def compute_rms(analysis: Analysis) -> Matrix:
    """Computes the root mean square of each frame, like `librosa.feature.rms`."""
    energy = np.einsum("ij,ij->i", analysis.frames, analysis.frames, dtype=np.float64) / analysis.config.n_fft
    rms: Matrix = np.sqrt(energy).astype(np.float32)[:, None]
    return rms


def compute_zcr(analysis: Analysis) -> Matrix:
    """Computes zero crossings per sample of each frame, like `librosa.feature.zero_crossing_rate`."""
    config, signal = analysis.config, analysis.signal
    half = config.n_fft // 2
    negative = signal < -ZERO_CROSSING_FLOOR
    counts = np.zeros(len(signal), np.int32)  # crossings up to each sample
    np.cumsum(negative[1:] != negative[:-1], out=counts[1:])
    # The first sample of a frame has no neighbor in the frame and never counts.
    first = np.arange(analysis.n_frames) * config.hop_length - half
    last = first + config.n_fft - 1
    before, after = (np.where(at < 0, 0, counts[np.clip(at, 0, len(signal) - 1)]) for at in (first, last))
    crossings = after - before
    return (crossings / config.n_fft).astype(np.float32)[:, None]


def _to_db(power: Matrix) -> Matrix:
    """Like `librosa.power_to_db` with reference 1: clipped `TOP_DB` below the signal's maximum."""
    decibels: Matrix = 10 * np.log10(np.maximum(power, np.float32(AMIN)))
    clipped: Matrix = np.maximum(decibels, decibels.max() - np.float32(TOP_DB))
    return clipped


def _divide(chroma: Matrix, norm: Matrix) -> Matrix:
    """Like `librosa.util.normalize`: leaves frames with a norm near zero unchanged."""
    divisor = norm.copy()
    divisor[divisor < np.finfo(np.float32).tiny] = 1
    normalized: Matrix = chroma / divisor
    return normalized


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One feature of the front end.

    Attributes:
        rows: Function from parameters to the number of rows.
        compute: Function from a signal's analysis to the matrix in shape ``(n_frames, rows)``.
        parameters: Fields of `FeatureConfig` that affect its values, besides `FRAMING`.
        version: Version, to be raised with every change of its values.
    """

    rows: Callable[[FeatureConfig], int]
    compute: Callable[[Analysis], Matrix]
    parameters: tuple[str, ...] = ()
    version: int = 1


_MEL = ("n_mels", "fmin", "fmax")
_MFCC = (*_MEL, "n_mfcc")

FEATURES: dict[str, Feature] = {
    "mfcc": Feature(rows=lambda config: config.n_mfcc, compute=compute_mfcc, parameters=_MFCC),
    "delta": Feature(rows=lambda config: config.n_mfcc, compute=compute_delta, parameters=(*_MFCC, "delta_width")),
    "delta2": Feature(rows=lambda config: config.n_mfcc, compute=compute_delta2, parameters=(*_MFCC, "delta_width")),
    "chroma": Feature(rows=lambda config: config.n_chroma, compute=compute_chroma, parameters=("n_chroma",)),
    "logmel": Feature(rows=lambda config: config.n_mels, compute=compute_logmel, parameters=_MEL),
    "contrast": Feature(rows=lambda _: 1 + CONTRAST_OCTAVES, compute=compute_contrast),
    "tonnetz": Feature(rows=lambda _: 6, compute=compute_tonnetz, parameters=("n_chroma",)),
    "rms": Feature(rows=lambda _: 1, compute=compute_rms),
    "zcr": Feature(rows=lambda _: 1, compute=compute_zcr),
}
"""Every feature by name, in the order of the feature matrix."""
