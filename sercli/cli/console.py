"""Terminal output: consoles, progress bars and tables; data goes to stdout, all else to stderr."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import typer
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from sercli.files import mask_controls, one_line

if TYPE_CHECKING:
    from sercli.training.data import TrainingPlan

MOST_COUNTS = 12  # most labels for a confusion matrix that fits a terminal

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)
_verbose = False


class RateColumn(ProgressColumn):
    """Steps per second of a task."""

    def render(self, task: Task) -> Text:
        """Returns the rate as text; empty before the first step."""
        rate = task.finished_speed or task.speed
        return Text(f"{rate:.0f}/s" if rate and rate >= 10 else f"{rate:.1f}/s" if rate else "")


def set_quiet(quiet: bool) -> None:
    """Silences tables, progress and remarks, but not errors."""
    stderr.quiet = quiet


def set_verbose(verbose: bool) -> None:
    """Turns details and tracebacks of errors on or off."""
    global _verbose
    _verbose = verbose


def is_verbose() -> bool:
    """Whether to show details, and the traceback of errors."""
    return _verbose


def say(message: str) -> None:
    """Prints a remark on stderr; square brackets in it are text, not markup."""
    stderr.print(_printable(message), markup=False)


def warn(message: str) -> None:
    """Prints a warning on stderr, in yellow if the terminal has color."""
    stderr.print(Text(f"warning: {_printable(message)}", style="yellow"))


def _printable(message: str) -> str:
    """Masks control characters but for line breaks."""
    return "\n".join(map(mask_controls, message.split("\n")))


def as_text(value: object) -> Text:
    """Returns a value for a table, as text rather than markup."""
    return Text(_printable(str(value)))


@contextlib.contextmanager
def showing_warnings_of(logger: logging.Logger) -> Iterator[None]:
    """Prints what a logger says by `warn`, and nowhere else."""
    handler = logging.Handler()
    handler.emit = lambda record: warn(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    propagate, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.propagate = propagate
        logger.removeHandler(handler)


def show_error(message: str) -> None:
    """Prints an error on stderr in one line, whatever file names it contains, even if quiet."""
    quiet, stderr.quiet = stderr.quiet, False
    stderr.print(Text(f"error: {one_line(message)}", style="red"))
    stderr.quiet = quiet


def print_table(table: Table, console: Console | None = None) -> None:
    """Prints a table on a console, stderr by default; a narrow terminal folds text, but cuts no number."""
    for column in table.columns:
        if column.justify == "right":
            words = [word for cell in (column.header, *column.cells) for word in str(cell).split()]
            column.min_width = max(map(len, words), default=0)
    (console or stderr).print(table)


def _open_progress(*columns: ProgressColumn) -> Progress:
    """Makes a progress display with a description, a bar and further columns on stderr, in a terminal only."""
    first = (TextColumn("{task.description}"), BarColumn())
    # Rows on stdout stay there: rich would print them above the bar, on stderr.
    return Progress(
        *first,
        *columns,
        console=stderr,
        disable=not stderr.is_terminal or stderr.quiet,
        redirect_stdout=False,
    )


@contextlib.contextmanager
def keeping_work() -> Iterator[None]:
    """Exits on Ctrl-C with a note that finished work is kept; for commands that resume when repeated."""
    try:
        yield
    except KeyboardInterrupt:
        show_error("interrupted; finished work is kept: repeat the command to resume")
        raise typer.Exit(1) from None


@contextlib.contextmanager
def show_progress(description: str, total: int | None) -> Iterator["Bar"]:
    """Shows a progress bar with count, rate and time left on stderr, in a terminal only."""
    with _open_progress(MofNCompleteColumn(), RateColumn(), TimeElapsedColumn(), TimeRemainingColumn()) as progress:
        yield Bar(progress, description, total)


@contextlib.contextmanager
def show_audio_progress(description: str) -> Iterator["AudioBar"]:
    """Shows a progress bar of recordings with length of audio, speed and time left, in a terminal only."""
    with _open_progress(
        MofNCompleteColumn(), TextColumn("{task.fields[audio]}"), TimeElapsedColumn(), TimeRemainingColumn()
    ) as progress:
        yield AudioBar(progress, description)


def show_length(seconds: float) -> str:
    """Returns a length of audio in seconds, minutes or hours."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


class AudioBar:
    """A running bar for recordings."""

    def __init__(self, progress: Progress, description: str) -> None:
        self._progress = progress
        self._began = time.monotonic()
        self._task = progress.add_task(description, total=None, audio="")

    def update(self, recordings: int, total: int, seconds: float) -> None:
        """Sets the number of recordings done, their total, and the seconds of audio done."""
        speed = seconds / max(time.monotonic() - self._began, 1e-3)
        audio = f"{show_length(seconds)}, {speed:.0f} × real time"
        self._progress.update(self._task, completed=recordings, total=total, audio=audio)


