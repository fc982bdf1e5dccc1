"""``sercli inspect``: what is in the index, what is odd about it, and which labels are likely wrong."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sercli.cli import console, options

if TYPE_CHECKING:
    from rich.table import Table

    from sercli.evaluation.survey import Survey

SHOWN = 5  # names shown of each list, unless verbose
SHOWN_ERRORS = 20


def inspect(
    *,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            help="Results folder of an evaluation, whose predictions show which labels are likely wrong; the weaker "
            "its models, the more right labels are listed too.",
            show_default="none",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE.html|FILE.json",
            help="Page with pictures, or all figures as JSON; the suffix chooses.",
            show_default="none",
        ),
    ] = None,
    corpora: options.Corpora = None,
    jobs: options.Jobs = options.default_jobs(),
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    index: options.IndexFile = None,
    store: options.StoreFile = None,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,  # noqa: ARG001 - handled by its callback
) -> None:
    """Show what is in the index and what is odd about it: labels, speakers, levels, duplicates, doubtful labels.

    Examples: `sercli inspect` · `sercli inspect --results results/pooled-default --out corpus.html`
    """
    from sercli.corpora.index import read_index
    from sercli.errors import UsageError
    from sercli.evaluation.label_errors import read_label_errors
    from sercli.evaluation.survey import survey_index, write_survey_page
    from sercli.files import write_json

    suffix = out.suffix.lower() if out else ""
    if suffix not in {"", ".json", ".html"} or (out and not suffix):
        msg = f"--out takes a name ending in .html or .json, found {str(out)!r}"
        raise UsageError(msg)
    rows = read_index(options.index_file(data_dir, index)).select(options.split_names(corpora))
    label_errors = read_label_errors(results, rows) if results else None
    path = options.store_file(data_dir, store)
    with console.show_progress("measuring recordings", len(rows)) as bar:
        survey = survey_index(
            rows,
            store=path if store or path.exists() else None,
            label_errors=label_errors,
            jobs=jobs,
            progress=bar.update,
        )
    _show(survey, verbose=verbose)
    if out:
        if suffix == ".html":
            write_survey_page(out, survey)
        else:
            write_json(out, survey.to_dict())
        console.say(f"figures: {out}")


def _show(survey: "Survey", *, verbose: bool) -> None:
    from sercli.evaluation.survey import UNITS

    genders = [gender or "unknown" for gender in survey.genders]
    labels = [(name, *counts.values()) for name, counts in survey.labels.items()]
    speakers = f"{len(survey.speakers)} speaker{'' if len(survey.speakers) == 1 else 's'}"
    title = f"{survey.utterances} utterances, {survey.hours:.2f} hours, {speakers}"
    console.stderr.print(_make_table(title, ("label", *genders, "all", "speakers"), labels))
    measures = [
        (f"{name} ({UNITS[name]})", *(f"{value:.4g}" for value in values.values()))
        for name, values in survey.quantiles.items()
    ]
    console.stderr.print(_make_table("recordings", ("", *next(iter(survey.quantiles.values()))), measures))
    console.say("formats: " + "; ".join(f"{count} of {name}" for name, count in survey.formats.items()))
    if survey.stored:
        stored, speech = int(survey.stored["utterances"]), survey.stored["speech"]
        console.say(f"features: of {stored} of {survey.utterances} utterances, {speech / 3600:.2f} hours of speech")
    if verbose:
        rows = [
            (name, sum(c.values()), ", ".join(f"{n} {x}" for x, n in c.items())) for name, c in survey.speakers.items()
        ]
        console.stderr.print(_make_table("speakers", ("speaker", "all", "labels"), rows))
    _show_folds(survey)
    for oddity in survey.oddities:
        console.warn(_summarize(oddity.kind, oddity.names, None if verbose else SHOWN))
    _show_label_errors(survey, None if verbose else SHOWN_ERRORS)


def _show_folds(survey: "Survey") -> None:
    if survey.no_folds:
        console.warn(f"no speaker-independent split: {survey.no_folds}")
        return
    headings = ("fold", "speakers", "train", "dev", "test", "test lacks")
    rows = [
        (
            *(fold["fold"], len(fold["test_speakers"]), fold["train"], fold["dev"], fold["test"]),
            ", ".join(fold["test_lacks"]),
        )
        for fold in survey.folds
    ]
    console.stderr.print(_make_table("speaker-independent folds (protocol pooled)", headings, rows))


def _show_label_errors(survey: "Survey", limit: int | None) -> None:
    if survey.label_errors is None:
        return
    rows = [(e.file, e.label, f"{e.p_label:.2f}", e.likely, f"{e.p_likely:.2f}") for e in survey.label_errors[:limit]]
    title = f"labels that are likely wrong: {len(survey.label_errors)} of {survey.utterances}, the likeliest first"
    console.stderr.print(_make_table(title, ("file", "label", "p", "likely", "p"), rows))


def _summarize(kind: str, names: Sequence[str], limit: int | None) -> str:
    from sercli.files import one_line

    more = f"; and {len(names) - limit} more (--verbose shows all)" if limit and len(names) > limit else ""
    return f"{kind} ({len(names)}): {'; '.join(map(one_line, names[:limit]))}{more}"


def _make_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    rows = list(rows)
    for number, heading in enumerate(headings):
        numeric = all(str(row[number])[:1] in "-0123456789" for row in rows)
        table.add_column(heading, justify="right" if numeric and number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))  # not markup, whatever the user's labels hold
    return table
