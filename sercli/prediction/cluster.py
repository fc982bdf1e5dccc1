"""Recordings scored by the workers of a Dask cluster, with the same pool that works locally."""

import itertools
import queue
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sercli.parallel import connect_to_cluster
from sercli.prediction.discovery import Recording
from sercli.prediction.pool import Message, WorkerPool
from sercli.prediction.rows import RecordingResult
from sercli.prediction.settings import ScoringSettings

AHEAD = 4  # tasks per thread of the cluster that are sent ahead, so that no worker waits for the next one
MAX_BATCH = 8  # recordings per task: Dask takes about two milliseconds for each task, and a short one five


def score_on_cluster(
    recordings: Sequence[Recording], settings: ScoringSettings, address: str
) -> Generator[tuple[int, Message], None, None]:
    """Scores recordings on a Dask cluster.

    Every worker of the cluster scores in a process of its own, as on this machine: a recording that crashes or hangs is
    a failed row. A cluster worker that dies has its recordings done again by the others; those that end worker after
    worker have failed.

    Args:
        recordings: sound files that the workers see under the same paths, like the model folder.
        settings: how to score.
        address: of the scheduler, such as ``tcp://scheduler:8786``.

    Yields:
        The position of each recording and its result, as they come.

    Raises:
        InputError: if the cluster cannot be reached or has no worker.
        ModelError: if the model cannot be used there.
    """
    placed = [replace(recording, path=recording.path.absolute()) for recording in recordings]
    remote = replace(settings, model=str(settings.folder.absolute()))
    with connect_to_cluster(address) as client:
        from distributed import KilledWorker, as_completed

        threads = max(1, sum(client.nthreads().values()))
        size = max(1, min(MAX_BATCH, len(placed) // (AHEAD * threads)))
        batches = _batch(placed, size)
        submitted: dict[Any, tuple[tuple[int, Recording], ...]] = {}

        def submit(batch: tuple[tuple[int, Recording], ...]) -> Any:
            work = [recording for _, recording in batch]
            future = client.submit(_score_batch, work, remote.to_dict(), pure=False)
            submitted[future] = batch
            return future

        done = as_completed([submit(batch) for batch in itertools.islice(batches, AHEAD * threads)])
        for future in done:
            batch = submitted.pop(future)
            try:
                results = [RecordingResult.from_dict(values) for values in future.result()]
            except KilledWorker:
                if len(batch) > 1:  # alone, so that only the one to blame has failed
                    for one in batch:
                        done.add(submit((one,)))
                    continue
                results = [RecordingResult.failed(batch[0][1].name, "its cluster workers died again and again")]
            del future
            yield from ((position, result) for (position, _), result in zip(batch, results, strict=True))
            for batch in itertools.islice(batches, 1):
                done.add(submit(batch))


def _batch(recordings: Sequence[Recording], size: int) -> Iterator[tuple[tuple[int, Recording], ...]]:
    for start in range(0, len(recordings), size):
        yield tuple(enumerate(recordings[start : start + size], start=start))


_pools: "queue.SimpleQueue[tuple[dict[str, Any], WorkerPool]]" = queue.SimpleQueue()


def _score_batch(recordings: Sequence[Recording], settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Runs on the cluster: scores recordings in a process that is kept for the next call with the same settings."""
    try:
        known, pool = _pools.get_nowait()
    except queue.Empty:
        known, pool = {}, None
    if pool is None or known != settings:
        if pool:
            pool.close()
        pool = WorkerPool(ScoringSettings.from_dict(settings), workers=1)
    results = dict(pool.score(recordings))  # signs of life come first, a result last
    _pools.put((settings, pool))
    return [result.to_dict() for _, result in sorted(results.items()) if isinstance(result, RecordingResult)]