@contextlib.contextmanager
def show_download(description: str, total: int) -> Iterator["Bar"]:
    """Shows a progress bar in bytes on stderr, in a terminal only."""
    with _open_progress(DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()) as progress:
        yield Bar(progress, description, total)


class Bar:
    """One running bar."""

    def __init__(self, progress: Progress, description: str, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=total)

    def update(self, done: int, total: int | None = None) -> None:
        """Sets the steps done, and the total if it has become known."""
        self._progress.update(self._task, completed=done, total=total)


def summarize(what: str, items: Sequence[str], limit: int | None) -> str:
    """Returns one line with the number of items and at most `limit` of them."""
    more = f"; and {len(items) - limit} more (--verbose shows all)" if limit and len(items) > limit else ""
    return f"{what} ({len(items)}): {'; '.join(map(one_line, items[:limit]))}{more}"


def show_plan(plan: "TrainingPlan") -> None:
    """Prints what a training run will not use."""
    if plan.missing:
        files = plan.missing
        were = f"{len(files)} indexed utterance{' is' if len(files) == 1 else 's are'} not in the store and skipped"
        more = ", …" if len(files) > 1 else ""
        warn(f"{were}: {one_line(files[0])}{more}; 'sercli featurize' adds them or says why not")
    if plan.left_out:
        say(f"left out {plan.left_out:,} utterances that the index marks as test, and their duplicates")
    if plan.known_speakers:
        warn(
            f"{', '.join(plan.known_speakers)}: no speaker is held out of training, because speakers are unknown, "
            "fewer than 3, or already divided by the column split; expect lower scores on other speakers"
        )


def show_failures(failures: list[tuple[str, str]], most: int = 20) -> None:
    """Prints failures with their reasons, one line each, even if quiet; at most `most` lines, then a count."""
    for name, reason in failures[:most]:
        show_error(f"{one_line(name)}: {reason}")
    if len(failures) > most:
        show_error(f"and {len(failures) - most} more")


def confusion_table(confusion: Sequence[Sequence[int]], per_class: Mapping[str, Mapping[str, float]]) -> Table:
    """Makes a confusion table: true labels in rows, predictions in columns, with recall, precision and F1 per row.

    Omits labels that neither occur nor were predicted, and all counts if there are more labels than `MOST_COUNTS`, so
    that the table fits 80 columns.
    """
    labels = list(per_class)
    present = [n for n in range(len(labels)) if any(confusion[n]) or any(row[n] for row in confusion)]
    columns = present if len(present) <= MOST_COUNTS else []
    title = "confusion matrix: rows are true labels, columns predictions" if columns else None
    table = Table("truth", title=title, box=None, pad_edge=False)
    for heading in (*_abbreviate([labels[n] for n in columns]), "recall", "precision", "F1"):
        table.add_column(Text(heading), justify="right")
    for row in present:
        counts = [Text(str(confusion[row][column]), style="bold" if row == column else "") for column in columns]
        shares = [f"{per_class[labels[row]][name]:.0%}" for name in ("recall", "precision", "f1")]
        table.add_row(Text(labels[row]), *counts, *shares)
    return table


def _abbreviate(labels: Sequence[str]) -> list[str]:
    """Abbreviates labels to their first letters, three or as many as make them distinct."""
    lengths = range(3, max(map(len, labels), default=0) + 1)
    length = next((n for n in lengths if len({label[:n] for label in labels}) == len(labels)), None)
    return [label[:length] for label in labels]


class LiveView:
    """A renderable that is redrawn in a terminal, or printed as lines elsewhere."""

    def __init__(self, live: Live, render: Callable[[], RenderableType]) -> None:
        self._live, self._render = live, render

    def refresh(self, line: str) -> None:
        """Redraws, or prints the line where redrawing is not possible."""
        if stderr.is_terminal and not stderr.quiet:
            self._live.update(self._render(), refresh=True)
        else:
            say(line)


@contextlib.contextmanager
def show_live(render: Callable[[], RenderableType]) -> Iterator[LiveView]:
    """Shows the result of `render` on stderr until the block ends; the last state stays on the screen."""
    if not stderr.is_terminal or stderr.quiet:
        yield LiveView(Live(console=stderr, auto_refresh=False), render)
        return
    with Live(render(), console=stderr, auto_refresh=False, redirect_stdout=False) as live:
        yield LiveView(live, render)
