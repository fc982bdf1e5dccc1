"""Scores recordings on a Dask cluster, with the same worker pool as locally."""

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

AHEAD = 4  # tasks per cluster thread sent ahead, so that no worker is idle
MAX_BATCH = 8  # recordings per task: Dask takes about 2 ms per task, a short recording 5 ms


def score_on_cluster(
    recordings: Sequence[Recording], settings: ScoringSettings, address: str
) -> Generator[tuple[int, Message], None, None]:
    """Scores recordings on a Dask cluster.

    Every cluster worker scores in a separate process: a recording that crashes or hangs becomes a failed row. If a
    cluster worker dies, others repeat its recordings; a recording on which worker after worker dies fails.

    Args:
        recordings: Sound files; workers must see them and the model folder under the same paths.
        settings: Scoring settings.
        address: Address of the scheduler, such as ``tcp://scheduler:8786``.

    Yields:
        The position and the result of each recording, in the order of completion.

    Raises:
        InputError: If the cluster is unreachable or has no worker.
        ModelError: If the model cannot be used there.
    """
    absolute = [replace(recording, path=recording.path.absolute()) for recording in recordings]
    remote = replace(settings, model=str(settings.folder.absolute()))
    with connect_to_cluster(address) as client:
        from distributed import KilledWorker, as_completed

        threads = max(1, sum(client.nthreads().values()))
        size = max(1, min(MAX_BATCH, len(absolute) // (AHEAD * threads)))
        batches = _batch(absolute, size)
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
                if len(batch) > 1:  # one by one, so that only the culprit fails
                    for one in batch:
                        done.add(submit((one,)))
                    continue
                results = [RecordingResult.failed(batch[0][1].name, "its cluster workers died repeatedly")]
            del future
            yield from ((position, result) for (position, _), result in zip(batch, results, strict=True))
            for batch in itertools.islice(batches, 1):
                done.add(submit(batch))


def _batch(recordings: Sequence[Recording], size: int) -> Iterator[tuple[tuple[int, Recording], ...]]:
    for start in range(0, len(recordings), size):
        yield tuple(enumerate(recordings[start : start + size], start=start))


_pools: "queue.SimpleQueue[tuple[dict[str, Any], WorkerPool]]" = queue.SimpleQueue()


def _score_batch(recordings: Sequence[Recording], settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Runs on the cluster: scores recordings in a pool that is kept for later calls with the same settings."""
    try:
        pool_settings, pool = _pools.get_nowait()
    except queue.Empty:
        pool_settings, pool = {}, None
    if pool is None or pool_settings != settings:
        if pool:
            pool.close()
        pool = WorkerPool(ScoringSettings.from_dict(settings), workers=1)
    results = dict(pool.score(recordings))  # keeps the last message of each recording, its result
    _pools.put((settings, pool))
    return [result.to_dict() for _, result in sorted(results.items()) if isinstance(result, RecordingResult)]
