"""Batch prediction: scores recordings and writes report, timelines and summary; behind ``sercli predict``.

Finished results are kept beside the report until it is written, so that an interrupted run can resume.
"""

import contextlib
import hashlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, Unpack, cast

from sercli.config import check_names
from sercli.cpus import count_cpus
from sercli.errors import UsageError
from sercli.labels import choose_negative
from sercli.models.folder import list_files, model_digest, read_description
from sercli.prediction.discovery import Recording, find_recordings
from sercli.prediction.finished import open_finished
from sercli.prediction.outputs import OutputOptions, Outputs
from sercli.prediction.pool import end_idle_workers, start_ahead
from sercli.prediction.predictor import Predictor, put_in_order
from sercli.prediction.report import open_report, open_stream
from sercli.prediction.rows import Prediction, RecordingResult, SegmentPrediction
from sercli.prediction.settings import DEFAULT_WINDOW, ScoringOptions, ScoringSettings
from sercli.prediction.summary import BatchSummary
from sercli.prediction.timeline import write_timelines
from sercli.progress import follow_progress
from sercli.version import __version__

if TYPE_CHECKING:
    from sercli.prediction.page import ReportPage
    from sercli.prediction.truth import Scores


ShowProgress = Callable[[int, int, float], None]
"""Called with the number of recordings done, their total, and the seconds of audio done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """Result of a batch.

    Attributes:
        summary: Run summary.
        scores: Scores against known labels; None if there are none.
        predictions: All rows in order if no report was written; else empty.
        saved: Files and folders that were written.
        finished_before: Number of recordings finished by an interrupted run.
        audio_seconds: Audio scored in this run (s).
        seconds: Duration of this run (s).
    """

    summary: BatchSummary
    scores: "Scores | None"
    predictions: tuple[Prediction, ...]
    saved: tuple[Path, ...]
    finished_before: int
    audio_seconds: float
    seconds: float


class PredictOptions(ScoringOptions, OutputOptions, total=False):
    """Options of `predict_folder` in addition to `ScoringOptions` and `OutputOptions`.

    Attributes:
        vad: ``on``, the default, splits long recordings at pauses; ``off`` uses fixed windows, of 6 s unless `window`
            is given.
        negative: Labels that count as negative in the summary; None for those stored with the model.
        labels: Table of known labels, or ``names`` for RAVDESS file names.
        label_map: Labels of the table to merge into others.
    """

    vad: str
    negative: Sequence[str] | None
    labels: Path | str | None
    label_map: Mapping[str, str] | None


def predict_folder(
    paths: Iterable[str | Path] | str | Path,
    out: Path | str | None = None,
    *,
    model: Path | str | None = None,
    jobs: int | None = None,
    cluster: str | None = None,
    restart: bool = False,
    progress: bool | ShowProgress = False,
    on_resume: Callable[[int], None] = lambda _: None,
    stdin: BinaryIO | None = None,
    stdout: IO[str] | None = None,
    **options: Unpack[PredictOptions],
) -> BatchResult:
    """Scores all recordings under some paths and writes a report, like ``sercli predict``.

    Example::

        result = predict_folder("calls", "report.csv", vad="off", progress=True)
        print(result.summary.answered, "of", result.summary.rows)

    Args:
        paths: Files, folders, and patterns such as ``calls/**/*.mp3``; ``-`` reads a list
            or a recording from `stdin`.
        out: Report; its suffix determines the format.
        model: Model folder; None for the model included in the package.
        jobs: Number of worker processes; None for one per available CPU.
        cluster: Address of a Dask scheduler to use instead.
        restart: Whether to start over instead of resuming.
        progress: True for a progress bar, or a function called as recordings are done.
        on_resume: Called with the number of recordings finished by an interrupted run.
        stdin: Stream to read a list of paths or a recording from.
        stdout: Stream to write rows to as CSV if there is no `out`.
        **options: Further options: `ScoringOptions`, `OutputOptions` and `PredictOptions`.

    Raises:
        UsageError: If arguments contradict each other, or an output path is not writable.
        InputError: If there are no recordings, another run is writing the report, or the cluster cannot be used.
        ModelError: If the model cannot be used.
        OSError: If an output cannot be written.
        TypeError: If there is no such option.
    """
    began = time.monotonic()
    check_names("predict_folder", options, PredictOptions)
    html, embed_audio = options.get("html"), options.get("embed_audio", False)
    if restart and out is None:
        msg = "--restart requires --out: only a report can be resumed"
        raise UsageError(msg)
    outputs = Outputs.choose(out, html, embed_audio=embed_audio)
    predictor = Predictor(model, envelope=outputs.page is not None, **_choose_scoring(options))
    negative = options.get("negative")
    negative = predictor.negative if negative is None else choose_negative(predictor.labels, negative)
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    unread: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sercli-")) if "-" in given else ""
        stack.callback(end_idle_workers)  # none is left behind in this folder if something does not fit
        recordings = find_recordings(given, stdin, spool=Path(folder, "stdin"), unread=unread)
        workers = count_cpus() if jobs is None else jobs
        if cluster is None:
            start_ahead(min(workers, count_cpus(), len(recordings)))  # they load during the checks
        labels = options.get("labels")
        truth = _find_truth(str(labels or ""), options.get("label_map"), recordings, predictor.model_labels)
        segments = str(options.get("segments") or "")
        outputs = outputs.add_timelines(segments, options.get("segments_format"), recordings)
        inputs = [*([Path(labels)] if labels else []), *list_files(predictor.settings.folder)]
        outputs.check_paths([*inputs, *(recording.path for recording in recordings)])
        page = _start_page(outputs.page, predictor, negative, truth, recordings if embed_audio else None)
        update = stack.enter_context(follow_progress("predict", progress))
        batch = _Batch(
            recordings=recordings,
            score=partial(
                predictor.predict_as_done,
                recordings,
                jobs=workers,
                cluster=cluster,
                progress=lambda done, seconds: update(done, len(recordings), seconds),
            ),
            settings=predictor.settings,
            outputs=outputs,
            page=page,
            truth=truth,
            summary=BatchSummary(labels=predictor.labels, negative=negative, keep=truth, unread=unread),
            began=began,
        )
        if outputs.report:
            return _write_report(batch, outputs.report, restart=restart, on_resume=on_resume)
        return _stream_rows(batch, stdout)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    recordings: Sequence[Recording]
    score: Callable[..., Generator[tuple[int, RecordingResult], None, None]]  # as they are done, but for `finished`
    settings: ScoringSettings
    outputs: Outputs
    page: "ReportPage | None"
    truth: Mapping[str, str]
    summary: BatchSummary
    began: float


def _write_report(batch: _Batch, out: Path, *, restart: bool, on_resume: Callable[[int], None]) -> BatchResult:
    """Scores into a journal beside the report, and writes the report at the end."""
    with open_finished(out, _make_cache_key(batch.settings), restart=restart) as finished:
        batch.outputs.remove_leftovers()
        positions = finished.find(batch.recordings, envelope=batch.settings.envelope)
        if positions:
            on_resume(len(positions))
        seconds = 0.0
        with contextlib.closing(batch.score(finished=positions)) as results:
            for position, result in results:
                finished.add(batch.recordings[position].name, result)
                seconds += result.duration
        kept = (finished.read(recording.name) for recording in batch.recordings)
        with open_report(out, batch.summary.labels, segments=batch.outputs.timelines is not None) as write:
            scores = _write_rows(batch, kept, write)
        return _conclude(batch, scores, finished_before=len(positions), audio_seconds=seconds)


def _stream_rows(batch: _Batch, stdout: IO[str] | None) -> BatchResult:
    """Writes or collects rows as soon as they are ready; cannot be resumed."""
    predictions: list[Prediction] = []
    rows = contextlib.nullcontext(predictions.append) if stdout is None else open_stream(stdout, batch.summary.labels)
    with contextlib.closing(batch.score()) as results, rows as write:
        scores = _write_rows(batch, put_in_order(results), write)
    return _conclude(batch, scores, audio_seconds=batch.summary.duration, predictions=tuple(predictions))


def _write_rows(
    batch: _Batch, results: Iterable[RecordingResult], write: Callable[[Prediction], None]
) -> "Scores | None":
    """Writes rows, timelines and page, and summarizes the rows; returns their scores against known labels."""
    rows: Iterator[Sequence[Prediction]] = (result.predictions for result in results)
    if batch.outputs.timelines:
        rows = write_timelines(batch.outputs.timelines, rows, batch.summary.labels)
    for recording, predictions in zip(batch.recordings, rows, strict=True):
        for prediction in predictions:
            write(prediction)
        batch.summary.add_recording(tuple(predictions))
        if batch.page:
            batch.page.add_recording(recording, predictions)
    scores = None
    if batch.truth:
        from sercli.prediction.truth import score  # loads numpy and what draws pictures

        scores = score(batch.summary.kept, batch.truth, batch.summary.labels, rows=batch.summary.rows)
    if batch.page:
        batch.page.save(batch.summary, scores)
    return scores


def _conclude(
    batch: _Batch,
    scores: "Scores | None",
    *,
    audio_seconds: float,
    finished_before: int = 0,
    predictions: tuple[Prediction, ...] = (),
) -> BatchResult:
    """Writes the files that accompany a report."""
    seconds = time.monotonic() - batch.began
    return BatchResult(
        summary=batch.summary,
        scores=scores,
        predictions=predictions,
        saved=batch.outputs.save_summary(batch.summary, scores, seconds),
        finished_before=finished_before,
        audio_seconds=audio_seconds,
        seconds=seconds,
    )


def _make_cache_key(settings: ScoringSettings) -> str:
    """Returns the cache key of all settings that affect the rows."""
    values = settings.to_dict()
    content = {
        "sercli": __version__,
        **{name: value for name, value in values.items() if name not in {"device", "timeout", "overlap", "envelope"}},
        "model": model_digest(settings.folder),
        "row": [field.name for field in fields(Prediction)],  # as the journal keeps it
        "segment": [field.name for field in fields(SegmentPrediction)],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _choose_scoring(options: PredictOptions) -> ScoringOptions:
    """Returns the options of the predictor, with the windows that `vad` implies."""
    vad, window = options.get("vad", "on"), options.get("window")
    if vad not in {"on", "off"}:
        msg = f"--vad should be on or off, found {vad!r}"
        raise UsageError(msg)
    if vad == "off" and window is None:
        window = DEFAULT_WINDOW
    scoring = {name: value for name, value in options.items() if name in ScoringOptions.__annotations__}
    return cast("ScoringOptions", {**scoring, "window": window})


def _start_page(
    path: Path | None,
    predictor: Predictor,
    negative: Sequence[str],
    truth: dict[str, str],
    embedded: Sequence[Recording] | None,
) -> "ReportPage | None":
    if path is None:
        return None
    from sercli.prediction.page import ReportPage, check_embedded  # loads Jinja2, which few runs need

    if embedded is not None:
        check_embedded(embedded)
    description = read_description(predictor.settings.folder)
    return ReportPage(
        path,
        labels=predictor.labels,
        negative=negative,
        description=description,
        truth=truth,
        embed=embedded is not None,
    )


def _find_truth(
    labels: str,
    label_map: Mapping[str, str] | None,
    recordings: Sequence[Recording],
    model_labels: Sequence[str],
) -> dict[str, str]:
    if not labels:
        if label_map:
            msg = "--map requires --labels: name the table whose labels it maps"
            raise UsageError(msg)
        return {}
    from sercli.prediction.truth import find_labels

    return find_labels(labels, recordings, model_labels, label_map)
