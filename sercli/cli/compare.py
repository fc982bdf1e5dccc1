"""`sercli compare`: compares the results of several evaluations."""

from pathlib import Path
from typing import Annotated

import typer

from sercli.cli import console


def compare(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS", help="Results folders.", show_default=False),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="CSV table to write.", show_default=False),
    ] = None,
) -> None:
    """Compare evaluations, best first.

    Scores are recomputed from the predictions, with 95% intervals by a bootstrap over speakers.

    Example: `sercli compare results/emobox-* --out compare.csv`
    """
    from rich.table import Table

    from sercli.evaluation.compare import compare as run

    comparison = run(results, out)
    table = Table(box=None, pad_edge=False)
    table.add_column("recipe", min_width=max(len(row.recipe) for row in comparison.rows))
    table.add_column("protocol", overflow="fold")
    for heading in ("seeds", "UAR", "95% interval", "accuracy", "calibration error", "women", "men"):
        table.add_column(heading, justify="right")
    for row in comparison.rows:
        interval = f"{_show(row.uar_low)}–{_show(row.uar_high)}"
        scores = (row.accuracy, row.expected_calibration_error, row.uar_female, row.uar_male)
        names = map(console.as_text, (row.recipe, row.protocol))
        table.add_row(*names, str(row.seeds), _show(row.uar), interval, *map(_show, scores))
    console.print_table(table, console.stderr if out else console.stdout)
    if not comparison.comparable:
        console.warn("not comparable: these results come from different test utterances, protocols or degradations")
    if out:
        console.say(f"saved {out}")


def _show(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
