"""``sercli prepare``: corpora into place, their utterances into the index."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sercli.cli import console, options

if TYPE_CHECKING:
    from sercli.corpora.base import Corpus
    from sercli.corpora.prepare import Outcome

SHOWN = 5  # names of a list of problems, when not verbose

_STAGES = {"download": "downloading", "unpack": "unpacking", "index": "checking recordings"}


def list_corpora() -> list[str]:
    """Names for the shell to complete."""
    from sercli.corpora.registry import CORPORA

    return list(CORPORA)


def prepare(
    corpus: Annotated[
        str,
        typer.Argument(help="ravdess, nemo, or csv for recordings of your own.", autocompletion=list_corpora),
    ] = "ravdess",
    *,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="PATH",
            help="Zip archive, or folder of WAV, FLAC or OGG files at any depth; a folder's files stay where they are.",
            show_default="download the corpus; for csv, the folder of the labels",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="For csv: table with the columns file, emotion and, if known, speaker, gender, intensity, "
            "statement, repetition; others are kept.",
            show_default="none",
        ),
    ] = None,
    label_map: Annotated[
        str,
        typer.Option(
            "--map",
            metavar="LABEL=EMOTION,…",
            help="For csv: which emotion other labels stand for, as in surprise=surprised,joy=happy.",
            show_default="none",
        ),
    ] = "",
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            help="Mirror to download from; the file's published size and hash are demanded of it.",
            show_default="the corpus's own address",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", "--restart", help="Unpack and index again what is in place already."),
    ] = False,
    jobs: options.Jobs = options.default_jobs(),
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    index: options.IndexFile = None,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,  # noqa: ARG001 - its callback has done its work
) -> None:
    """Download or take a corpus, check it, and index its utterances.

    The rows of other corpora in the index stay; those of the same corpus are replaced.

    Examples: `sercli prepare` · `sercli prepare nemo --from ~/nemo` ·
    `sercli prepare csv --labels calls.csv --map joy=happy`
    """
    from sercli.corpora.prepare import Request, prepare_corpus
    from sercli.corpora.registry import get_corpus
    from sercli.labels import parse_label_map

    request = Request(
        corpus=get_corpus(corpus),
        index=options.index_file(data_dir, index),
        data_dir=data_dir,
        source=source,
        labels=labels,
        label_map=parse_label_map(label_map),
        url=url,
        jobs=jobs,
        force=force,
    )
    with _open_bars() as bars:
        outcome = prepare_corpus(request, bars.update)
    _show_table(request.corpus, outcome)
    _show_findings(request.corpus, outcome, None if verbose else SHOWN)
    _show_result(request.corpus, outcome, request.index)
    if outcome.problems:
        raise typer.Exit(1)


class _Bars:
    """One progress bar at a time, that of the running stage."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._stage = ""

    def update(self, stage: str, done: int, total: int) -> None:
        """Shows how far a stage is: recordings for ``index``, bytes otherwise."""
        if stage != self._stage:
            self._stack.close()
            show = console.show_progress if stage == "index" else console.show_download
            self._bar = self._stack.enter_context(show(_STAGES[stage], total))
            self._stage = stage
        self._bar.update(done, total)


@contextlib.contextmanager
def _open_bars() -> Iterator[_Bars]:
    with contextlib.ExitStack() as stack:
        yield _Bars(stack)


def _show_table(corpus: "Corpus", outcome: "Outcome") -> None:
    from rich.table import Table
    from rich.text import Text

    from sercli.files import one_line
    from sercli.labels import EMOTIONS

    counts = Counter((row.emotion, row.gender) for row in outcome.utterances)
    genders = sorted({gender for _, gender in counts})
    table = Table("emotion", title=corpus.title)
    for heading in (*(gender or "unknown" for gender in genders), "all"):
        table.add_column(Text(one_line(heading)), justify="right")  # whatever a table of labels calls it
    rows = [
        (name, [counts[name, gender] for gender in genders])
        for name in EMOTIONS
        if any(counts[name, gender] for gender in genders)
    ]
    for name, row in rows:
        table.add_row(name, *map(str, row), str(sum(row)))
    sums = [sum(column) for column in zip(*(row for _, row in rows), strict=True)]
    table.add_section()
    table.add_row("all", *map(str, sums), str(sum(sums)))
    console.stderr.print(table)
    console.say(_describe(outcome))


def _describe(outcome: "Outcome") -> str:
    rows = outcome.utterances
    hours = sum(row.duration for row in rows) / 3600
    return ", ".join(
        (
            _count(len({row.speaker for row in rows if row.speaker}), "speaker"),
            f"{hours:.2f} hours",
            f"{_count(sum(row.channels > 1 for row in rows), 'file')} of more than one channel",
            _count(sum(bool(row.duplicate_of) for row in rows), "duplicate"),
        )
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _show_findings(corpus: "Corpus", outcome: "Outcome", limit: int | None) -> None:
    """One line for each kind of finding, or one for each finding when there is no limit."""
    if outcome.missing:
        console.warn(_summarise(f"missing from {corpus.name}", list(outcome.missing), limit))
    if outcome.miscounted:
        gaps = [f"{found} of {all_} {name}" for name, (all_, found) in outcome.miscounted.items()]
        console.warn(_summarise(f"not the whole of {corpus.name}", gaps, None))
    if outcome.extra:
        console.warn(_summarise("not indexed since extra", [str(extra) for extra in outcome.extra], limit))
    if outcome.problems:
        failed = [str(problem) for problem in outcome.problems]
        console.show_error(_summarise("not indexed", failed, limit))


def _summarise(what: str, items: list[str], limit: int | None) -> str:
    from sercli.files import one_line

    shown = [one_line(item) for item in items[:limit]]
    more = f"; and {len(items) - len(shown)} more (--verbose shows all)" if len(shown) < len(items) else ""
    return f"{what} ({len(items)}): {'; '.join(shown)}{more}"


def _show_result(corpus: "Corpus", outcome: "Outcome", index: Path) -> None:
    count = len(outcome.utterances)
    if outcome.unchanged:
        console.say(f"{corpus.name} is in place, {count} utterances in {index}: nothing to do (--force does it again)")
    else:
        console.say(f"indexed {count} utterances of {corpus.name} in {index}; licence: {corpus.licence}")
