"""Filter banks and other constant matrices of the front end, in pure numpy.

All follow librosa 0.10 and later (McFee et al. 2015, "librosa: Audio and Music Signal Analysis in Python"), without
importing it, which takes half a second.
"""

import itertools
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sercli.errors import UsageError

Matrix = npt.NDArray[np.float32]

LINEAR_MEL = 200.0 / 3  # Hz per mel up to 1 kHz, Slaney 1998, "Auditory Toolbox"
LOG_START = 1_000.0  # Hz, where the mel scale becomes logarithmic
LOG_STEP = float(np.log(6.4)) / 27.0  # log frequency per mel above
CHROMA_CENTER, CHROMA_WIDTH = 5.0, 2.0  # octaves: mean and std of the octave weighting, defaults of librosa
CONTRAST_FMIN = 200.0  # Hz, upper edge of the lowest contrast band
CONTRAST_OCTAVES = 6  # number of bands above the lowest
CONTRAST_QUANTILE = 0.02  # fraction of a band's bins averaged for its peak and its valley
MEL_GROUP = 32  # mel bands per matrix product


def mel_frequencies(n_points: int, fmin: float, fmax: float) -> npt.NDArray[np.float64]:
    """Frequencies (Hz) evenly spaced on Slaney's mel scale: linear below 1 kHz, logarithmic above.

    Args:
        n_points: Number of frequencies, both ends included.
        fmin: Lowest frequency (Hz).
        fmax: Highest frequency (Hz).
    """
    mels = np.linspace(_to_mel(fmin), _to_mel(fmax), n_points)
    linear = LINEAR_MEL * mels
    start = LOG_START / LINEAR_MEL
    frequencies: npt.NDArray[np.float64] = np.where(
        mels < start, linear, LOG_START * np.exp(LOG_STEP * (np.maximum(mels, start) - start))
    )
    return frequencies


def _to_mel(frequency: float) -> float:
    if frequency < LOG_START:
        return frequency / LINEAR_MEL
    return LOG_START / LINEAR_MEL + float(np.log(frequency / LOG_START)) / LOG_STEP


def make_mel_filters(sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float) -> Matrix:
    """Makes triangular mel filters of unit area in shape ``(n_mels, 1 + n_fft // 2)``, like `librosa.filters.mel`."""
    edges = mel_frequencies(n_mels + 2, fmin, fmax)
    bins = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    slopes = np.subtract.outer(edges, bins)
    steps = np.diff(edges)[:, None]
    triangles = np.maximum(0, np.minimum(-slopes[:-2] / steps[:-1], slopes[2:] / steps[1:]))
    filters: Matrix = (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)
    return filters


@lru_cache(maxsize=8)
def group_mel_filters(
    sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float
) -> tuple[tuple[slice, slice, Matrix], ...]:
    """Groups neighboring mel filters: a few narrow matrix products are faster than one with mostly zeros.

    Returns:
        Bands, bins, and weights in shape ``(n_bins, n_bands)`` of each group.
    """
    filters = make_mel_filters(sample_rate, n_fft, n_mels, fmin, fmax)
    groups = []
    for first in range(0, n_mels, MEL_GROUP):
        group = filters[first : first + MEL_GROUP]
        used = np.flatnonzero(group.any(axis=0))
        bins = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
        weights = np.ascontiguousarray(group[:, bins].T)
        groups.append((slice(first, first + len(group)), bins, weights))
    return tuple(groups)


