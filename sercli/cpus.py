"""Number of CPUs this process may use; agrees with joblib but is quick to import."""

import math
import os
import sys
from pathlib import Path

from sercli.errors import UsageError

CGROUP_ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
MAX_WINDOWS_WORKERS = 61  # number of handles that Windows can wait for at once (bugs.python.org/issue26903)


def count_cpus() -> int:
    """Counts the CPUs that this process may use, at least 1.

    The minimum of: CPUs of the machine, CPU affinity, CPU quota of the control group (in containers) rounded up, and
    the environment variable LOKY_MAX_CPU_COUNT.

    Raises:
        UsageError: If LOKY_MAX_CPU_COUNT is not an integer.
    """
    limits = [os.cpu_count() or 1, _count_allowed(), read_cgroup_limit(CGROUP_ROOT, MEMBERSHIP), _max_of_user()]
    if sys.platform == "win32":
        limits.append(MAX_WINDOWS_WORKERS)
    return max(1, min(limit for limit in limits if limit is not None))


def _count_allowed() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _max_of_user() -> int | None:
    text = os.environ.get("LOKY_MAX_CPU_COUNT")
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        msg = f"the environment variable LOKY_MAX_CPU_COUNT should be a whole number, found {text!r}"
        raise UsageError(msg) from None


def read_cgroup_limit(root: Path, membership: Path) -> int | None:
    """Returns the CPUs that the control groups of this process allow, rounded up; None if unlimited.

    The smallest quota among the process's own group and its ancestors applies (docs.kernel.org, cgroup-v2 and
    sched-bwc). Inside a container the root is usually the container's own group.

    Args:
        root: Mount point of the control groups.
        membership: File listing the groups of the process.
    """
    limits = [_read_v2(root) if (root / "cpu.max").exists() else _read_v1(root / "cpu")]
    for line in _read_text(membership).splitlines():
        _, _, entry = line.partition(":")
        controllers, _, path = entry.partition(":")
        base, read = (root / "cpu", _read_v1) if "cpu" in controllers.split(",") else (root, _read_v2)
        if ".." in path or (controllers and read is _read_v2):
            continue
        group = base / path.strip("/")
        while group != base:
            limits.append(read(group))
            group = group.parent
    return min((limit for limit in limits if limit is not None), default=None)


def _read_v2(group: Path) -> int | None:
    return _to_cpus(_read_text(group / "cpu.max").split())


def _read_v1(group: Path) -> int | None:
    return _to_cpus([_read_text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")])


def _to_cpus(values: list[str]) -> int | None:
    """Converts a quota and a period (µs) to CPUs; None if unlimited (``max`` or -1)."""
    if len(values) != 2 or not all(value.isdigit() and int(value) for value in values):
        return None
    return math.ceil(int(values[0]) / int(values[1]))


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):  # another operating system, or no permission
        return ""
