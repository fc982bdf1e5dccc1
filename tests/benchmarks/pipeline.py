"""featurize and training as a whole: start-up, workers, many utterances, and reading the store back."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sercli.corpora.index import Index, Utterance, read_index, write_index
from sercli.features.extraction import extract_store
from sercli.features.parameters import StoreParameters
from sercli.features.store import FeatureStore
from sercli.files import hash_file
from tests.benchmarks.measure import Row, compare
from tests.sounds import write_sound

PARAMETERS = StoreParameters().select(("logmel",))  # what the default recipe reads
GROWTH = (1_000, 100_000)  # utterances
GROWTH_SECONDS = 0.4  # of each made utterance
GROWTH_EMOTIONS = ("neutral", "happy", "sad", "angry")
TRAINED_BATCHES = 40  # batches that are trained on to time an epoch of a large corpus


def index_recordings(recordings: list[Path]) -> Index:
    utterances = [
        Utterance(file=str(path), corpus="csv", emotion="neutral", sha256=hash_file(path)) for path in recordings
    ]
    return Index(folder=recordings[0].parent, utterances=tuple(utterances))


def time_featurize(index: Index, jobs: int) -> float:
    """Wall seconds of a run in this process, its workers warm."""
    with tempfile.TemporaryDirectory() as folder:
        return extract_store(index, Path(folder) / "f.h5", PARAMETERS, jobs=jobs).seconds


def measure_jobs(recordings: list[Path]) -> list[Row]:
    """Wall time with one, two and eight jobs; the workers have been started before."""
    index = index_recordings(recordings)
    few = replace(index, utterances=index.utterances[:16])
    seconds: dict[int, float] = {}
    for jobs in (1, 2, 8):
        time_featurize(few, jobs)
        seconds[jobs] = min(time_featurize(index, jobs) for _ in range(2))
    what = f"featurize {len(recordings)} clips"
    two = compare(f"{what}, --jobs 2", "--jobs 1", seconds[2], seconds[1], unit="s")
    eight = compare(f"{what}, --jobs 8", "--jobs 2", seconds[8], seconds[2], unit="s")
    return [two, eight]


def measure_command(recordings: list[Path]) -> Row:
    """`sercli featurize` with the default recipe and two jobs, start-up included, wall and CPU time."""
    with tempfile.TemporaryDirectory() as folder:
        write_index(Path(folder) / "index.csv", index_recordings(recordings))
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "sercli", "featurize", "--jobs", "2", "--quiet", "--data-dir", folder]
        subprocess.run(command, check=True)
        seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Row(
        what=f"sercli featurize, {len(recordings)} clips, --jobs 2",
        against="start-up included",
        ours=f"{seconds:.1f} s",
        theirs=f"{cpu:.1f} s of CPU",
        ratio=None,
    )


def measure_reading(recordings: list[Path]) -> list[str]:
    """Random rows of a store, as training reads them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f.h5"
        extract_store(index_recordings(recordings), path, PARAMETERS, jobs=os.cpu_count() or 1)
        generator = np.random.default_rng(0)
        began = time.perf_counter()
        with FeatureStore(path) as store:
            opened = time.perf_counter() - began
            count, began = 0, time.perf_counter()
            while time.perf_counter() - began < 1.0:
                for number in generator.integers(len(store), size=64):
                    store.read(int(number))
                count += 64
            rate = count / (time.perf_counter() - began)
            numbers = int(store.count_frames("logmel").sum()) * store.parameters.features.n_features
        share = path.stat().st_size / (numbers * 2)
    return [f"{opened * 1e3:.1f} ms", f"{rate:,.0f} utterances/s", f"{share:.3f} × its numbers"]


def measure_growth(folder: Path) -> list[Row]:
    """Rate, memory of the parent (its index included) and size of the store at both ends of `GROWTH`.

    Each in a process of its own, on as many files of different content.
    """
    results = {count: _run_growth(folder, count) for count in GROWTH}
    (few, many), what = (results[count] for count in GROWTH), f"{GROWTH[1]:,} utterances"
    rate = many["rate"] / few["rate"]
    against = f"{GROWTH[0]:,} utterances"
    return [
        Row(
            what=f"{what}: rate",
            against=against,
            ours=f"{many['rate']:.0f}/s",
            theirs=f"{few['rate']:.0f}/s",
            ratio=rate,
        ),
        Row(
            what=f"{what}: memory of the parent",
            against=against,
            ours=f"{many['memory'] / 1e6:.0f} MB",
            theirs=f"{few['memory'] / 1e6:.0f} MB",
            ratio=None,
        ),
        Row(
            what=f"{what}: size of the store",
            against="its numbers",
            ours=f"{many['size'] / 1e6:.0f} MB",
            theirs=f"{many['numbers'] / 1e6:.0f} MB",
            ratio=many["size"] / many["numbers"],
        ),
    ]


