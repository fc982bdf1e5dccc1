"""The one parallel map: in this process, in worker processes, or on a Dask cluster; results in order."""

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from sercli.errors import InputError, UsageError
from sercli.files import one_line

T = TypeVar("T")
R = TypeVar("R")

CONNECT_TIMEOUT = 10  # seconds to reach a scheduler, and again for its first worker


_lock = threading.Lock()
_threads = 1
_inside = 0


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """Keeps torch to one thread, and puts the number back.

    Work that is shared out by the recording or by the fold is too small to be shared out further, and its
    results then do not depend on how many cores there are.
    """
    import torch  # slow to import, and preparing a corpus does without

    global _threads, _inside
    with _lock:
        if not _inside:
            _threads = torch.get_num_threads()
        _inside += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:  # the last one out, whichever of several threads that is
                torch.set_num_threads(_threads)


def count_workers(jobs: int) -> int:
    """Workers that so many jobs mean here: never more than there are cores."""
    return max(1, min(jobs, int(joblib.cpu_count())))


def map_in_order(
    function: Callable[[T], R], tasks: Iterable[T], *, jobs: int = 1, cluster: str | None = None, batch: int = 1
) -> Iterator[R]:
    """Applies a function to every task, and yields the results in the order of the tasks.

    Tasks are taken as workers become free, and results wait until those before them are there. A worker of a cluster
    that dies has its tasks done again by the others.

    Args:
        function: picklable, and the same wherever it runs.
        tasks: picklable.
        jobs: worker processes on this machine; with 1 the work is done in this process.
        cluster: address of a Dask scheduler that is used instead, as ``tcp://scheduler:8786``.
        batch: tasks given to a worker of this machine at a time.

    Raises:
        UsageError: if the library for Dask is not installed.
        InputError: if a worker process dies; if the scheduler cannot be reached, has no worker, or loses too many.
    """
    workers = count_workers(jobs)
    if cluster is None and workers == 1:
        yield from map(function, tasks)
        return
    if cluster is None:
        with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
            pool = joblib.Parallel(n_jobs=workers, return_as="generator", batch_size=batch)
            yield from share_out(pool, function, tasks)
        return
    with connect_to_cluster(cluster), joblib.parallel_config(backend="dask", wait_for_workers_timeout=CONNECT_TIMEOUT):
        pool = joblib.Parallel(n_jobs=-1, return_as="generator", batch_size=batch, pre_dispatch="4*n_jobs")
        yield from share_out(pool, function, tasks)


def share_out(pool: joblib.Parallel, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
    """Applies a function to every task by a pool that returns a generator, and may be stopped early without a word.

    Raises:
        InputError: if a worker process dies.
    """
    results = pool(joblib.delayed(function)(task) for task in tasks)
    try:
        for result in results:  # noqa: UP028 - "yield from" would close the results itself
            yield result
    except TerminatedWorkerError:
        msg = "a worker process was ended from outside, perhaps for want of memory: try again with fewer --jobs"
        raise InputError(msg) from None
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that work was thrown away: whoever stops early knows
            results.close()


@contextlib.contextmanager
def connect_to_cluster(address: str) -> Iterator[Any]:
    """A client of a Dask cluster that has workers.

    Raises:
        UsageError: if the library for Dask is not installed.
        InputError: if the scheduler cannot be reached, has no worker, or loses too many.
    """
    try:
        from distributed import Client, KilledWorker
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
        try:
            yield client
        except KilledWorker as reason:
            msg = f"the Dask cluster at {address} lost its workers again and again ({one_line(reason)[:200]})"
            raise InputError(msg) from None