@lru_cache(maxsize=8)
def make_chroma_filters(sample_rate: int, n_fft: int, n_chroma: int) -> Matrix:
    """Makes weights from bins to pitch classes in shape ``(1 + n_fft // 2, n_chroma)``, like `librosa.filters.chroma`.

    Gaussian in pitch, of unit norm in each bin, weighted by octave. The tuning is 0 (A4 = 440 Hz), the first class is C
    (Ellis 2007, "Chroma feature analysis and synthesis").
    """
    frequencies = np.linspace(0, sample_rate, n_fft, endpoint=False)[1:]
    pitches = n_chroma * np.log2(frequencies / (440.0 / 16))
    pitches = np.concatenate([[pitches[0] - 1.5 * n_chroma], pitches])  # 0 Hz lies 1.5 octaves below the first bin
    widths = np.append(np.maximum(np.diff(pitches), 1.0), 1.0)
    half = round(n_chroma / 2)
    distances = (pitches[:, None] - np.arange(n_chroma) + half + 10 * n_chroma) % n_chroma - half
    weights = np.exp(-0.5 * (2 * distances / widths[:, None]) ** 2)
    weights /= np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    weights *= np.exp(-0.5 * ((pitches / n_chroma - CHROMA_CENTER) / CHROMA_WIDTH) ** 2)[:, None]
    weights = np.roll(weights, -3 * (n_chroma // 12), axis=1)  # from A to C
    return np.ascontiguousarray(weights[: 1 + n_fft // 2], dtype=np.float32)


@lru_cache(maxsize=8)
def make_cosines(n_mels: int, n_mfcc: int) -> npt.NDArray[np.float64]:
    """Makes an orthonormal DCT-II in shape ``(n_mels, n_mfcc)``, in double precision because sums of dB are large."""
    angles = np.pi / n_mels * np.outer(np.arange(n_mels) + 0.5, np.arange(n_mfcc))
    cosines: npt.NDArray[np.float64] = np.sqrt(2 / n_mels) * np.cos(angles)
    cosines[:, 0] /= np.sqrt(2)
    return cosines


@lru_cache(maxsize=8)
def make_derivatives(width: int) -> npt.NDArray[np.float32]:
    """Makes filters for the first and second derivative in shape ``(width, 2)``.

    Derivatives of order 1 and 2 of the polynomials of the same order fitted to the frames (Savitzky & Golay 1964).
    """
    steps = np.arange(width) - width // 2
    squares = np.square(steps)
    first = steps / squares.sum()
    second = 2 * (width * squares - squares.sum()) / (width * np.square(squares).sum() - squares.sum() ** 2)
    return np.stack([first, second], axis=1).astype(np.float32)


@lru_cache(maxsize=8)
def make_tonal_centroids(n_chroma: int) -> Matrix:
    """Makes circles of fifths, minor and major thirds in shape ``(n_chroma, 6)`` (Harte, Sandler & Gasser 2006)."""
    pitches = np.linspace(0, 12, num=n_chroma, endpoint=False)
    angles = np.multiply.outer(pitches, [7.0 / 6, 7.0 / 6, 3.0 / 2, 3.0 / 2, 2.0 / 3, 2.0 / 3])
    angles[:, ::2] -= 0.5  # turns sine into cosine of the same angle
    return (np.array([1.0, 1.0, 1.0, 1.0, 0.5, 0.5]) * np.cos(np.pi * angles)).astype(np.float32)


@lru_cache(maxsize=8)
def find_contrast_bands(sample_rate: int, n_fft: int) -> tuple[tuple[int, int, int], ...]:
    """Finds the octave bands of spectral contrast: first bin, end, and number of bins averaged per peak and valley.

    Bounds follow `librosa.feature.spectral_contrast`: each band but the lowest includes one bin below its edge, each
    but the highest omits its last bin, and the highest extends to half the sample rate.

    Raises:
        UsageError: If the highest band would start above half the sample rate, or a band has fewer than two bins.
    """
    edges = np.concatenate([[0.0], CONTRAST_FMIN * 2.0 ** np.arange(CONTRAST_OCTAVES + 1)])
    if edges[-2] >= sample_rate / 2:
        msg = f"spectral contrast needs a sample rate over {2 * edges[-2]:.0f} Hz, found {sample_rate} Hz"
        raise UsageError(msg)
    frequencies = np.linspace(0, sample_rate / 2, 1 + n_fft // 2)
    bands = []
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = np.flatnonzero((frequencies >= low) & (frequencies <= high))
        if len(inside) < 2:
            msg = f"spectral contrast needs bins between {low:g} and {high:g} Hz: raise n_fft, found {n_fft}"
            raise UsageError(msg)
        start, stop = int(inside[0]), int(inside[-1]) + 1
        if number > 0:
            start -= 1
        if number == CONTRAST_OCTAVES:
            stop = len(frequencies)
        # librosa computes the quantile before it omits the last bin.
        count = int(max(np.rint(CONTRAST_QUANTILE * (stop - start)), 1))
        bands.append((start, stop - (number < CONTRAST_OCTAVES), count))
    return tuple(bands)
