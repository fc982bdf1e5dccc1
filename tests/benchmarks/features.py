"""The front end against librosa and openSMILE on one core, decoding included; and where the time goes."""

import hashlib
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile
import soxr
from threadpoolctl import threadpool_limits

from sercli.audio.decode import read_signal
from sercli.audio.segmentation import Segment, read_segments
from sercli.config import AudioConfig
from sercli.features.filters import make_mel_filters
from sercli.features.frontend import Analysis, FeatureConfig, extract_features
from sercli.features.parameters import StoreParameters
from sercli.files import hash_file
from sercli.journal import Journal
from tests.benchmarks.measure import Row, compare, time_cpu
from tests.sounds import preprocess_recording

CONFIG = FeatureConfig()
PAPER = FeatureConfig(names=("mfcc", "delta", "delta2", "chroma", "logmel", "contrast", "tonnetz"))
RATE = 22_050  # Hz, the rate that scripts with librosa take by default


def load_simply(path: Path) -> np.ndarray:
    signal: np.ndarray = librosa.load(path, sr=RATE)[0]
    return signal


def librosa_simply(path: Path) -> list[np.ndarray]:
    """The paper's features as a script would have them, each function on its own."""
    y = load_simply(path)
    mfcc = librosa.feature.mfcc(y=y, sr=RATE, n_mfcc=40)
    return [
        mfcc,
        librosa.feature.delta(mfcc),
        librosa.feature.delta(mfcc, order=2),
        librosa.feature.chroma_stft(y=y, sr=RATE),
        librosa.power_to_db(librosa.feature.melspectrogram(y=y, sr=RATE)),
        librosa.feature.spectral_contrast(y=y, sr=RATE),
        librosa.feature.tonnetz(y=librosa.effects.harmonic(y), sr=RATE),
    ]


def librosa_shared(path: Path) -> list[np.ndarray]:
    """Our features by librosa's functions from one spectrum that they share, on our signal."""
    y = preprocess_recording(*read_signal(path), AudioConfig())
    magnitude = np.abs(librosa.stft(y, n_fft=CONFIG.n_fft, hop_length=CONFIG.hop_length))
    power = magnitude**2
    rate = CONFIG.sample_rate
    mel = librosa.feature.melspectrogram(S=power, sr=rate, n_mels=CONFIG.n_mels, fmin=CONFIG.fmin, fmax=CONFIG.fmax)
    logmel = librosa.power_to_db(mel)
    mfcc = librosa.feature.mfcc(S=logmel, n_mfcc=40)
    chroma = librosa.feature.chroma_stft(S=power, sr=rate, tuning=0.0)
    return [
        mfcc,
        librosa.feature.delta(mfcc),
        librosa.feature.delta(mfcc, order=2),
        chroma,
        logmel,
        librosa.feature.spectral_contrast(S=magnitude, sr=rate),
        librosa.feature.tonnetz(chroma=chroma, sr=rate),
    ]


def librosa_logmel(path: Path) -> np.ndarray:
    y = load_simply(path)
    logmel: np.ndarray = librosa.power_to_db(librosa.feature.melspectrogram(y=y, sr=RATE))
    return logmel


def make_sercli(config: FeatureConfig) -> Callable[[Path], list[np.ndarray]]:
    """What featurize does with a recording, but for the check of its hash."""
    parameters = StoreParameters(features=config)

    def extract(path: Path) -> list[np.ndarray]:
        parts = read_segments(path, parameters.audio, parameters.segmentation, skip_vad=True)
        return [extract_features(part.signal, config) for part in parts if isinstance(part, Segment)]

    return extract


def make_opensmile() -> Callable[[Path], Any] | None:
    try:
        import opensmile
    except ImportError:
        return None
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.Functionals
    )
    return lambda path: smile.process_file(str(path))


