"""Parallel maps (in threads, worker processes or on a Dask cluster), and torch's threads and device."""

import contextlib
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from sercli.config import look_up
from sercli.cpus import count_cpus
from sercli.errors import InputError, UsageError
from sercli.files import one_line

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
R = TypeVar("R")

CONNECT_TIMEOUT = 10  # seconds to reach a scheduler, and again for its first worker
GPU_MEMORY = 2 << 30  # bytes of a GPU to leave for each training in parallel
_WATCH_INTERVAL = 0.5  # seconds
PROCESSES = {"backend": "loky", "inner_max_num_threads": 1}


# threadpoolctl cannot limit torch's own threads.
_lock = threading.Lock()
_threads = 1  # torch's number of threads without limits
_limits: list[int] = []


@contextlib.contextmanager
def limit_threads(count: int) -> Iterator[None]:
    """Limits torch to `count` threads, and restores the number afterwards.

    Where limits overlap, nested or in several threads, the lowest applies. With one thread, results do not depend on
    the number of CPUs.
    """
    import torch  # slow to import, and preparing a corpus does not need it

    global _threads
    with _lock:
        if not _limits:
            _threads = torch.get_num_threads()
        _limits.append(count)
        torch.set_num_threads(min(_threads, *_limits))
    try:
        yield
    finally:
        with _lock:
            _limits.remove(count)
            torch.set_num_threads(min([_threads, *_limits]))


