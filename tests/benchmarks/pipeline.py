"""featurize as a whole: more workers, more utterances, and reading the store back."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np

from sercli.corpora.index import Index, Utterance, read_index, write_index
from sercli.features.extraction import BATCH, extract_store, extract_utterance, plan_utterance
from sercli.features.parameters import StoreParameters
from sercli.features.store import FeatureStore
from sercli.files import hash_file
from tests.benchmarks.measure import Row, compare
from tests.sounds import write_tone

GROWTH = (1_000, 100_000)  # utterances
GROWTH_SECONDS = 0.2  # of each made utterance


def index_recordings(recordings: list[Path]) -> Index:
    utterances = [
        Utterance(file=str(path), corpus="csv", emotion="neutral", sha256=hash_file(path)) for path in recordings
    ]
    return Index(folder=recordings[0].parent, utterances=tuple(utterances))


def time_featurize(index: Index, jobs: int) -> float:
    """Wall seconds of a run in this process, its workers warm."""
    with tempfile.TemporaryDirectory() as folder:
        return extract_store(index, Path(folder) / "f.h5", StoreParameters(), jobs=jobs).seconds


def measure_jobs(recordings: list[Path]) -> list[Row]:
    """Wall time with one, two and eight jobs; the workers have been started before."""
    index = index_recordings(recordings)
    few = replace(index, utterances=index.utterances[:16])
    seconds: dict[int, float] = {}
    for jobs in (1, 2, 8):
        time_featurize(few, jobs)
        seconds[jobs] = min(time_featurize(index, jobs) for _ in range(2))
    what = f"featurize {len(recordings)} clips"
    two = compare(f"{what}, --jobs 2", "--jobs 1", seconds[2], seconds[1], at_least=1.7, unit="s")
    eight = compare(f"{what}, --jobs 8", "--jobs 2", seconds[8], seconds[2], at_least=0.9, unit="s")
    if (os.cpu_count() or 1) != 2:
        two, eight = (replace(row, reached=None) for row in (two, eight))
    return [two, eight]


def measure_backends(recordings: list[Path]) -> list[list[str]]:
    """Wall time of the same work by two worker processes and by two threads; the processes have been started."""
    index = index_recordings(recordings)
    tasks = [plan_utterance(index, utterance, copies=0, seed=0) for utterance in index.utterances]
    rows = []
    for name, backend in (("2 processes (loky)", "loky"), ("2 threads", "threading")):
        seconds = []
        for part in (tasks[:16], tasks, tasks):
            began = time.perf_counter()
            with joblib.parallel_config(backend=backend, **({"inner_max_num_threads": 1} if backend == "loky" else {})):
                pool = joblib.Parallel(n_jobs=2, return_as="generator", batch_size=BATCH)
                for outcome in pool(joblib.delayed(extract_utterance)(task, StoreParameters()) for task in part):
                    assert outcome
            seconds.append(time.perf_counter() - began)
        rows.append([name, f"{min(seconds[1:]):.1f} s", f"{len(tasks) / min(seconds[1:]):.0f} clips/s"])
    return rows


def measure_reading(recordings: list[Path]) -> list[str]:
    """Random batches of 64 from a store, as training without memory to spare would read them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f.h5"
        extract_store(index_recordings(recordings), path, StoreParameters(), jobs=os.cpu_count() or 1)
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
            numbers = len(store.read_frames(0, len(store))) * store.parameters.features.n_features
        share = path.stat().st_size / (numbers * 2)
    return [f"{opened * 1e3:.1f} ms", f"{rate:,.0f} utterances/s", f"{share:.3f} × its numbers"]


def measure_growth(folder: Path) -> list[Row]:
    """Rate, memory of the parent (its index included) and size of the store at both ends of `GROWTH`.

    Each in a process of its own, on as many files of different content.
    """
    results = {count: _run_growth(folder, count) for count in GROWTH}
    (few, many), what = (results[count] for count in GROWTH), f"{GROWTH[1]:,} utterances"
    rate = many["rate"] / few["rate"]
    grown = (many["memory"] - few["memory"]) / 1e6
    against = f"{GROWTH[0]:,} utterances"
    return [
        Row(
            what=f"{what}: rate",
            against=against,
            ours=f"{many['rate']:.0f}/s",
            theirs=f"{few['rate']:.0f}/s",
            ratio=rate,
            wanted="within 10 %",
            reached=rate >= 0.9,
        ),
        Row(
            what=f"{what}: memory of the parent",
            against=against,
            ours=f"{many['memory'] / 1e6:.0f} MB",
            theirs=f"{few['memory'] / 1e6:.0f} MB",
            ratio=None,
            wanted="under 200 MB more",
            reached=grown < 200,
        ),
        Row(
            what=f"{what}: size of the store",
            against="its numbers",
            ours=f"{many['size'] / 1e6:.0f} MB",
            theirs=f"{many['numbers'] / 1e6:.0f} MB",
            ratio=many["size"] / many["numbers"],
            wanted="under 1.1×",
            reached=many["size"] < 1.1 * many["numbers"],
        ),
    ]


def _run_growth(folder: Path, count: int) -> dict[str, float]:
    index_file = make_growth_index(folder, count)
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.pipeline", str(index_file), str(count)],
        capture_output=True,
        text=True,
        check=True,
    )
    names = ("rate", "memory", "size", "numbers")
    return dict(zip(names, map(float, done.stdout.split()), strict=True))


def make_growth_index(folder: Path, count: int) -> Path:
    """An index of `count` short recordings, each of its own content."""
    recordings = [
        write_tone(folder / f"{count}/{number // 1000:03}/{number:06}.wav", seconds=GROWTH_SECONDS, seed=number)
        for number in range(count)
    ]
    path = folder / f"index-{count}.csv"
    write_index(path, index_recordings(recordings))
    return path


def read_peak_memory() -> int:
    """Most memory this process has held so far, in bytes.

    Not ru_maxrss, which a process inherits from the one that started it.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _main(index_file: Path, count: int) -> None:
    """Featurizes a growth index in this process, workers warm, and prints what it took."""
    index = read_index(index_file)
    folder = index_file.parent
    jobs = os.cpu_count() or 1
    warm = replace(index, utterances=index.utterances[:64])
    extract_store(warm, folder / f"warm-{count}.h5", StoreParameters(), jobs=jobs)
    summary = extract_store(index, folder / f"store-{count}.h5", StoreParameters(), jobs=jobs)
    memory = read_peak_memory()
    with FeatureStore(folder / f"store-{count}.h5") as store:
        numbers = int(store.n_frames.sum()) * store.parameters.features.n_features * 2
        size = store.path.stat().st_size
    sys.stdout.write(f"{count / summary.seconds} {memory} {size} {numbers}\n")


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]))
