"""`sercli compare`: results of several evaluations side by side."""

from pathlib import Path
from typing import Annotated

import typer

from sercli.cli import console, options


def compare(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS", help="Results folders, as evaluate makes.", show_default=False),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="CSV table to write too.", show_default="none"),
    ] = None,
    verbose: options.Verbose = False,  # noqa: ARG001 - the error boundary reads it
    quiet: options.Quiet = False,  # noqa: ARG001 - its callback has done the work
) -> None:
    """Show the figures of several evaluations side by side, the best first.

    Every figure is computed anew from the predictions. Intervals are of 95 %, by a bootstrap over speakers.

    Example: `sercli compare results/emobox-* --out compare.csv`
    """
    from rich.table import Table
    from rich.text import Text

    from sercli.errors import UsageError
    from sercli.evaluation.compare import compare_results, write_comparison

    if out and out.suffix.lower() != ".csv":
        msg = f"the table is CSV: expected a name that ends in .csv, found {str(out)!r}"
        raise UsageError(msg)
    comparison = compare_results(results)
    headings = ("recipe", "protocol", "seeds", "UAR", "95 %", "accuracy", "ECE", "women", "men")
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        # Where it is narrow, the protocol's name is folded, and no figure is cut.
        table.add_column(
            heading,
            no_wrap=heading != "protocol",
            overflow="fold",
            justify="left" if heading in {"recipe", "protocol"} else "right",
        )
    for row in comparison.rows:
        interval = f"{_show(row['uar_low'])}–{_show(row['uar_high'])}"
        scores = [row[name] for name in ("accuracy", "expected_calibration_error")]
        genders = [row["uar_female"], row["uar_male"]]
        cells = [_show(row["uar"]), interval, *map(_show, [*scores, *genders])]
        names = (Text(str(row[name])) for name in ("recipe", "protocol"))  # whatever is in brackets
        table.add_row(*names, str(row["seeds"]), *cells)
    console.stdout.print(table)
    if not comparison.alike:
        console.warn("not all tested the same utterances by the same protocol: their figures should not be compared")
    if out:
        write_comparison(out, comparison)
        console.say(f"table: {out}")


def _show(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
