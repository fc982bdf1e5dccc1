"""predict as a user runs it: the whole command, start-up included, and what a pretrained encoder would cost instead."""

import csv
import hashlib
import resource
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
from threadpoolctl import threadpool_limits

from sercli.audio.decode import read_signal
from sercli.audio.preprocess import resample, to_mono
from sercli.audio.segmentation import Segment, read_segments
from sercli.audio.vad import SAMPLE_RATE, VoiceDetector
from sercli.features.frontend import extract_features
from sercli.models.model import Model
from sercli.prediction.discovery import Recording
from sercli.prediction.scoring import RecordingScorer
from sercli.prediction.settings import ScoringSettings
from tests.benchmarks.measure import ROUNDS, Row
from tests.dask_cluster import start_cluster
from tests.sounds import write_sound

TELEPHONE = 8_000  # Hz
HOUR = 3_600  # seconds
SHORT_FILES = (2_000, 20_000)
ENCODER_CLIPS = 16  # that the encoder is timed on; each takes about half a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a command took.

    Attributes:
        seconds: wall time.
        cpu: seconds of CPU of all its processes together.
        memory: peak of all its processes together, in bytes; shared pages count once.
        worker: peak of its largest worker, in bytes.
    """

    seconds: float
    cpu: float
    memory: int
    worker: int


def run_predict(folder: Path, *arguments: str | Path) -> Run:
    """Runs the command in a process of its own and watches its memory."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        [sys.executable, "-m", "sercli", "predict", "--quiet", "--out", folder / "report.csv", *arguments]
    )
    peak, worker = [0], [0]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            sizes = measure_memory(process.pid)
            peak[0] = max(peak[0], sum(sizes))
            worker[0] = max(worker[0], *sizes[1:], 0)

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    seconds = time.monotonic() - began
    stop.set()
    watcher.join()
    if status:
        msg = f"predict ended with status {status}"
        raise RuntimeError(msg)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(seconds=seconds, cpu=cpu, memory=peak[0], worker=worker[0])


def measure_memory(pid: int) -> list[int]:
    """Proportional set sizes of a process and its children: shared pages count once."""
    sizes = []
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return [0]
    for process in processes:
        try:
            sizes.append(process.memory_full_info().pss)
        except psutil.Error:
            continue
    return sizes or [0]


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
    runs = [run_predict(folder, recordings[0]) for _ in range(ROUNDS)]
    start = min(run.cpu for run in runs)
    rows.append(_row("one recording, CPU seconds of all processes", "", f"{start:.2f} s"))
    clips = min((run_predict(folder, recordings[0].parent) for _ in range(ROUNDS)), key=lambda run: run.seconds)
    rate = len(recordings) / clips.seconds
    rows.append(_row(f"{len(recordings)} RAVDESS clips, files to report", "", f"{rate:.0f} clips/s"))
    rows.append(_row("memory of a worker", "", f"{clips.worker / 1e6:.0f} MB"))
    rows.append(measure_cluster(recordings, folder))
    encoder = _try(lambda: time_encoder(recordings))
    if encoder:
        ratio = encoder * len(recordings) / clips.seconds
        rows.append(
            Row(
                what="the same clips",
                against="wav2vec2-base's size, random weights",
                ours=f"{clips.seconds:.1f} s",
                theirs=f"{encoder * len(recordings):.0f} s ({1e3 * encoder:.0f} ms a clip)",
                ratio=ratio,
            )
        )
    call = run_predict(folder, make_call(folder / "call.wav", recordings, HOUR, 2))
    speed = HOUR / call.seconds
    with (folder / "report.csv").open(newline="") as stream:
        channels = [row["channel"] for row in csv.DictReader(stream)]
    if channels != ["1", "2"]:
        msg = f"the call should have two rows, found {channels}"
        raise RuntimeError(msg)
    rows.append(_row("one-hour stereo call, both sides", "", f"{speed:.0f} × real time"))
    if quick:
        return rows
    one = run_predict(folder, make_call(folder / "one.wav", recordings, HOUR, 1))
    ten = run_predict(folder, make_call(folder / "ten.wav", recordings, 10 * HOUR, 1))
    rows.append(_row("ten-hour recording: memory", "", f"{ten.memory / 1e6:.0f} MB"))
    ratio = one.seconds / (ten.seconds / 10)
    rows.append(
        Row(
            what="ten-hour recording: speed",
            against="one hour",
            ours=f"{10 * HOUR / ten.seconds:.0f} × real time",
            theirs=f"{HOUR / one.seconds:.0f} × real time",
            ratio=ratio,
        )
    )
    return [*rows, *measure_growth(folder)]


