"""`sercli predict`: recordings in, a report out."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sercli.cli import console, options

if TYPE_CHECKING:
    from sercli.prediction.report import Writer
    from sercli.prediction.summary import Tally
    from sercli.prediction.truth import Scores


def predict(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Recordings, and folders of them at any depth; - reads a list from stdin, one path a line.",
            show_default=False,
        ),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Report; .csv, .tsv, .json or .jsonl chooses the format.",
            show_default="CSV on stdout",
        ),
    ] = None,
    model: options.ModelDir = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="FILE|names",
            help="Known emotions to score against: a CSV table with the columns file,emotion, or 'names' for "
            "recordings named as in RAVDESS.",
            show_default="none",
        ),
    ] = None,
    enroll: Annotated[
        str | None,
        typer.Option(
            "--enroll",
            metavar="folder|channel|FILE",
            help="Normalise by speaker: one speaker a folder, one a channel of each recording, or as a CSV table with "
            "the columns file,speaker says. Wants minutes of each speaker, in all moods; everything is decoded twice.",
            show_default="none",
        ),
    ] = None,
    jobs: options.Jobs = options.default_jobs(),
    dask: options.Dask = None,
    device: options.Device = "auto",
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,  # noqa: ARG001 - its callback has done the work
) -> None:
    """Tell the emotion of every recording and write a report.

    A row a recording, in sorted order. What cannot be used is a row that says why; the others are done all
    the same, and the exit status is 1. With known labels, the scores and the confusion matrix are shown and
    saved beside the report.

    Examples: `sercli predict ./calls --out report.csv` ·
    `find . -name '*.mp3' -print0 | sercli predict - > report.csv`
    """
    began = time.monotonic()
    from sercli.prediction.discovery import find_recordings
    from sercli.prediction.report import check_report_path

    if out:
        check_report_path(out)
    recordings = find_recordings(paths, sys.stdin.buffer)

    from sercli.prediction.enrolment import find_speakers
    from sercli.prediction.predictor import Predictor
    from sercli.prediction.summary import Tally
    from sercli.prediction.truth import find_labels, save_scores, score

    truth = find_labels(labels, recordings) if labels else {}
    speakers = find_speakers(enroll, recordings) if enroll else None
    predictor = Predictor(model, device=device)
    if verbose:
        console.say(f"model {predictor.folder} on {predictor.device}, {len(recordings)} recordings, {jobs} jobs")
    tally = Tally(keep=truth)
    with _open_writer(out) as writer, console.show_progress("predict", len(recordings)) as bar:
        for prediction in predictor.predict_many(
            recordings, jobs=jobs, cluster=dask, speakers=speakers, progress=bar.update
        ):
            writer.write(prediction)
            tally.add(prediction)
    _show_tally(tally, time.monotonic() - began)
    if truth:
        scores = score(tally.kept, truth, recordings=tally.recordings)
        _show_scores(scores)
        if out:
            console.say(f"saved {' and '.join(map(str, save_scores(out, scores)))}")
    if out:
        console.say(f"report: {out}")
    console.show_failures(tally.failures)
    if tally.failures:
        raise typer.Exit(1)


@contextlib.contextmanager
def _open_writer(out: Path | None) -> "Iterator[Writer]":
    from sercli.prediction.report import CsvWriter, open_report

    if out:
        with open_report(out) as writer:
            yield writer
        return
    try:
        yield CsvWriter(sys.stdout)
        sys.stdout.flush()
    except OSError:
        # What is left in the buffer would fail once more, with a traceback, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _show_tally(tally: "Tally", seconds: float) -> None:
    from rich.table import Table

    table = Table("emotion", box=None, pad_edge=False)
    for heading in ("recordings", "share", "mean confidence"):
        table.add_column(heading, justify="right")
    for emotion, count in tally.emotions.most_common():
        share, confidence = count / tally.answered, tally.confidences[emotion] / count
        table.add_row(emotion, str(count), f"{share:.0%}", f"{confidence:.0%}")
    if tally.answered:
        console.stderr.print(table)
    recordings = f"{tally.recordings} {'recording' if tally.recordings == 1 else 'recordings'}"
    console.say(
        f"{recordings}, {tally.duration / 3600:.2f} hours of audio in {seconds:.1f} s "
        f"({tally.duration / seconds:.0f} × real time): "
        f"{tally.answered} ok, {tally.silent} without speech, {len(tally.failures)} failed"
    )


def _show_scores(scores: "Scores") -> None:
    left_out = f"{scores.unlabelled} without a known label, {scores.unanswered} with one but without an answer"
    if not scores.scored:
        console.warn(f"nothing to score: {left_out}")
        return
    console.stderr.print(console.confusion_table(scores.confusion.tolist(), scores.per_class))
    console.say(
        f"accuracy {scores.accuracy:.1%}, UAR {scores.uar:.1%}, macro F1 {scores.macro_f1:.1%} "
        f"of {scores.scored} scored; {left_out}"
    )
