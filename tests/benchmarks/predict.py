"""predict as a user runs it: the whole command, start-up included, and what a pretrained encoder would cost instead."""

import csv
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import soundfile
import soxr
import torch

from tests.benchmarks.measure import Row
from tests.sounds import write_sound

TELEPHONE = 8_000  # Hz
HOUR = 3_600  # seconds
SHORT_FILES = (2_000, 20_000)
ENCODER_CLIPS = 16  # that the encoder is timed on; each takes about half a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a command took: wall seconds, and the most memory of all its processes together, in bytes."""

    seconds: float
    memory: int


def run_predict(folder: Path, *arguments: str | Path) -> Run:
    """Runs the command in a process of its own and watches its memory."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "sercli", "predict", "--quiet", "--out", folder / "report.csv", *arguments]
    )
    peak = [0]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            peak[0] = max(peak[0], measure_memory(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    seconds = time.monotonic() - began
    stop.set()
    watcher.join()
    if status:
        msg = f"predict ended with status {status}"
        raise RuntimeError(msg)
    return Run(seconds=seconds, memory=peak[0])


def measure_memory(pid: int) -> int:
    """Proportional set size of a process and its children: shared pages count once."""
    total = 0
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def make_call(path: Path, recordings: list[Path], seconds: int, channels: int) -> Path:
    """A recording of speech in turns, each side's clips with pauses between, as 8 kHz µ-law WAV."""
    rng = np.random.default_rng(0)
    clips: list[npt.NDArray[np.float32]] = []
    for recording in recordings[:: max(1, len(recordings) // 200)]:
        samples, rate = soundfile.read(recording, dtype="float32", always_2d=True)
        mono = soxr.resample(samples.mean(axis=1), rate, TELEPHONE)
        clips.append(0.5 * mono / max(float(np.abs(mono).max()), 1e-3))
    with soundfile.SoundFile(path, "w", TELEPHONE, channels, "ULAW") as stream:
        written = 0
        turn = 0
        while written < seconds * TELEPHONE:
            clip = clips[int(rng.integers(len(clips)))]
            block = 0.001 * rng.standard_normal((len(clip), channels))
            block[:, turn % channels] += clip
            stream.write(block[: seconds * TELEPHONE - written])
            written += len(block)
            turn += 1
    return path


def time_encoder(recordings: list[Path]) -> float:
    """Wall seconds a clip of a network of the size of wav2vec2-base, with random weights, on all cores."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

    torch.set_num_threads(psutil.cpu_count() or 1)
    network: torch.nn.Module = Wav2Vec2ForSequenceClassification(Wav2Vec2Config())
    network.train(mode=False)
    clips = []
    for recording in recordings[:: max(1, len(recordings) // ENCODER_CLIPS)][:ENCODER_CLIPS]:
        samples, rate = soundfile.read(recording, dtype="float32", always_2d=True)
        clips.append(torch.from_numpy(soxr.resample(samples.mean(axis=1), rate, 16_000))[None])
    with torch.inference_mode():
        network(clips[0])
        began = time.monotonic()
        for clip in clips:
            network(clip)
    return (time.monotonic() - began) / len(clips)


def measure_predict(recordings: list[Path], folder: Path, *, quick: bool) -> list[Row]:
    """The table of predict."""
    rows = []
    clips = run_predict(folder, recordings[0].parent)
    rate = len(recordings) / clips.seconds
    rows.append(
        _row(f"{len(recordings)} RAVDESS clips, files to report", "", f"{rate:.0f} clips/s", "≥ 60 clips/s", rate >= 60)
    )
    encoder = _try(lambda: time_encoder(recordings))
    if encoder:
        ratio = encoder * len(recordings) / clips.seconds
        rows.append(
            Row(
                what="the same clips",
                against="network of wav2vec2-base's size",
                ours=f"{clips.seconds:.1f} s",
                theirs=f"{encoder * len(recordings):.0f} s ({1e3 * encoder:.0f} ms a clip)",
                ratio=ratio,
                wanted="≥ 25×",
                reached=ratio >= 25,
            )
        )
    call = run_predict(folder, make_call(folder / "call.wav", recordings, HOUR, 2))
    speed = HOUR / call.seconds
    with (folder / "report.csv").open(newline="") as stream:
        channels = [row["channel"] for row in csv.DictReader(stream)]
    if channels != ["1", "2"]:
        msg = f"the call should have two rows, found {channels}"
        raise RuntimeError(msg)
    rows.append(
        _row("one-hour stereo call, both sides", "", f"{speed:.0f} × real time", "≥ 150 × real time", speed >= 150)
    )
    if quick:
        return rows
    one = run_predict(folder, make_call(folder / "one.wav", recordings, HOUR, 1))
    ten = run_predict(folder, make_call(folder / "ten.wav", recordings, 10 * HOUR, 1))
    rows.append(_row("ten-hour recording: memory", "", f"{ten.memory / 1e6:.0f} MB", "under 1 GB", ten.memory < 1e9))
    ratio = one.seconds / (ten.seconds / 10)
    rows.append(
        Row(
            what="ten-hour recording: speed",
            against="one hour",
            ours=f"{10 * HOUR / ten.seconds:.0f} × real time",
            theirs=f"{HOUR / one.seconds:.0f} × real time",
            ratio=ratio,
            wanted="≥ 0.95×",
            reached=ratio >= 0.95,
        )
    )
    return [*rows, *measure_growth(folder)]


def measure_growth(folder: Path) -> list[Row]:
    """Many short files against few: rate and memory."""
    rng = np.random.default_rng(1)
    runs = {}
    for count in SHORT_FILES:
        place = folder / f"short-{count}"
        for number in range(count):
            write_sound(place / f"{number % 100:02}" / f"{number}.wav", 0.1 * rng.standard_normal(4_800))
        runs[count] = run_predict(folder, place, "--vad", "off")
    few, many = (runs[count] for count in SHORT_FILES)
    rates = [count / runs[count].seconds for count in SHORT_FILES]
    ratio, more = rates[1] / rates[0], many.memory - few.memory
    return [
        Row(
            what=f"{SHORT_FILES[1]:,} short files: rate",
            against=f"{SHORT_FILES[0]:,}",
            ours=f"{rates[1]:.0f}/s",
            theirs=f"{rates[0]:.0f}/s",
            ratio=ratio,
            wanted="≥ 0.9×",
            reached=ratio >= 0.9,
        ),
        Row(
            what=f"{SHORT_FILES[1]:,} short files: memory",
            against=f"{SHORT_FILES[0]:,}",
            ours=f"{many.memory / 1e6:.0f} MB",
            theirs=f"{few.memory / 1e6:.0f} MB",
            ratio=None,
            wanted="under 100 MB more",
            reached=more < 100e6,
        ),
    ]


def _row(what: str, against: str, ours: str, wanted: str, reached: bool) -> Row:
    return Row(what=what, against=against, ours=ours, theirs="", ratio=None, wanted=wanted, reached=reached)


def _try(measure: Callable[[], float]) -> float | None:
    try:
        return measure()
    except ImportError:
        return None