def measure_cluster(recordings: list[Path], folder: Path) -> Row:
    """The clips on a Dask cluster of two worker processes on this machine, against two local workers."""
    with start_cluster(folder, workers=2) as started:
        address = started.address
        local, cluster = [], []
        for _ in range(ROUNDS):
            local.append(run_predict(folder, recordings[0].parent, "--jobs", "2").seconds)
            cluster.append(run_predict(folder, recordings[0].parent, "--dask", address).seconds)
    ratio = min(local) / min(cluster)
    return Row(
        what="the same clips, --dask with two worker processes",
        against="--jobs 2",
        ours=f"{len(recordings) / min(cluster):.0f} clips/s",
        theirs=f"{len(recordings) / min(local):.0f} clips/s",
        ratio=ratio,
    )


def measure_stages(recordings: list[Path]) -> list[list[str]]:
    """Where the CPU time of a clip goes in a worker, on one core, and the least that each stage could take."""
    scorer = RecordingScorer(ScoringSettings())
    scorer.warm_up()
    model = scorer.model
    decoded = [read_signal(path) for path in recordings]
    resampled = [resample(to_mono(signal), rate, SAMPLE_RATE) for signal, rate in decoded]
    segments = [_find_segment(path, model) for path in recordings]
    matrices = [extract_features(segment.signal, model.features) for segment in segments]
    stages: dict[str, tuple[Callable[[int], object], str]] = {
        "hash": (lambda n: hashlib.sha256(recordings[n].read_bytes()).digest(), "SHA-256 by OpenSSL"),
        "decode": (lambda n: read_signal(recordings[n]), "libsndfile"),
        "resample": (lambda n: resample(to_mono(decoded[n][0]), decoded[n][1], SAMPLE_RATE), "soxr"),
        "voice activity": (
            lambda n: VoiceDetector().feed(resampled[n][None], floor=1e-3, last=True),
            "matrix products",
        ),
        "features": (lambda n: extract_features(segments[n].signal, model.features), "FFT and one matrix product"),
        "network": (lambda n: model.logits([matrices[n]]), "multiplications at the core's peak rate"),
        "all": (lambda n: scorer.score_now(Recording(path=recordings[n], name="")), ""),
    }
    times = dict.fromkeys(stages, float("inf"))
    with threadpool_limits(1):
        for _ in range(ROUNDS):
            for name, (run, _) in stages.items():
                began = time.process_time()
                for number in range(len(recordings)):
                    run(number)
                times[name] = min(times[name], (time.process_time() - began) / len(recordings))
    times["the rest"] = times["all"] - sum(value for name, value in times.items() if name != "all")
    return [
        [
            name,
            f"{1e3 * value:.2f} ms",
            f"{value / times['all']:.0%}",
            stages.get(name, (None, "trimming, level, rows"))[1],
        ]
        for name, value in times.items()
    ]


def _find_segment(path: Path, model: Model) -> Segment:
    return next(part for part in read_segments(path, model.audio, model.segmentation) if isinstance(part, Segment))


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
    ratio = rates[1] / rates[0]
    return [
        Row(
            what=f"{SHORT_FILES[1]:,} short files: rate",
            against=f"{SHORT_FILES[0]:,}",
            ours=f"{rates[1]:.0f}/s",
            theirs=f"{rates[0]:.0f}/s",
            ratio=ratio,
        ),
        Row(
            what=f"{SHORT_FILES[1]:,} short files: memory",
            against=f"{SHORT_FILES[0]:,}",
            ours=f"{many.memory / 1e6:.0f} MB",
            theirs=f"{few.memory / 1e6:.0f} MB",
            ratio=None,
        ),
    ]


def _row(what: str, against: str, ours: str) -> Row:
    return Row(what=what, against=against, ours=ours, theirs="", ratio=None)


def _try(measure: Callable[[], float]) -> float | None:
    try:
        return measure()
    except ImportError:
        return None
