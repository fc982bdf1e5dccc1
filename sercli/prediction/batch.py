"""Batch prediction: scores recordings and writes report, timelines and summary; behind ``sercli predict``.

Finished results are kept beside the report until it is written, so that an interrupted run can resume.
"""

import contextlib
import hashlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, Unpack, cast

from sercli.cpus import count_cpus
from sercli.errors import UsageError
from sercli.labels import choose_negative
from sercli.models.folder import list_files, model_digest, read_description
from sercli.prediction.discovery import Recording, find_recordings
from sercli.prediction.finished import FinishedRecordings, open_finished
from sercli.prediction.outputs import OutputOptions, Outputs
from sercli.prediction.pool import end_idle_workers, start_ahead
from sercli.prediction.predictor import Predictor
from sercli.prediction.report import open_report, open_stream
from sercli.prediction.rows import Prediction, SegmentPrediction
from sercli.prediction.settings import ScoringOptions, check_names
from sercli.prediction.summary import BatchSummary
from sercli.prediction.timeline import write_timelines
from sercli.progress import show_bar
from sercli.version import __version__

if TYPE_CHECKING:
    from sercli.prediction.page import ReportPage
    from sercli.prediction.truth import Scores

DEFAULT_WINDOW = 6.0  # seconds

Rows = tuple[Prediction, ...]
"""Rows of one recording."""

ShowProgress = Callable[[int, int, float], None]
"""Called with the number of recordings done, their total, and the seconds of audio done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """Result of a batch.

    Attributes:
        summary: Run summary.
        scores: Scores against known labels; None without any.
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
        paths: Files, folders, and patterns such as ``calls/**/*.mp3``; ``-`` reads a list from `stdin`.
        out: Report; its suffix determines the format.
        model: Model folder; None for the model included in the package.
        jobs: Number of worker processes; None for one per available CPU.
        cluster: Address of a Dask scheduler to use instead.
        restart: Whether to start over instead of resuming.
        progress: True for a progress bar, or a function called as recordings are done.
        on_resume: Called with the number of recordings finished by an interrupted run.
        stdin: Stream to read a list of paths from.
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
        if not cluster:
            start_ahead(min(workers, count_cpus(), len(recordings)))  # they load during the checks
        labels = options.get("labels")
        truth = _find_truth(str(labels or ""), options.get("label_map"), recordings, predictor.model_labels)
        segments = str(options.get("segments") or "")
        outputs = outputs.add_timelines(segments, options.get("segments_format"), recordings)
        inputs = [*([Path(labels)] if labels else []), *list_files(predictor.settings.folder)]
        outputs.check_collisions([*inputs, *(recording.path for recording in recordings)])
        run = _Run(
            recordings=recordings,
            predictor=predictor,
            jobs=workers,
            cluster=cluster,
            outputs=outputs,
            began=began,
            summary=BatchSummary(labels=predictor.labels, negative=negative, keep=truth, unread=unread),
            truth=truth,
            page=_start_page(outputs.page, predictor, negative, truth, recordings if embed_audio else None),
        )
        with run.show(progress):
            if outputs.report:
                run.write_report(outputs.report, restart=restart, on_resume=on_resume)
            else:
                run.stream(stdout)
    return BatchResult(
        summary=run.summary,
        scores=run.scores,
        predictions=tuple(run.collected),
        saved=run.saved,
        finished_before=run.finished_before,
        audio_seconds=run.heard,
        seconds=time.monotonic() - began,
    )


