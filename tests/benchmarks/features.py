"""The front end against librosa and openSMILE, on one core, decoding included; and where its time goes."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import torch

from sercli.audio.decode import read_signal
from sercli.audio.preprocess import normalise_level, preprocess, resample, to_mono, trim
from sercli.config import AudioConfig, FeatureConfig
from sercli.features.frontend import FrontEnd
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


def measure_stages(recordings: list[Path]) -> list[list[str]]:
    """Where the time of a recording goes: name, milliseconds, share, and what bounds it."""
    torch.set_num_threads(1)
    front_end, audio = FrontEnd(CONFIG), AudioConfig()
    read = {path: read_signal(path) for path in recordings}
    mono = {path: to_mono(signal) for path, (signal, _) in read.items()}
    resampled = {path: resample(signal, read[path][1], audio.sample_rate) for path, signal in mono.items()}
    signals = {path: normalise_level(trim(s, audio.trim_db), audio.level_db) for path, s in resampled.items()}
    batches = {path: torch.from_numpy(signal)[None] for path, signal in signals.items()}
    stages: dict[str, tuple[Callable[[Path], Any], str]] = {
        "hash the file": (hash_file, "SHA-256 of the processor"),
        "decode": (read_signal, "libsndfile"),
        "resample": (lambda p: resample(mono[p], read[p][1], audio.sample_rate), "soxr HQ"),
        "trim and level": (
            lambda p: normalise_level(trim(resampled[p], audio.trim_db), audio.level_db),
            "a few passes over memory",
        ),
        "FFT and power": (lambda p: front_end.power(batches[p]), "pocketfft, double precision"),
        "whole front end": (lambda p: front_end.extract(signals[p]), "FFT and filter banks"),
    }
    times = time_cpu({name: task for name, (task, _) in stages.items()}, recordings)
    filters = times["whole front end"] - times["FFT and power"]
    shown = {**times, "filter banks and the rest": filters}
    del shown["whole front end"]
    total = sum(shown.values())
    bounds = {name: bound for name, (_, bound) in stages.items()} | {
        "filter banks and the rest": "selection of peaks and valleys for the contrast takes a third of it"
    }
    return [[name, f"{value * 1e3:.2f} ms", f"{value / total:.0%}", bounds[name]] for name, value in shown.items()]