def pick_device(name: str) -> "torch.device":
    """Returns the device for ``auto``, ``cpu``, ``cuda`` or ``mps``; ``auto`` prefers CUDA, then MPS, then the CPU.

    Raises:
        UsageError: If the name is unknown, or this machine does not have the device.
    """
    import torch

    available = {"auto": True, "cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if available[device])
    if not look_up("device", name, available):
        msg = f"this machine has no {name} device that torch can use: leave --device out, or give --device cpu"
        raise UsageError(msg)
    return torch.device(name)


def limit_trainings(jobs: int, device: str) -> int:
    """Limits a number of parallel training runs to what fits in the free memory of a GPU; 1 on MPS.

    Args:
        jobs: Number of training runs.
        device: ``cpu``, which limits nothing, ``cuda`` or ``mps``.
    """
    if device == "cpu" or jobs <= 1:
        return jobs
    import torch  # slow to import, and asking a GPU starts it

    free = torch.cuda.mem_get_info()[0] if device.startswith("cuda") else 0
    return max(1, min(jobs, free // GPU_MEMORY))


def count_workers(jobs: int) -> int:
    """Limits a number of workers to the CPUs that this process may use; at least 1.

    Raises:
        UsageError: If `count_cpus` raises it.
    """
    return max(1, min(jobs, count_cpus()))


def map_in_order(
    function: Callable[[T], R], tasks: Iterable[T], *, jobs: int = 1, cluster: str | None = None, batch: int = 1
) -> Iterator[R]:
    """Applies a function to every task and yields the results in task order.

    If a cluster worker dies, others repeat its tasks.

    Args:
        function: Picklable function whose result does not depend on where it runs.
        tasks: Picklable tasks; with several jobs, another thread iterates over them.
        jobs: Number of local worker processes, at most one per CPU; one job or CPU runs the function in this process.
        cluster: Address of a Dask scheduler to use instead, such as ``tcp://scheduler:8786``.
        batch: Number of tasks sent to a worker at a time.

    Raises:
        UsageError: If Dask's library is not installed, or `count_cpus` raises it.
        InputError: If a worker process dies; if the scheduler is unreachable, has no worker, or loses too many.
    """
    if cluster is None:
        yield from _run(function, tasks, count_workers(jobs), PROCESSES, batch_size=batch)
        return
    with connect_to_cluster(cluster):
        dask = {"backend": "dask", "wait_for_workers_timeout": CONNECT_TIMEOUT}
        yield from _run(function, tasks, -1, dask, batch_size=batch, pre_dispatch="4*n_jobs")


def map_as_done(function: Callable[[T], R], tasks: Iterable[T], *, jobs: int = 1) -> Iterator[R]:
    """Applies a function to every task and yields each result as soon as it is ready.

    Args:
        function: Picklable function.
        tasks: Picklable tasks.
        jobs: Number of worker processes, at most one per CPU; one job or CPU runs the function in this process.

    Raises:
        UsageError: If `count_cpus` raises it.
        InputError: If a worker process dies.
    """
    workers = count_workers(jobs)
    yield from _run(function, tasks, workers, PROCESSES, return_as="generator_unordered", batch_size=1)


def map_in_threads(function: Callable[[T], R], tasks: Iterable[T], *, jobs: int = 1) -> Iterator[R]:
    """Applies a function that releases the GIL to every task in threads; yields the results in order.

    Raises:
        UsageError: If `count_cpus` raises it.
    """
    yield from _run(function, tasks, count_workers(jobs), {}, prefer="threads")


def _run(
    function: Callable[[T], R],
    tasks: Iterable[T],
    workers: int,
    config: Mapping[str, Any],
    *,
    return_as: str = "generator",
    **options: Any,
) -> Iterator[R]:
    """Yields results from joblib, configured for a backend; one worker is this process."""
    if workers == 1:
        yield from map(function, tasks)
        return
    # loky starts "python -m", which would import modules from the working folder.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    # loky replaces a worker that grows by 300 MB, as by importing torch, and warns as of a fault.
    warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
    apply = partial(_apply_in_child, function, os.getpid()) if config is PROCESSES else function
    with joblib.parallel_config(**config):
        results = joblib.Parallel(workers, return_as=return_as, **options)(joblib.delayed(apply)(t) for t in tasks)
        try:
            for result in results:  # noqa: UP028 - "yield from" would close the results itself
                yield result
        except TerminatedWorkerError:
            msg = "a worker process was killed, possibly because memory ran out: try again with fewer --jobs"
            raise InputError(msg) from None
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # joblib's warning about results dropped by an early stop
                results.close()


def _apply_in_child(function: Callable[[T], R], parent: int, task: T) -> R:
    """Applies a function in a worker process that ends when its parent does."""
    _end_with(parent)
    return function(task)


@cache  # once in a process
def _end_with(parent: int) -> None:
    """Ends this process within a second of its parent's end, however that is killed.

    Otherwise, loky's workers would finish their tasks, and write files that a new run of the command writes too. On
    Windows, the end of a parent is not noticed.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_INTERVAL)
        os._exit(1)

    if os.name != "nt":
        threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def connect_to_cluster(address: str) -> Iterator[Any]:
    """Connects to a Dask cluster that has workers.

    Raises:
        UsageError: If Dask's library is not installed, or the address is empty.
        InputError: If the scheduler is unreachable, has no worker, or loses too many.
    """
    if not address:
        msg = "expected the address of a Dask scheduler, such as tcp://scheduler:8786, found nothing"
        raise UsageError(msg)
    try:
        from distributed import Client, KilledWorker
        from distributed.comm import CommClosedError
    except ImportError:
        msg = "a Dask cluster needs the library distributed: pip install 'sercli[dask]'"
        raise UsageError(msg) from None
    try:
        client = Client(address, timeout=CONNECT_TIMEOUT, set_as_default=True)
    except (OSError, ValueError, TimeoutError) as reason:
        msg = f"no Dask scheduler answers at {address} ({one_line(reason)[:200]}): start one with 'dask scheduler'"
        raise InputError(msg) from None
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            msg = f"the Dask scheduler at {address} has no worker: start some with 'dask worker {address}'"
            raise InputError(msg)
        # They log tracebacks of what is reported here in one line.
        for name in ("distributed.client", "tornado.application"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        with _watch_workers(client) as gone:
            try:
                yield client
            except KilledWorker as reason:
                msg = f"the Dask cluster at {address} keeps losing its workers ({one_line(reason)[:200]})"
                raise InputError(msg) from None
            except (CancelledError, CommClosedError):
                lost = "cluster has lost its last worker" if gone.is_set() else "scheduler does not answer any more"
                msg = f"the Dask {lost} ({address})"
                raise InputError(msg) from None


@contextlib.contextmanager
def _watch_workers(client: Any) -> Iterator[threading.Event]:
    """Closes a client once its cluster has had no worker for `CONNECT_TIMEOUT`, which ends what waits for results.

    Yields:
        An event that is set before the client is closed.
    """
    gone, ended = threading.Event(), threading.Event()

    def watch() -> None:
        seen = time.monotonic()
        while not ended.wait(1):
            with contextlib.suppress(Exception):  # whoever waits for results learns of a lost scheduler
                if client.scheduler_info(n_workers=-1)["workers"]:
                    seen = time.monotonic()
                elif time.monotonic() - seen > CONNECT_TIMEOUT:
                    gone.set()
                    client.close()
                    return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield gone
    finally:
        ended.set()
        watcher.join()