@dataclass(slots=True, kw_only=True)
class _Run:
    recordings: Sequence[Recording]
    predictor: Predictor
    jobs: int
    cluster: str | None
    outputs: Outputs
    began: float
    summary: BatchSummary
    truth: dict[str, str]
    page: "ReportPage | None"
    scores: "Scores | None" = None
    _progress: ShowProgress = lambda *_: None
    heard: float = 0.0
    finished_before: int = 0
    collected: list[Prediction] = field(default_factory=list)
    saved: tuple[Path, ...] = ()

    @contextlib.contextmanager
    def show(self, progress: bool | ShowProgress) -> Iterator[None]:  # noqa: FBT001 - as in `predict_folder`
        """Shows a progress bar, or calls a function, while the block runs."""
        if progress is not True:
            self._progress = progress or (lambda *_: None)
            yield
            return
        with show_bar("predict") as update:
            self._progress = lambda done, total, _: update(done, total)
            yield

    def write_report(self, out: Path, *, restart: bool, on_resume: Callable[[int], None]) -> None:
        """Scores into a journal beside the report, and writes the report at the end."""
        with open_finished(out, self._key, restart=restart) as finished:
            positions = finished.find(self.recordings)
            self.finished_before = len(positions)
            if positions:
                on_resume(len(positions))
            self._score_rest(finished, positions)
            results = (finished.read(recording.name).predictions for recording in self.recordings)
            with open_report(out, self.predictor.labels, segments=self.outputs.timelines is not None) as write:
                self._write(results, write)
            self._save_summary()  # before the journal is removed

    def stream(self, stdout: IO[str] | None) -> None:
        """Writes or collects rows as soon as they are ready; cannot be resumed."""
        results = self.predictor.predict_in_order(
            self.recordings, jobs=self.jobs, cluster=self.cluster, progress=self._note
        )
        rows = open_stream(stdout, self.predictor.labels) if stdout else contextlib.nullcontext(self.collected.append)
        with contextlib.closing(results), rows as write:
            self._write(results, write)
        self._save_summary()

    def _score_rest(self, finished: FinishedRecordings, positions: set[int]) -> None:
        results = self.predictor.predict_as_done(
            self.recordings, jobs=self.jobs, cluster=self.cluster, progress=self._note, finished=positions
        )
        with contextlib.closing(results):
            for position, result in results:
                finished.add(self.recordings[position].name, result)

    def _write(self, groups: Iterable[Rows], write: Callable[[Prediction], None]) -> None:
        rows: Iterator[Sequence[Prediction]] = iter(groups)
        if self.outputs.timelines:
            rows = write_timelines(self.outputs.timelines, rows, self.predictor.labels)
        for recording, predictions in zip(self.recordings, rows, strict=True):
            for prediction in predictions:
                write(prediction)
            self.summary.add_recording(tuple(predictions))
            if self.page:
                self.page.add_recording(recording, predictions)
        self.scores = _score(self.summary, self.truth)
        if self.page:
            self.page.save(self.summary, self.scores)

    def _save_summary(self) -> None:
        self.saved = self.outputs.save_summary(self.summary, self.scores, time.monotonic() - self.began)

    def _note(self, done: int, seconds: float) -> None:
        self.heard = seconds
        self._progress(done, len(self.recordings), seconds)

    @property
    def _key(self) -> str:
        """Returns the cache key of all settings that affect the rows."""
        settings = self.predictor.settings.to_dict()
        content = {
            "sercli": __version__,
            **{name: value for name, value in settings.items() if name not in {"device", "timeout", "overlap"}},
            "model": model_digest(self.predictor.settings.folder),
            "row": [field.name for field in fields(Prediction)],  # as the journal keeps it
            "segment": [field.name for field in fields(SegmentPrediction)],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _choose_scoring(options: PredictOptions) -> ScoringOptions:
    """Returns the options of the predictor, with the windows that `vad` implies."""
    vad, window, hop = options.get("vad", "on"), options.get("window"), options.get("hop")
    if vad not in {"on", "off"}:
        msg = f"--vad should be on or off, found {vad!r}"
        raise UsageError(msg)
    if vad == "off" and window is None:
        window = DEFAULT_WINDOW
    if window is None and hop is not None:
        msg = "--hop goes with fixed windows: give --window or --vad off too"
        raise UsageError(msg)
    if window is not None and hop is not None and hop > window:
        msg = f"--hop {hop:g} would leave gaps between windows of {window:g} s: give at most the window"
        raise UsageError(msg)
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
    known: Sequence[str],
) -> dict[str, str]:
    if not labels:
        if label_map:
            msg = "--map goes with --labels: name the table whose labels it maps"
            raise UsageError(msg)
        return {}
    from sercli.prediction.truth import find_labels

    return find_labels(labels, recordings, known, label_map)


def _score(summary: BatchSummary, truth: dict[str, str]) -> "Scores | None":
    if not truth:
        return None
    from sercli.prediction.truth import score  # loads numpy and what draws pictures

    return score(summary.kept, truth, summary.labels, rows=summary.rows)