def _run_growth(folder: Path, count: int) -> dict[str, float]:
    values = _run("featurize", make_growth_index(folder, count), count)
    return dict(zip(("rate", "memory", "size", "numbers"), values, strict=True))


def _run(what: str, index_file: Path, count: int) -> list[float]:
    """Measures one thing in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.pipeline", what, str(index_file), str(count)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(value) for value in done.stdout.split()]


def make_growth_index(folder: Path, count: int) -> Path:
    """An index of `count` short recordings, each of its own content."""
    recordings = [
        write_sound(folder / f"{count}/{number // 1000:03}/{number:06}.wav", make_syllable(number))
        for number in range(count)
    ]
    index = index_recordings(recordings)
    utterances = tuple(
        replace(
            utterance,
            emotion=GROWTH_EMOTIONS[number % len(GROWTH_EMOTIONS)],
            speaker=f"csv-{number // len(GROWTH_EMOTIONS) % 20}",
        )
        for number, utterance in enumerate(index.utterances)
    )
    path = folder / f"index-{count}.csv"
    write_index(path, replace(index, utterances=utterances))
    return path


def make_syllable(seed: int) -> npt.NDArray[np.float64]:
    """A short sound that rises and falls, as speech does, and is different for every seed."""
    generator = np.random.default_rng(seed)
    times = np.arange(round(GROWTH_SECONDS * 16_000)) / 16_000
    tone = np.sin(2 * np.pi * generator.uniform(100, 300) * times) + 0.1 * generator.standard_normal(len(times))
    envelope: npt.NDArray[np.float64] = 0.3 * np.sin(np.pi * times / GROWTH_SECONDS) ** 2
    return envelope * tone


def read_peak_memory() -> int:
    """Most memory this process has held so far, in bytes.

    Not ru_maxrss, which a process inherits from the one that started it.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def measure_training(folder: Path) -> list[Row]:
    """Training on the stores of `measure_growth`: time per utterance and memory, each in a process of its own."""
    results = {count: _run("train", folder / f"index-{count}.csv", count) for count in GROWTH}
    few, many = (results[count] for count in GROWTH)
    what, against = f"train on {GROWTH[1]:,} utterances", f"{GROWTH[0]:,} utterances"
    speed = compare(f"{what}: time per utterance", against, many[0], few[0])
    memory = Row(
        what=f"{what}: memory",
        against=against,
        ours=f"{many[1] / 1e6:.0f} MB",
        theirs=f"{few[1] / 1e6:.0f} MB",
        ratio=None,
    )
    return [speed, memory]


def _featurize(index_file: Path, count: int) -> list[float]:
    """Featurizes a growth index in this process, workers warm: rate, memory, size of the store and of its numbers."""
    index, folder, jobs = read_index(index_file), index_file.parent, os.cpu_count() or 1
    warm = replace(index, utterances=index.utterances[:64])
    extract_store(warm, folder / f"warm-{count}.h5", PARAMETERS, jobs=jobs)
    summary = extract_store(index, folder / f"store-{count}.h5", PARAMETERS, jobs=jobs)
    memory = read_peak_memory()
    with FeatureStore(folder / f"store-{count}.h5") as store:
        numbers = int(store.count_frames("logmel").sum()) * store.parameters.features.n_features * 2
    return [count / summary.seconds, memory, (folder / f"store-{count}.h5").stat().st_size, numbers]


def _train(index_file: Path, count: int) -> list[float]:
    """Trains the default recipe's network on some batches of a growth store: seconds per utterance, and memory."""
    import torch

    from sercli.models.networks import build_network
    from sercli.training.data import CorpusFeatures
    from sercli.training.recipe_files import RECIPES

    torch.set_num_threads(1)
    recipe, device = RECIPES["default"], torch.device("cpu")
    corpus = CorpusFeatures(read_index(index_file), index_file.parent / f"store-{count}.h5", recipe.features)
    normalizer = corpus.fit_normalizer(range(len(corpus.index)))
    batches = corpus.batches(range(len(corpus.index)), normalizer, device=device)
    network = build_network(recipe.network, len(normalizer.mean), 8)
    seen, began = 0, time.perf_counter()
    drawn = batches.shuffled(recipe.training.batch_size, torch.Generator().manual_seed(0))
    for _, (features, n_frames, truth, _) in zip(range(TRAINED_BATCHES), drawn, strict=False):
        if not seen:
            began = time.perf_counter()  # after the order is drawn, which a whole epoch does once
        network.zero_grad()
        torch.nn.functional.cross_entropy(network(features, n_frames), truth).backward()  # type: ignore[no-untyped-call]
        seen += len(truth)
    seconds = time.perf_counter() - began
    for _ in drawn:  # the rest of the epoch is read as well, for the memory
        pass
    return [seconds / seen, read_peak_memory()]


if __name__ == "__main__":
    measure = {"featurize": _featurize, "train": _train}[sys.argv[1]]
    sys.stdout.write(" ".join(map(str, measure(Path(sys.argv[2]), int(sys.argv[3])))) + "\n")
