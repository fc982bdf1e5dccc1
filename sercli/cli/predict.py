"""`sercli predict`: recordings in, a report out."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sercli.cli import console, options

if TYPE_CHECKING:
    from rich.table import Table

    from sercli.audio.cutters import Cutting
    from sercli.prediction.discovery import Recording
    from sercli.prediction.report import Writer
    from sercli.prediction.summary import Tally
    from sercli.prediction.timeline import TimelinePlan
    from sercli.prediction.truth import Scores

MOST_CHANNELS = 3  # that have a column each on the screen
SHOWN_NEGATIVE = 5  # most negative recordings that are named on the screen


def predict(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Recordings, folders of them at any depth, and patterns as 'calls/**/*.mp3'; - reads a list from "
            "stdin, one path a line, or with a NUL after each.",
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
            help="Report; .csv, .tsv, .json or .jsonl chooses the format. With it, an interrupted run goes on where it "
            "was when the command is given again.",
            show_default="CSV on stdout",
        ),
    ] = None,
    segments: Annotated[
        str | None,
        typer.Option(
            "--segments",
            metavar="FILE|DIR/",
            help="Timeline of all recordings, by suffix .csv, .tsv (milliseconds), .json, .jsonl, .rttm, .txt "
            "(Audacity labels), .srt or .vtt; or a folder, ending in /, for a file a recording, as call.wav.csv. JSON "
            "reports then hold the segments too.",
            show_default="none",
        ),
    ] = None,
    segments_format: Annotated[
        str | None,
        typer.Option(
            "--segments-format",
            metavar="NAME",
            help="Format of the files in a folder of timelines.",
            show_default="csv",
        ),
    ] = None,
    channels: Annotated[
        str,
        typer.Option(
            "--channels",
            metavar="auto|mix|split",
            help="mix scores the mean of all channels, split each for itself; auto splits stereo whose sides differ, "
            "as of a call, and mixes the rest.",
        ),
    ] = "auto",
    vad: Annotated[
        str,
        typer.Option(
            "--vad",
            metavar="on|off",
            help="Look for speech, and cut it at its pauses into segments of at most 6 s; off takes fixed windows.",
        ),
    ] = "on",
    window: Annotated[
        float | None,
        typer.Option(
            "--window",
            min=0.1,
            max=60.0,
            help="Seconds of fixed windows, which take the place of --vad.",
            show_default="6 with --vad off",
        ),
    ] = None,
    hop: Annotated[
        float | None,
        typer.Option(
            "--hop",
            min=0.01,
            max=60.0,
            help="Seconds from one fixed window to the next.",
            show_default="the window",
        ),
    ] = None,
    min_confidence: Annotated[
        float,
        typer.Option("--min-confidence", min=0.0, max=1.0, help="Confidence under which an emotion is 'uncertain'."),
    ] = 0.0,
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
            "the columns file,speaker says; the sides of a call are two. Wants minutes of each speaker, in all moods; "
            "everything is decoded twice.",
            show_default="none",
        ),
    ] = None,
    model: options.ModelDir = None,
    jobs: options.Jobs = options.default_jobs(),
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", min=1.0, help="Seconds without a sign of life after which a recording is given up as failed."
        ),
    ] = 120.0,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start over where an interrupted run could go on.")
    ] = False,
    dask: options.Dask = None,
    device: options.Device = "auto",
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,  # noqa: ARG001 - its callback has done the work
) -> None:
    """Tell the emotion of every recording and write a report.

    A row a recording, or a channel of it, in sorted order. What cannot be used is a row that says why; the others are
    done all the same, and the exit status is 1. Beside the report stands its summary; with known labels also the
    confusion matrix.

    Examples: `sercli predict ./calls --out report.csv --segments timelines/` ·
    `find . -name '*.mp3' -print0 | sercli predict - > report.csv`
    """
    began = time.monotonic()
    from sercli.prediction.discovery import find_recordings
    from sercli.prediction.processes import start_ahead
    from sercli.prediction.report import check_report_path, name_confusions

    if out:
        check_report_path(out)
    recordings = find_recordings(paths, sys.stdin.buffer if sys.stdin else None)
    if not dask:
        # They load while this process does.
        start_ahead(min(jobs, options.default_jobs(), len(recordings)))

    from sercli.errors import UsageError
    from sercli.models.folder import DEFAULT_MODEL, list_files
    from sercli.prediction.batch import Batch, stream_report, write_report
    from sercli.prediction.enrolment import find_speakers
    from sercli.prediction.predictor import Predictor
    from sercli.prediction.summary import Tally
    from sercli.prediction.timeline import plan_timelines

    truth: dict[str, str] = {}
    if labels:
        from sercli.prediction.truth import find_labels  # with what draws pictures

        truth = find_labels(labels, recordings)
    timelines = None
    if segments_format is not None and not segments:
        msg = "--segments-format goes with --segments: name a folder for the timelines, ending in /"
        raise UsageError(msg)
    if segments:
        folder = segments.endswith(("/", os.sep))
        timelines = plan_timelines(Path(segments), segments_format or "csv", recordings, folder=folder)
        if segments_format is not None and not timelines.sidecars:
            msg = f"--segments-format is for a folder of timelines: the format of {segments} is told by its suffix"
            raise UsageError(msg)
    tables = [Path(table) for table in (labels, enroll) if table]
    _refuse_collisions(out, timelines, [*tables, *list_files(model or DEFAULT_MODEL)], recordings)
    speakers = find_speakers(enroll, recordings) if enroll is not None else None
    if speakers and len(speakers.names) < len(recordings):
        console.warn(
            f"{len(recordings) - len(speakers.names)} of {len(recordings)} recordings have no speaker in {enroll}: "
            "they are scored as without --enroll"
        )
    batch = Batch(
        recordings=recordings,
        predictor=Predictor(
            model, device=device, cutting=_choose_cutting(channels, vad, window, hop), min_confidence=min_confidence
        ),
        speakers=speakers,
        jobs=jobs,
        cluster=dask,
        timeout=timeout,
        timelines=timelines,
    )
    if verbose:
        predictor = batch.predictor
        console.say(f"model {predictor.folder} on {predictor.device}, {len(recordings)} recordings, {jobs} jobs")
    tally, earlier, heard = Tally(keep=truth), 0, 0.0

    def note_earlier(count: int) -> None:
        nonlocal earlier
        earlier = count
        console.say(f"{count} recordings were finished before (--restart starts over)")

    with console.show_audio_progress("predict", len(recordings)) as bar:

        def show(done: int, seconds: float) -> None:
            nonlocal heard
            heard = seconds
            bar.update(done, seconds)

        if out:
            write_report(
                batch, out, restart=restart, progress=show, on_resume=note_earlier, on_rows=tally.add_recording
            )
        else:
            with _open_stdout() as writer:
                stream_report(batch, writer, progress=show, on_rows=tally.add_recording)
    seconds = time.monotonic() - began
    _show_tally(tally, seconds, heard, earlier)
    scores = None
    if truth:
        from sercli.prediction.truth import score

        scores = score(tally.kept, truth, rows=tally.rows)
        _show_scores(scores)
    saved: list[Path] = []
    if out:
        saved += [out, _save_summary(out, tally, scores, seconds)]
        if scores and scores.scored:
            from sercli.prediction.truth import save_confusions

            saved.append(save_confusions(out, scores))
        else:
            name_confusions(out).unlink(missing_ok=True)  # of an earlier run
    saved += [timelines.target] if timelines else []
    if saved:
        console.say(f"saved {', '.join(map(str, saved))}")
    console.show_failures(tally.failures)
    if tally.failures:
        raise typer.Exit(1)


def _choose_cutting(channels: str, vad: str, window: float | None, hop: float | None) -> "Cutting":
    from sercli.audio.cutters import CHANNEL_MODES, Cutting
    from sercli.errors import UsageError

    for option, given, known in (("--vad", vad, ("on", "off")), ("--channels", channels, CHANNEL_MODES)):
        if given not in known:
            msg = f"{option} should be one of {', '.join(known)}, found {given!r}"
            raise UsageError(msg)
    fixed = vad == "off" or window is not None
    if not fixed:
        if hop is not None:
            msg = "--hop goes with fixed windows: give --window or --vad off too"
            raise UsageError(msg)
        return Cutting(channels=channels)
    size = Cutting().window if window is None else window
    if hop is not None and hop > size:
        msg = f"--hop {hop:g} would leave gaps between windows of {size:g} s: give at most the window"
        raise UsageError(msg)
    return Cutting(channels=channels, vad=False, window=size, hop=size if hop is None else hop)


@contextlib.contextmanager
def _open_stdout() -> "Iterator[Writer]":
    from sercli.prediction.report import CsvWriter

    try:
        writer = CsvWriter(sys.stdout)
        yield writer
        writer.finish()
        sys.stdout.flush()
    except OSError:
        try:
            sys.stdout.flush()  # it may have been a timeline that could not be written
        except OSError:
            # What is left in the buffer would fail once more, with a traceback, when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _refuse_collisions(
    out: Path | None, timelines: "TimelinePlan | None", inputs: list[Path], recordings: "Sequence[Recording]"
) -> None:
    """Refuses, before any work, what would be written over another output or an input."""
    from sercli.errors import UsageError
    from sercli.prediction.report import name_confusions, name_summary

    written: list[Path] = [out, name_summary(out), name_confusions(out)] if out else []
    if timelines:
        written += list(timelines.sidecars.values()) or [timelines.target]
    taken = {os.path.realpath(path) for path in inputs}
    taken |= {os.path.realpath(recording.path) for recording in recordings}
    for path in written:
        place = os.path.realpath(path)
        if place in taken:
            msg = f"{path} is read or written already: give another name for the report or the timelines"
            raise UsageError(msg)
        taken.add(place)
    target = os.path.realpath(timelines.target) if timelines else ""
    if out and target.startswith(os.path.realpath(out) + os.sep):
        msg = f"{timelines and timelines.target} is to lie in the report, which is a file: give another folder"
        raise UsageError(msg)


def _save_summary(out: Path, tally: "Tally", scores: "Scores | None", seconds: float) -> Path:
    from sercli.files import write_json
    from sercli.prediction.report import name_summary

    path = name_summary(out)
    known = scores.to_dict() if scores else {}
    write_json(path, {**tally.to_dict(), "seconds": round(seconds, 3), **known})
    return path


def _show_tally(tally: "Tally", seconds: float, heard: float, earlier: int) -> None:
    """Shows what a run has added up to, and how fast it was with what was not finished earlier."""
    from sercli.files import one_line

    total = tally.total()
    if total:
        console.stderr.print(_emotion_table(tally))
    if tally.answered > 1:
        console.say("most negative (sad, angry, fearful or disgust):")
        for probability, name, channel in tally.most_negative[:SHOWN_NEGATIVE]:
            side = "" if channel == "mix" else f", channel {channel}"
            console.say(f"  {probability:.0%}  {one_line(name)}{side}")
    for title, counts in (("failed", tally.reasons()), ("warnings", tally.warnings)):
        if counts:
            console.say(f"{title}: {', '.join(f'{reason} ({count})' for reason, count in counts.most_common())}")
    recordings = f"{tally.recordings} {'recording' if tally.recordings == 1 else 'recordings'}"
    rows = f" in {tally.rows} rows" if tally.rows != tally.recordings else ""
    before = f", all but {earlier} of the recordings" if earlier else ""
    console.say(
        f"{recordings}{rows}, {tally.duration / 3600:.2f} hours of audio{before} in {seconds:.1f} s "
        f"({heard / seconds:.0f} × real time): "
        f"{tally.answered} ok, {tally.silent} without speech, {len(tally.failures)} failed"
    )


def _emotion_table(tally: "Tally") -> "Table":
    """Share of speech time, in all and of each channel, rows, and mean confidence, by emotion."""
    from rich.table import Table

    total = tally.total()
    # Of more channels, the report has the rows: the table would be too wide.
    channels = sorted(tally.emotions) if 1 < len(tally.emotions) <= MOST_CHANNELS else []
    table = Table("emotion", box=None, pad_edge=False)
    headings = ("share of speech", *(f"channel {name}" for name in channels), "rows", "mean confidence")
    for heading in headings:
        table.add_column(heading, justify="right")
    spoken = sum(share.speech for share in total.values())
    for emotion, share in total.items():
        shares = [share.speech / spoken if spoken else 0.0]
        for name in channels:
            heard = sum(each.speech for each in tally.emotions[name].values())
            own = tally.emotions[name].get(emotion)
            shares.append(own.speech / heard if own and heard else 0.0)
        confidence = f"{share.confidence / share.rows:.0%}" if share.rows else ""
        table.add_row(emotion, *(f"{each:.0%}" for each in shares), str(share.rows), confidence)
    return table


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