def measure_features(recordings: list[Path]) -> list[Row]:
    """CPU time per recording, one thread."""
    few = recordings[:: max(1, len(recordings) // 24)]
    tasks: dict[str, Callable[[Path], Any]] = {
        "sercli": make_sercli(PAPER),
        "sercli log-mel": make_sercli(FeatureConfig(names=("logmel",))),
        "librosa": librosa_simply,
        "librosa, shared": librosa_shared,
        "librosa log-mel": librosa_logmel,
    }
    if smile := make_opensmile():
        tasks["opensmile"] = smile
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        times = time_cpu(tasks, few)
    ours = times["sercli"]
    rows = [
        compare("the paper's features, a clip", "librosa script", ours, times["librosa"]),
        compare("the same", "librosa, one shared STFT", ours, times["librosa, shared"]),
    ]
    logmel = times["sercli log-mel"]
    rows.append(compare("log-mel only", "librosa.load + melspectrogram", logmel, times["librosa log-mel"]))
    what = "openSMILE eGeMAPSv02 functionals"
    if "opensmile" in times:
        rows.insert(1, compare("the same", what, ours, times["opensmile"]))
    else:
        rows.insert(1, Row(what="the same", against=what, ours="", theirs="", ratio=None))
    return rows


def measure_stages(recordings: list[Path]) -> list[list[str]]:
    """Where the time of a recording goes: stage, milliseconds, share, the floor in milliseconds, and what it is."""
    logmel, audio = StoreParameters().select(("logmel",)), AudioConfig()
    content = {path: path.read_bytes() for path in recordings}
    read = {path: read_signal(path) for path in recordings}
    mono = {path: np.ascontiguousarray(signal.reshape(len(signal), -1)[:, 0]) for path, (signal, _) in read.items()}
    signals = {path: preprocess_recording(*read[path], audio) for path in recordings}
    frames = {path: np.ascontiguousarray(Analysis(s, CONFIG).frames, np.float64) for path, s in signals.items()}
    power = {path: Analysis(signal, CONFIG).power for path, signal in signals.items()}
    matrices = {path: extract_features(signal, logmel.features).tobytes() for path, signal in signals.items()}
    mel = make_mel_filters(CONFIG.sample_rate, CONFIG.n_fft, CONFIG.n_mels, CONFIG.fmin, CONFIG.fmax).T.copy()

    def segment(path: Path) -> int:
        return sum(1 for _ in read_segments(path, audio, logmel.segmentation, skip_vad=True))

    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal", "bench") as journal:
        raw = (Path(folder) / "raw").open("wb", buffering=0)
        stages: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any], str]] = {
            "hash": (hash_file, lambda p: hashlib.sha256(content[p]).digest(), "SHA-256 of bytes in memory"),
            "decode": (read_signal, lambda p: soundfile.read(p, dtype="float32"), "libsndfile"),
            "resample, trim, level": (
                segment,
                lambda p: soxr.resample(mono[p], read[p][1], audio.sample_rate, quality="HQ"),
                "soxr HQ",
            ),
            "log-mel": (
                lambda p: extract_features(signals[p], logmel.features),
                lambda p: (np.fft.rfft(frames[p]), power[p] @ mel),
                "FFT of frames in memory and one matrix product",
            ),
            "journal": (
                lambda p: journal.append(p.name, matrices[p]),
                lambda p: raw.write(matrices[p]),
                "a plain write of the numbers",
            ),
        }
        with threadpool_limits(1):
            times = time_cpu({name: stage for name, (stage, _, _) in stages.items()}, recordings)
            floors = time_cpu({name: floor for name, (_, floor, _) in stages.items()}, recordings)
        raw.close()
    times["resample, trim, level"] -= times["decode"]
    total = sum(times.values())
    return [
        [name, f"{times[name] * 1e3:.2f} ms", f"{times[name] / total:.0%}", f"{floors[name] * 1e3:.2f} ms", bound]
        for name, (_, _, bound) in stages.items()
    ]
