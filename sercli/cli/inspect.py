"""`sercli inspect`: shows statistics of an index and issues to check before training."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sercli.cli import console, options

if TYPE_CHECKING:
    from rich.table import Table

    from sercli.evaluation.index_statistics import Inspection

MAX_NAMES, MAX_ERRORS = 5, 20  # names per issue and label errors shown, unless verbose


Results = Annotated[
    Path | None,
    typer.Option(
        "--results",
        help="Results folder of an evaluation; its predictions reveal likely label errors.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE.html|FILE.json", help="Page (.html) or data (.json).", show_default=False),
]


def inspect(
    *,
    results: Results = None,
    out: Out = None,
    corpora: options.Corpora = None,
    jobs: options.Jobs = options.default_jobs(),
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    index: options.IndexFile = None,
    store: options.StoreFile = None,
) -> None:
    """Show what is in the index and what to check before training: labels, speakers, levels, duplicates, label errors.

    Label errors are found with --results; a weak model also flags correct labels.

    Example: `sercli inspect --results results/pooled-default --out corpus.html`
    """
    from sercli.evaluation.inspect import inspect as run

    path = options.store_file(data_dir, store)
    with console.show_progress("measuring recordings", None) as bar:
        inspection = run(
            options.index_file(data_dir, index),
            path if store or path.exists() else None,
            results,
            out,
            corpora=options.parse_names(corpora),
            jobs=jobs,
            progress=bar.update,
        )
    _show(inspection)
    if out:
        console.say(f"saved {out}")


def _show(inspection: "Inspection") -> None:
    from sercli.evaluation.inspect import UNITS

    genders = [gender or "unknown" for gender in inspection.genders]
    labels = [(name, *counts.values()) for name, counts in inspection.labels.items()]
    speakers = f"{len(inspection.speakers)} speaker{'' if len(inspection.speakers) == 1 else 's'}"
    title = f"{inspection.utterances} utterances, {inspection.hours:.2f} hours, {speakers}"
    console.print_table(_make_table(title, ("label", *genders, "all", "speakers"), labels))
    measures = [
        (f"{name} ({UNITS[name]})", *(f"{value:.4g}" for value in values.values()))
        for name, values in inspection.quantiles.items()
    ]
    console.print_table(_make_table("recordings", ("", *next(iter(inspection.quantiles.values()))), measures))
    console.say("formats: " + "; ".join(f"{count} at {name}" for name, count in inspection.formats.items()))
    if inspection.stored:
        stored, speech = int(inspection.stored["utterances"]), inspection.stored["speech"]
        console.say(f"features: {stored} of {inspection.utterances} utterances, {speech / 3600:.2f} hours of speech")
    verbose = console.is_verbose()
    if verbose:
        rows = [
            (name, sum(c.values()), ", ".join(f"{n} {x}" for x, n in c.items()))
            for name, c in inspection.speakers.items()
        ]
        console.print_table(_make_table("speakers", ("speaker", "all", "labels"), rows))
    _show_folds(inspection)
    for issue in inspection.issues:
        console.warn(console.summarize(issue.kind, issue.names, None if verbose else MAX_NAMES))
    _show_label_errors(inspection, None if verbose else MAX_ERRORS)


def _show_folds(inspection: "Inspection") -> None:
    if inspection.no_folds:
        console.warn(f"no speaker-independent split: {inspection.no_folds}")
        return
    headings = ("fold", "speakers", "train", "dev", "test", "test lacks")
    rows = [
        (
            *(fold["fold"], len(fold["test_speakers"]), fold["train"], fold["dev"], fold["test"]),
            ", ".join(fold["test_lacks"]),
        )
        for fold in inspection.folds
    ]
    console.print_table(_make_table("speaker-independent folds (protocol pooled)", headings, rows))


def _show_label_errors(inspection: "Inspection", limit: int | None) -> None:
    if inspection.label_errors is None:
        return
    errors = inspection.label_errors
    rows = [(e.file, e.label, f"{e.p_label:.2f}", e.suggested, f"{e.p_suggested:.2f}") for e in errors[:limit]]
    title = f"likely label errors: {len(errors)} of {inspection.tested} tested recordings, most likely first"
    console.print_table(_make_table(title, ("file", "label", "p", "suggested", "p"), rows))
    if len(errors) > len(rows):
        console.say(f"and {len(errors) - len(rows)} more (--verbose shows all)")


def _make_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    rows = list(rows)
    for number, heading in enumerate(headings):
        numeric = all(str(row[number])[:1] in "-0123456789" for row in rows)
        table.add_column(console.as_text(heading), justify="right" if numeric and number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(console.as_text, row))
    return table
