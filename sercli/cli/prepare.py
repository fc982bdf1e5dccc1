"""`sercli prepare`: downloads a corpus, checks its recordings, and adds them to the index."""

import contextlib
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sercli.cli import console, options
from sercli.corpora.registry import CORPORA

if TYPE_CHECKING:
    from sercli.corpora.corpus import Corpus
    from sercli.corpora.prepare import PrepareResult

SOURCE = "Source"  # panel of the help
SHOWN = 5  # names shown of each list, unless verbose

DEFAULT = "ravdess"

_STAGES = {"download": "downloading", "unpack": "unpacking", "index": "checking recordings"}


def _describe_corpora() -> str:
    names = [name for name, corpus in CORPORA.items() if not corpus.takes_any]
    own = [f"{name} ({corpus.title})" for name, corpus in CORPORA.items() if corpus.takes_any]
    return f"{', '.join(names)}; or {', '.join(own)}."


CorpusName = Annotated[
    str,
    typer.Argument(help=_describe_corpora(), autocompletion=lambda: list(CORPORA)),
]
SourceOption = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="PATH",
        help="Folder of recordings, zip or tar archive, or folder of archives.",
        show_default="download the corpus; for csv, the folder of the table",
        rich_help_panel=SOURCE,
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="For csv: table with columns file and emotion, and optionally speaker and gender.",
        show_default=False,
        rich_help_panel=SOURCE,
    ),
]
LabelMap = Annotated[
    str,
    typer.Option(
        "--map",
        metavar="LABEL=LABEL,…",
        help="For your own recordings: labels to merge into others, as in joy=happy.",
        show_default=False,
        rich_help_panel=SOURCE,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="Mirror; its file must match the published size and checksum.",
        show_default="the address of the corpus",
        rich_help_panel=SOURCE,
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", "--restart", help="Unpack and index again."),
]
ListCorpora = Annotated[bool, typer.Option("--list", help="List all corpora with size, labels and license, and exit.")]


def prepare(
    corpus: CorpusName = DEFAULT,
    *,
    source: SourceOption = None,
    labels: Labels = None,
    label_map: LabelMap = "",
    url: Url = None,
    force: Force = False,
    list_corpora: ListCorpora = False,
    jobs: options.Jobs = options.default_jobs(),
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    index: options.IndexFile = None,
) -> None:
    """Download a corpus, or read it from a folder or archive, and index its recordings.

    Replaces the rows of this corpus in the index. Recordings in a folder are not copied; archives are unpacked into the
    data folder.

    Example: `sercli prepare nemo --from ~/nemo`

    Example: `sercli prepare csv --labels calls.csv --map joy=happy`
    """
    if list_corpora:
        _list_corpora()
        return
    from sercli.corpora.download import log
    from sercli.corpora.prepare import prepare as run
    from sercli.corpora.registry import get_corpus
    from sercli.labels import parse_label_map

    with console.showing_warnings_of(log), _open_bars() as bars:
        result = run(
            corpus,
            source,
            data_dir=data_dir,
            index=index,
            labels=labels,
            label_map=parse_label_map(label_map),
            url=url,
            jobs=jobs,
            force=force,
            progress=bars.update,
        )
    chosen = get_corpus(corpus)
    _show_table(chosen, result)
    _show_exceptions(chosen, result, None if console.is_verbose() else SHOWN)
    _show_result(chosen, result, options.index_file(data_dir, index))
    if result.problems:
        raise typer.Exit(1)


def _list_corpora() -> None:
    from rich.table import Table

    from sercli.labels import order_labels

    table = Table(box=None, pad_edge=False)
    for heading in ("corpus", "hours", "speakers", "labels", "license", "download"):
        table.add_column(heading, justify="right" if heading in {"hours", "speakers"} else "left", overflow="fold")
    for corpus in CORPORA.values():
        labels = ", ".join(order_labels(corpus.label_map.values())) or f"any: {corpus.title}"
        hours, speakers = (f"{corpus.hours:.1f}" if corpus.hours else "–"), str(corpus.speakers or "–")
        download = "–" if corpus.takes_any else "yes" if corpus.archive else "no"
        table.add_row(corpus.name, hours, speakers, labels, corpus.license, download)
    console.print_table(table, console.stdout)
    console.say("for a corpus without download, 'sercli prepare CORPUS' shows where to get it")


class _Bars:
    """The progress bar of the current stage."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._stage = ""

    def update(self, done: int, total: int, stage: str) -> None:
        """Shows the progress of a stage, in recordings for ``index`` and else in bytes."""
        if stage != self._stage:
            self._stack.close()
            if stage == "download":
                self._stack.enter_context(console.keeping_work())
            show = console.show_progress if stage == "index" else console.show_download
            self._bar = self._stack.enter_context(show(_STAGES[stage], total))
            self._stage = stage
        self._bar.update(done, total)


@contextlib.contextmanager
def _open_bars() -> Iterator[_Bars]:
    with contextlib.ExitStack() as stack:
        yield _Bars(stack)


def _show_table(corpus: "Corpus", result: "PrepareResult") -> None:
    from rich.table import Table
    from rich.text import Text

    from sercli.files import one_line
    from sercli.labels import order_labels

    counts = Counter((row.emotion, row.gender) for row in result.utterances)
    genders = sorted({gender for _, gender in counts})
    table = Table("emotion", title=corpus.title)
    for heading in (*(gender or "unknown" for gender in genders), "all"):
        table.add_column(Text(one_line(heading)), justify="right")  # not markup, whatever the user's table holds
    labels = order_labels(emotion for emotion, _ in counts)
    rows = [(name, [counts[name, gender] for gender in genders]) for name in labels]
    for name, row in rows:
        table.add_row(Text(name), *map(str, row), str(sum(row)))
    sums = [sum(column) for column in zip(*(row for _, row in rows), strict=True)]
    table.add_section()
    table.add_row("all", *map(str, sums), str(sum(sums)))
    console.print_table(table)
    console.say(_describe(result))


def _describe(result: "PrepareResult") -> str:
    rows = result.utterances
    hours = sum(row.duration for row in rows) / 3600
    return ", ".join(
        (
            _count(len({row.speaker for row in rows if row.speaker}), "speaker"),
            f"{hours:.2f} hours",
            f"{_count(sum(row.channels > 1 for row in rows), 'file')} with more than one channel",
            _count(sum(bool(row.duplicate_of) for row in rows), "duplicate"),
        )
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _show_exceptions(corpus: "Corpus", result: "PrepareResult", limit: int | None) -> None:
    """Shows what is missing, excluded or failed: one line per kind, with at most `limit` names."""
    if result.missing:
        console.warn(console.summarize(f"missing from {corpus.name}", list(result.missing), limit))
    if result.miscounted:
        gaps = [f"{actual} of {expected} {name}" for name, (expected, actual) in result.miscounted.items()]
        console.warn(console.summarize(f"{corpus.name} is incomplete", gaps, None))
    if result.copies:
        copies = [str(copy) for copy in result.copies]
        console.warn(console.summarize("duplicate files, not indexed", copies, limit))
    if result.extra:
        console.warn(console.summarize("extra files, not indexed", [str(extra) for extra in result.extra], limit))
    if result.problems:
        failed = [str(problem) for problem in result.problems]
        console.show_error(console.summarize("not indexed", failed, limit))


def _show_result(corpus: "Corpus", result: "PrepareResult", index: Path) -> None:
    count = _count(len(result.utterances), "utterance")
    if result.near_misses:
        console.warn(f"these labels are synonyms of sercli's: merge them with --map {shlex.quote(result.near_misses)}")
    if result.absent:
        absent = ", ".join(f"{text!r} ({count})" for text, count in result.absent.items())
        console.warn(f"these labels or speakers look like empty cells: {absent}; leave unknown cells empty")
    if result.similar_speakers:
        similar = [" and ".join(map(repr, group)) for group in result.similar_speakers]
        console.warn(
            console.summarize("speakers with nearly the same name, treated as different people", similar, SHOWN)
        )
    if result.unchanged:
        console.say(f"{corpus.name} is already prepared, {count} in {index} (--force repeats it)")
    else:
        console.say(f"indexed {count} of {corpus.name} in {index}; license: {corpus.license}")
