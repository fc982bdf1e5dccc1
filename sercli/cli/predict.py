"""`sercli predict`: scores recordings and writes a report."""

import contextlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sercli.cli import console, options
from sercli.config import CHANNEL_MODES, MIX
from sercli.models.folder import DEFAULT_MODEL
from sercli.prediction.report import FORMATS
from sercli.prediction.settings import DEFAULT_WINDOW, MAX_EMBEDDED, MAX_WINDOW, ScoringSettings
from sercli.prediction.timeline import TIMELINES

if TYPE_CHECKING:
    from rich.table import Table

    from sercli.prediction.batch import BatchResult
    from sercli.prediction.summary import BatchSummary
    from sercli.prediction.truth import Scores

OUTPUT, SCORING, KNOWN = "Output", "Scoring", "Known emotions"  # panels of the help
MOST_CHANNELS = 3  # channels with a column of their own on the screen
SHOWN_NEGATIVE = 5  # most negative recordings listed on the screen
_DEFAULTS = ScoringSettings()


Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH",
        help="Recordings, folders, or patterns such as 'calls/**/*.mp3'; - reads paths or a recording from stdin.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help=f"Report: {', '.join(FORMATS)}.",
        show_default="CSV on stdout",
        rich_help_panel=OUTPUT,
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Page to browse and listen to, in addition to --out.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
EmbedAudio = Annotated[
    bool,
    typer.Option(
        "--embed-audio",
        help=f"Embed the recordings in the page, up to {MAX_EMBEDDED / 1e6:.0f} MB.",
        rich_help_panel=OUTPUT,
    ),
]
Segments = Annotated[
    str | None,
    typer.Option(
        "--segments",
        metavar="FILE|DIR/",
        help=f"Emotions over time: {', '.join(TIMELINES)}; or a folder/ for one file per recording.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
SegmentsFormat = Annotated[
    str | None,
    typer.Option(
        "--segments-format",
        metavar="NAME",
        help=f"Format of the timelines in a folder: {', '.join(suffix[1:] for suffix in TIMELINES)}.",
        show_default="csv",
        autocompletion=lambda: [suffix[1:] for suffix in TIMELINES],
        rich_help_panel=OUTPUT,
    ),
]
Channels = Annotated[
    str,
    typer.Option(
        "--channels",
        metavar="|".join(CHANNEL_MODES),
        autocompletion=lambda: list(CHANNEL_MODES),
        help="Mix or split the channels; auto splits stereo whose channels differ.",
        rich_help_panel=SCORING,
    ),
]
Vad = Annotated[
    str,
    typer.Option(
        "--vad",
        metavar="on|off",
        autocompletion=lambda: ["on", "off"],
        help="Split long recordings at pauses; off uses fixed windows.",
        rich_help_panel=SCORING,
    ),
]
Window = Annotated[
    float | None,
    typer.Option(
        "--window",
        min=0.1,
        max=MAX_WINDOW,
        help="Length of fixed windows (s); implies --vad off.",
        show_default=f"{DEFAULT_WINDOW:g} with --vad off",
        rich_help_panel=SCORING,
    ),
]
Hop = Annotated[
    float | None,
    typer.Option(
        "--hop",
        min=0.01,
        max=MAX_WINDOW,
        help="Distance between window starts (s).",
        show_default="the window length",
        rich_help_panel=SCORING,
    ),
]
MinConfidence = Annotated[
    float,
    typer.Option(
        "--min-confidence",
        min=0.0,
        max=1.0,
        help="Confidence below which an emotion is 'uncertain'.",
        rich_help_panel=SCORING,
    ),
]
Emotions = Annotated[
    str,
    typer.Option(
        "--emotions",
        metavar="LABEL,…",
        help="Labels to choose from; the model's others are ignored.",
        show_default="all",
        rich_help_panel=SCORING,
    ),
]
Negative = Annotated[
    str | None,
    typer.Option(
        "--negative",
        metavar="LABEL,…",
        help="Labels that count as negative in the summary.",
        show_default="stored with the model",
        rich_help_panel=SCORING,
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="FILE|names",
        help="Score against known labels: table with columns file and emotion, or 'names' for RAVDESS file names.",
        show_default=False,
        rich_help_panel=KNOWN,
    ),
]
LabelMap = Annotated[
    str,
    typer.Option(
        "--map",
        metavar="LABEL=LABEL,…",
        help="Labels of the table to merge into others, as in joy=happy.",
        show_default=False,
        rich_help_panel=KNOWN,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        min=1.0,
        help="Seconds without progress after which a recording fails.",
        rich_help_panel=options.EXECUTION,
    ),
]
Restart = Annotated[bool, typer.Option("--restart", help="Start over instead of resuming.")]


def predict(
    paths: Paths,
    *,
    out: Out = None,
    html: Html = None,
    embed_audio: EmbedAudio = False,
    segments: Segments = None,
    segments_format: SegmentsFormat = None,
    channels: Channels = _DEFAULTS.channels,
    vad: Vad = "on",
    window: Window = None,
    hop: Hop = None,
    min_confidence: MinConfidence = _DEFAULTS.min_confidence,
    emotions: Emotions = "",
    negative: Negative = None,
    labels: Labels = None,
    label_map: LabelMap = "",
    model: options.ModelDir = None,
    jobs: options.Jobs = options.default_jobs(),
    timeout: Timeout = _DEFAULTS.timeout,
    restart: Restart = False,
    dask: options.Dask = None,
    device: options.Device = _DEFAULTS.device,
) -> None:
    """Recognize the emotion of every recording and write a report.

    Writes one row per recording, or per channel of a call. Unreadable files get a row with the reason, and the exit
    status is 1. With --out, repeat the command to resume an interrupted run.

    Example: `sercli predict ./calls --out report.csv --segments timelines/`

    Example: `find . -name '*.mp3' -print0 | sercli predict - > report.csv`
    """
    from sercli.labels import parse_label_map
    from sercli.prediction.batch import predict_folder

    keep = console.keeping_work() if out else contextlib.nullcontext()
    with keep, console.show_audio_progress("predict") as bar:
        result = predict_folder(
            paths,
            out,
            model=model,
            segments=segments,
            segments_format=segments_format,
            channels=channels,
            vad=vad,
            window=window,
            hop=hop,
            min_confidence=min_confidence,
            emotions=options.parse_labels(emotions),
            negative=None if negative is None else options.parse_labels(negative),
            labels=labels,
            label_map=parse_label_map(label_map),
            html=html,
            embed_audio=embed_audio,
            jobs=jobs,
            cluster=dask,
            device=device,
            timeout=timeout,
            restart=restart,
            progress=bar.update,
            on_resume=lambda count: console.say(f"{count} recordings already done (--restart starts over)"),
            stdin=sys.stdin.buffer if sys.stdin else io.BytesIO(),
            stdout=None if out else sys.stdout,
        )
    if console.is_verbose():
        console.say(f"model {model or DEFAULT_MODEL}, {result.summary.recordings} recordings, {jobs} jobs")
    _show_result(result)
    if result.summary.failures:
        raise typer.Exit(1)


def _show_result(result: "BatchResult") -> None:
    _show_summary(result)
    if result.scores:
        _show_scores(result.scores)
    if result.saved:
        console.say(f"saved {', '.join(map(str, result.saved))}")
    console.show_failures(result.summary.failures)


def _show_summary(result: "BatchResult") -> None:
    """Shows the share of each emotion, failures, warnings, the speed, and whether to believe the answers."""
    from sercli.files import one_line

    summary, seconds, earlier = result.summary, result.seconds, result.finished_before
    total = summary.total()
    if total:
        console.print_table(_emotion_table(summary))
    if summary.answered > 1 and summary.negative:
        console.say(f"most negative ({_join(summary.negative)}):")
        for probability, name, channel in summary.most_negative[:SHOWN_NEGATIVE]:
            side = "" if channel == MIX else f", channel {channel}"
            console.say(f"  {probability:.0%}  {one_line(name)}{side}")
    for title, counts in (
        ("failed", summary.reasons()),
        ("warnings", summary.warnings),
        ("skipped, format not supported", summary.unread),
    ):
        if counts:
            console.say(f"{title}: {', '.join(f'{reason} ({count})' for reason, count in counts.most_common())}")
    recordings = f"{summary.recordings} {'recording' if summary.recordings == 1 else 'recordings'}"
    rows = f" in {summary.rows} rows" if summary.rows != summary.recordings else ""
    before = f" (without {earlier} {'recording' if earlier == 1 else 'recordings'} done before)" if earlier else ""
    # The rate of a few seconds of audio would be that of starting up.
    rate = f" ({result.audio_seconds / seconds:.0f} × real time)" if result.audio_seconds >= 60 else ""
    console.say(
        f"{recordings}{rows}, {console.show_length(summary.duration)} of audio{before} in {seconds:.1f} s{rate}: "
        f"{summary.answered} ok, {summary.silent} without speech, {len(summary.failures)} failed"
    )
    if summary.note:
        console.warn(summary.note)


def _join(labels: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(labels[:-1]), labels[-1])))


