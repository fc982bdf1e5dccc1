import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import cast

import psutil
import pytest

from sercli.errors import InputError
from sercli.parallel import GPU_MEMORY, limit_threads, limit_trainings, map_as_done, map_in_order


@pytest.fixture(autouse=True)
def _two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one CPU, there would be no worker processes."""
    monkeypatch.setattr("sercli.parallel.count_cpus", lambda: 2)


def halve(number: float) -> float:
    time.sleep(0.01)
    return number / 2


def test_stopped_early_in_worker_processes_it_says_nothing() -> None:
    given: list[float] = []

    def count() -> Iterator[float]:
        for number in range(1000):
            given.append(number)
            yield number

    results = cast("Generator[float]", map_in_order(halve, count(), jobs=2))
    assert [next(results) for _ in range(3)] == [0.0, 0.5, 1.0]
    time.sleep(0.1)  # for results that will never be taken
    results.close()  # joblib's warning would be an error here
    assert len(given) < 1000


def test_results_come_in_the_order_of_the_tasks() -> None:
    expected = [number / 2 for number in range(20)]
    assert list(map_in_order(halve, range(20), jobs=2)) == expected
    assert list(map_in_order(halve, range(20))) == expected


def grow(megabytes: int) -> int:
    _kept.append(b"x" * (megabytes << 20))
    time.sleep(1.1)  # loky looks at a worker's memory once a second
    return os.getpid()


_kept: list[bytes] = []


def test_a_worker_that_grows_is_replaced_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    workers = list(map_as_done(grow, [1, 1, 400, 400, 1, 1], jobs=2))
    assert len(workers) == 6
    assert len(set(workers)) > 2
    assert capfd.readouterr() == ("", "")


def end_worker(parent: int) -> None:
    assert os.getpid() != parent, "no worker process"
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_reported_in_one_line() -> None:
    with pytest.raises(InputError, match=r"a worker process was killed.* fewer --jobs"):
        list(map_in_order(end_worker, [os.getpid()] * 4, jobs=2))


def test_workers_import_nothing_from_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "joblib").mkdir()
    (tmp_path / "joblib/__init__.py").write_text("open('hacked', 'w')")
    code = (
        "import sercli.parallel as p; p.count_cpus = lambda: 2; print(list(p.map_in_order(abs, [-1, -2, -3], jobs=2)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    environment.pop("PYTHONSAFEPATH", None)
    command = (sys.executable, "-P", "-c", code)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[1, 2, 3]\n"
    assert not (tmp_path / "hacked").exists()


def test_threads_are_restored_in_any_order() -> None:
    import torch  # not above, where the worker processes would import it too

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        one, two = limit_threads(1), limit_threads(1)
        one.__enter__()
        two.__enter__()
        one.__exit__(None, None, None)
        assert torch.get_num_threads() == 1
        two.__exit__(None, None, None)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_trainings_share_a_gpu_as_far_as_its_memory_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (3 * GPU_MEMORY + 1, 8 * GPU_MEMORY))
    assert [limit_trainings(jobs, "cuda") for jobs in (1, 2, 16)] == [1, 2, 3]
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (GPU_MEMORY // 2, GPU_MEMORY))
    assert limit_trainings(16, "cuda") == 1
    assert [limit_trainings(16, device) for device in ("cpu", "mps")] == [16, 1]


@pytest.mark.skipif(os.name == "nt", reason="a parent keeps its number there")
def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "import sys\nimport sercli.parallel as p\np.count_cpus = lambda: 2\n"
        "from tests.test_parallel import work_for_ever\n"
        "list(p.map_as_done(work_for_ever, sys.argv[1:] * 4, jobs=2))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=environment)
    while process.poll() is None and len(list(tmp_path.iterdir())) < 2:
        time.sleep(0.01)
    assert process.poll() is None
    workers = [psutil.Process(int(path.name)) for path in tmp_path.iterdir()]
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert alive == []


def work_for_ever(folder: str) -> None:
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)
