import os
import subprocess
import sys
from pathlib import Path

import pytest
from joblib.externals import loky

from sercli.cpus import count_cpus, read_cgroup_limit
from sercli.errors import UsageError


def write_group(folder: Path, **values: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name.replace("__", ".")).write_text(value)


def test_agrees_with_loky_on_this_machine() -> None:
    assert count_cpus() == loky.cpu_count()


@pytest.mark.parametrize("value", ["1", "2", "1000", "0", "-3"])
def test_agrees_with_loky_on_its_environment_variable(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", value)
    assert count_cpus() == loky.cpu_count()


def test_an_unreadable_environment_variable_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "many")
    with pytest.raises(UsageError, match="LOKY_MAX_CPU_COUNT should be a whole number, found 'many'"):
        count_cpus()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")
def test_agrees_with_loky_on_affinity() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert count_cpus() == loky.cpu_count() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("v2", "v1", "expected"),
    [
        ("100000 100000", None, 1),
        ("150000 100000", None, 2),
        ("50000 100000", None, 1),
        ("max 100000", None, 24),
        ("max 100000", ("100000", "100000"), 24),
        (None, ("100000", "100000"), 1),
        (None, ("250000", "100000"), 3),
        (None, ("-1", "100000"), 24),
        (None, None, 24),
    ],
)
def test_agrees_with_loky_on_quotas_of_containers(
    tmp_path: Path, v2: str | None, v1: tuple[str, str] | None, expected: int
) -> None:
    if v2:
        write_group(tmp_path, cpu__max=v2 + "\n")
    if v1:
        write_group(tmp_path / "cpu", cpu__cfs_quota_us=v1[0] + "\n", cpu__cfs_period_us=v1[1] + "\n")
    code = (
        "import os; os.cpu_count = lambda: 24; os.sched_getaffinity = lambda pid: range(24)\n"
        "from joblib.externals import loky; from sercli.cpus import count_cpus\n"
        "print(count_cpus(), loky.cpu_count())"
    )
    mount = f"mount --bind {tmp_path} /sys/fs/cgroup && exec {sys.executable} -c '{code}'"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", mount], capture_output=True, text=True)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    assert done.stdout.split() == [str(expected)] * 2, done.stderr


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_the_smallest_quota_of_all_groups_above_counts(tmp_path: Path, version: str) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "membership"

    def limit(group: str, cpus: int) -> None:
        if version == "v2":
            write_group(root / group, cpu__max=f"{cpus}00000 100000\n")
        else:
            write_group(root / "cpu" / group, cpu__cfs_quota_us=f"{cpus}00000\n", cpu__cfs_period_us="100000\n")

    own.write_text("0::/user.slice/job\n" if version == "v2" else "4:memory:/other\n3:cpu,cpuacct:/user.slice/job\n")
    assert read_cgroup_limit(root, own) is None
    limit("user.slice/job", 8)
    assert read_cgroup_limit(root, own) == 8
    limit("user.slice", 3)
    assert read_cgroup_limit(root, own) == 3
    limit("other", 1)  # a group that this process is not in
    assert read_cgroup_limit(root, own) == 3


def test_damaged_groups_set_no_limit(tmp_path: Path) -> None:
    own = tmp_path / "membership"
    own.write_bytes(b"0::/../../etc\nnonsense\n\xff")
    write_group(tmp_path, cpu__max="lots of them\n")
    assert read_cgroup_limit(tmp_path, own) is None


def test_loads_nothing_heavy() -> None:
    code = "import sys, sercli.cpus; print('joblib' in sys.modules, 'multiprocessing' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