def _emotion_table(summary: "BatchSummary") -> "Table":
    """Tabulates each emotion: share of speech overall and by channel, rows, mean confidence."""
    from rich.table import Table
    from rich.text import Text

    from sercli.prediction.summary import share_of_speech

    total = summary.total()
    # With more channels the table would be too wide; the report has their rows.
    channels = sorted(summary.emotions) if 1 < len(summary.emotions) <= MOST_CHANNELS else []
    table = Table("emotion", box=None, pad_edge=False)
    sides = ("mixed" if name == MIX else f"channel {name}" for name in channels)
    headings = ("share of speech", *sides, "rows", "mean confidence")
    for heading in headings:
        table.add_column(heading, justify="right")
    columns = [share_of_speech(shares) for shares in (total, *(summary.emotions[name] for name in channels))]
    for emotion, share in total.items():
        shares_of_speech = (f"{column.get(emotion, 0.0):.0%}" for column in columns)
        confidence = "" if share.mean_confidence is None else f"{share.mean_confidence:.0%}"
        table.add_row(Text(emotion), *shares_of_speech, str(share.rows), confidence)
    return table


def _show_scores(scores: "Scores") -> None:
    excluded = f"{scores.excluded} excluded (failed, uncertain, or on a silent channel)"
    left_out = f"{scores.unlabeled} without a known label, {excluded}"
    if not scores.scored:
        console.warn(f"nothing to score: {left_out}")
        return
    console.print_table(console.confusion_table(scores.confusion.tolist(), scores.per_class))
    console.say(
        f"accuracy {scores.accuracy:.1%}, UAR {scores.uar:.1%}, macro F1 {scores.macro_f1:.1%} "
        f"of {scores.scored} scored, {scores.unanswered} of them without detected speech, counted as wrong; {left_out}"
    )
