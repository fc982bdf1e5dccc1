"""The front end against librosa and openSMILE, on one core, decoding included; and where its time goes."""

import contextlib
import hashlib
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import scipy.fft
import soundfile
import soxr
import torch
from sercli.features.journal import Journal

from sercli.audio.decode import read_signal
from sercli.audio.preprocess import normalise_level, preprocess, resample, to_mono, trim
from sercli.config import AudioConfig
from sercli.features.frontend import FeatureConfig, FrontEnd
from sercli.features.parameters import StoreParameters
from sercli.files import hash_file
from tests.benchmarks.measure import Row, compare, time_cpu

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
    y = preprocess(*read_signal(path), AudioConfig())
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


def make_sercli(config: FeatureConfig) -> Callable[[Path], np.ndarray]:
    """What featurize does with a recording, but for the check of its hash."""
    front_end, audio = FrontEnd(config), AudioConfig()
    return lambda path: front_end.extract(preprocess(*read_signal(path), audio))


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
    torch.set_num_threads(1)
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        times = time_cpu(tasks, few)
    ours = times["sercli"]
    rows = [
        compare("the paper's features, a clip", "librosa script", ours, times["librosa"], at_least=40),
        compare("the same", "librosa, one shared STFT", ours, times["librosa, shared"], at_least=1),
    ]
    logmel = times["sercli log-mel"]
    rows.append(
        compare("log-mel only", "librosa.load + melspectrogram", logmel, times["librosa log-mel"], at_least=1.5)
    )
    what = "openSMILE eGeMAPSv02 functionals"
    if "opensmile" in times:
        rows.insert(1, compare("the same", what, ours, times["opensmile"], at_least=20))
    else:
        rows.insert(1, Row(what="the same", against=what, ours="", theirs="", ratio=None, wanted="≥ 20×", reached=None))
    return rows


def measure_cuda(recordings: list[Path], batch: int = 256) -> Row:
    """The front end alone on a batch of signals in memory: a GPU against one CPU core, wall time."""
    what, against = f"front end on CUDA, batch of {batch}", "one CPU core"
    if not torch.cuda.is_available():
        return Row(what=what, against=against, ours="", theirs="", ratio=None, wanted="≥ 50×", reached=None)
    audio = AudioConfig()
    signals = [torch.from_numpy(preprocess(*read_signal(path), audio)) for path in recordings[:batch]]
    torch.set_num_threads(1)
    seconds = []
    for device in ("cuda", "cpu"):
        front_end, moved = FrontEnd(CONFIG).to(device), [signal.to(device) for signal in signals]
        best = float("inf")
        for _ in range(4):
            began = time.perf_counter()
            front_end(moved)
            torch.cuda.synchronize()
            best = min(best, time.perf_counter() - began)
        seconds.append(best / len(signals))
    return compare(what, against, *seconds, at_least=50)


def measure_stages(recordings: list[Path]) -> list[list[str]]:
    """Where the time of a recording goes: stage, milliseconds, share, the floor in milliseconds, and what it is."""
    torch.set_num_threads(1)
    front_end, audio = FrontEnd(CONFIG), AudioConfig()
    content = {path: path.read_bytes() for path in recordings}
    read = {path: read_signal(path) for path in recordings}
    mono = {path: to_mono(signal) for path, (signal, _) in read.items()}
    resampled = {path: resample(signal, read[path][1], audio.sample_rate) for path, signal in mono.items()}
    signals = {path: normalise_level(trim(s, audio.trim_db), audio.level_db) for path, s in resampled.items()}
    batches = {path: torch.from_numpy(signal)[None] for path, signal in signals.items()}
    power = {path: front_end.power(batch)[0].T.contiguous() for path, batch in batches.items()}
    frames = {path: make_frames(signal) for path, signal in signals.items()}
    matrices = {path: front_end.extract(signal).T.astype(np.float16) for path, signal in signals.items()}
    banks = torch.randn(CONFIG.n_mels + CONFIG.n_chroma, 1 + CONFIG.n_fft // 2)

    def level(path: Path) -> np.ndarray:
        return normalise_level(trim(resampled[path], audio.trim_db), audio.level_db)

    with tempfile.TemporaryDirectory() as folder, contextlib.closing(_open_journal(folder)) as journal:
        raw = (Path(folder) / "raw").open("wb", buffering=0)
        stages: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any], str]] = {
            "hash": (hash_file, lambda p: hashlib.sha256(content[p]).digest(), "SHA-256 of bytes in memory"),
            "decode": (read_signal, lambda p: soundfile.read(p, dtype="float32"), "libsndfile"),
            "resample": (
                lambda p: resample(mono[p], read[p][1], audio.sample_rate),
                lambda p: soxr.resample(mono[p], read[p][1], audio.sample_rate, quality="HQ"),
                "soxr HQ",
            ),
            "trim and level": (level, lambda p: resampled[p] * np.float32(2), "one pass over memory"),
            "FFT and power": (
                lambda p: front_end.power(batches[p]),
                lambda p: scipy.fft.rfft(frames[p]),
                "pocketfft of frames in memory",
            ),
            "whole front end": (
                lambda p: front_end.extract(signals[p]),
                lambda p: banks @ power[p],
                "matrix products of mel and chroma",
            ),
            "journal": (
                lambda p: journal.append(p.name, matrices[p]),
                lambda p: raw.write(matrices[p].tobytes()),
                "a plain write of the numbers",
            ),
        }
        times = time_cpu({name: stage for name, (stage, _, _) in stages.items()}, recordings)
        floors = time_cpu({name: floor for name, (_, floor, _) in stages.items()}, recordings)
        raw.close()
    times["whole front end"] -= times["FFT and power"]
    total = sum(times.values())
    return [
        [
            "filter banks, contrast, deltas" if name == "whole front end" else name,
            f"{times[name] * 1e3:.2f} ms",
            f"{times[name] / total:.0%}",
            f"{floors[name] * 1e3:.2f} ms",
            bound,
        ]
        for name, (_, _, bound) in stages.items()
    ]


def _open_journal(folder: str) -> Journal:
    return Journal(Path(folder) / "journal", StoreParameters())


def make_frames(signal: np.ndarray) -> np.ndarray:
    """Windowed frames in double precision, as the front end transforms them."""
    padded = np.pad(signal.astype(np.float64), CONFIG.n_fft // 2)
    return np.lib.stride_tricks.sliding_window_view(padded, CONFIG.n_fft)[:: CONFIG.hop_length] * np.hanning(
        CONFIG.n_fft
    )
