"""Timing: CPU seconds of one thread, interleaved, the best of some rounds."""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table of ratios."""

    what: str
    against: str
    ours: str
    theirs: str
    ratio: float | None

    @property
    def cells(self) -> list[str]:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}×"
        return [self.what, self.against, self.ours, self.theirs, ratio]


HEADINGS = ["what", "against", "sercli", "other", "ratio"]


def time_cpu(tasks: Mapping[str, Callable[[Path], Any]], recordings: Sequence[Path]) -> dict[str, float]:
    """CPU seconds per recording of each task, the best of `ROUNDS` in which the tasks take turns."""
    best = dict.fromkeys(tasks, float("inf"))
    for task in tasks.values():
        task(recordings[0])
    for _ in range(ROUNDS):
        for name, task in tasks.items():
            began = time.process_time()
            for recording in recordings:
                task(recording)
            best[name] = min(best[name], (time.process_time() - began) / len(recordings))
    return best


def compare(what: str, against: str, ours: float, theirs: float, *, unit: str = "ms") -> Row:
    """A row for two times in seconds: how many times less ours is."""
    ratio = theirs / ours
    factor, digits = {"ms": (1e3, 2), "s": (1.0, 1)}[unit]
    return Row(
        what=what,
        against=against,
        ours=f"{ours * factor:.{digits}f} {unit}",
        theirs=f"{theirs * factor:.{digits}f} {unit}",
        ratio=ratio,
    )


def describe_machine() -> str:
    """Processor, cores and versions that figures depend on."""
    from sercli.version import collect_versions

    versions = collect_versions()
    names = [line.split(":", 1)[1].strip() for line in _read_cpuinfo() if line.startswith("model name")]
    cores = len(names) or "unknown"
    return (
        f"{names[0] if names else platform.machine()}, {cores} cores, {platform.system()}, "
        f"{', '.join(f'{name} {versions[name]}' for name in ('python', 'torch', 'numpy', 'librosa'))}"
    )


def _read_cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
