"""A whole batch: recordings to a report that appears when all are done, with what is finished kept until then."""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from sercli.models.folder import model_digest
from sercli.prediction.discovery import Recording
from sercli.prediction.enrolment import Speakers
from sercli.prediction.journal import Journal, hash_recording, open_journal
from sercli.prediction.predictor import Predictor, ShowProgress
from sercli.prediction.report import Writer, open_report
from sercli.prediction.rows import Prediction, SegmentPrediction
from sercli.prediction.timeline import TimelinePlan, write_timelines
from sercli.prediction.workers import DEFAULT_TIMEOUT
from sercli.version import __version__

Rows = tuple[Prediction, ...]
"""Of one recording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is to be done.

    Attributes:
        recordings: in the order of the report.
        predictor: the model, and how recordings are cut.
        speakers: who speaks, where recordings are normalised by speaker.
        jobs: processes that decode side by side.
        cluster: address of a Dask scheduler whose workers do that instead.
        timeout: seconds without a sign of life after which a recording is given up.
        timelines: where segments are written, if anywhere.
    """

    recordings: Sequence[Recording]
    predictor: Predictor
    speakers: Speakers | None = None
    jobs: int = 1
    cluster: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    timelines: TimelinePlan | None = None

    @property
    def key(self) -> str:
        """Names everything but the recordings that rows depend on."""
        # How speakers sound follows from all their recordings: if one of those changes, every row does.
        heard = [
            [each.name, self.speakers.names[each.name], hash_recording(each)]
            for each in self.recordings
            if self.speakers and each.name in self.speakers.names
        ]
        content = {
            "sercli": __version__,
            "model": model_digest(self.predictor.folder),
            "cutting": self.predictor.config.cutting.to_dict(),
            "min_confidence": self.predictor.min_confidence,
            "speakers": heard,
            "segment": [field.name for field in fields(SegmentPrediction)],  # as the journal keeps it
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_report(
    batch: Batch,
    out: Path,
    *,
    restart: bool = False,
    progress: ShowProgress | None = None,
    on_resume: Callable[[int], None] = lambda _: None,
    on_rows: Callable[[Rows], None] = lambda _: None,
) -> None:
    """Predicts, and writes report and timelines when all recordings are done.

    What is finished is in a journal beside the report until then: the same call goes on from there, whatever ended
    the last one. A report that is there stays as it is until the new one takes its place.

    Args:
        batch: what to do.
        out: the report.
        restart: forget what an interrupted run has finished.
        progress: called as recordings are worked through.
        on_resume: called with the number of recordings that were finished before.
        on_rows: called with the rows of each recording in order, while they are written.

    Raises:
        InputError: if another run is writing this report.
        UsageError: if the report cannot be written there.
        OSError: if something cannot be written.
    """
    with open_journal(out, batch.key, restart=restart) as journal:
        finished = journal.find_finished(batch.recordings) if len(journal) else set()
        if finished:
            on_resume(len(finished))
        _finish(batch, journal, finished, progress)
        names = (recording.name for recording in batch.recordings)
        with open_report(out, segments=batch.timelines is not None) as writer:
            _write(batch, map(journal.read, names), writer, on_rows)


def stream_report(
    batch: Batch,
    writer: Writer,
    *,
    progress: ShowProgress | None = None,
    on_rows: Callable[[Rows], None] = lambda _: None,
) -> None:
    """Predicts, and writes rows in order as soon as they are there; nothing of it can be resumed.

    Args:
        batch: what to do.
        writer: of the report.
        progress: called as recordings are worked through.
        on_rows: called with the rows of each recording in order.
    """
    predictions = batch.predictor.predict_many(
        batch.recordings,
        jobs=batch.jobs,
        cluster=batch.cluster,
        speakers=batch.speakers,
        timeout=batch.timeout,
        progress=progress,
    )
    groups = (tuple(rows) for _, rows in itertools.groupby(predictions, lambda row: row.file))
    _write(batch, groups, writer, on_rows)


def _finish(batch: Batch, journal: Journal, finished: set[int], progress: ShowProgress | None) -> None:
    results = batch.predictor.predict_as_done(
        batch.recordings,
        jobs=batch.jobs,
        cluster=batch.cluster,
        speakers=batch.speakers,
        timeout=batch.timeout,
        progress=progress,
        finished=finished,
    )
    try:
        for result in results:
            journal.add(batch.recordings[result.position].name, result.sha256, result.predictions)
    finally:
        results.close()


def _write(batch: Batch, groups: Iterable[Rows], writer: Writer, on_rows: Callable[[Rows], None]) -> None:
    rows: Iterator[Sequence[Prediction]] = iter(groups)
    for predictions in write_timelines(batch.timelines, rows) if batch.timelines else rows:
        for prediction in predictions:
            writer.write(prediction)
        on_rows(tuple(predictions))
