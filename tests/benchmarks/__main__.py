"""``make bench``: every measurement, printed as tables and kept in ``results/``."""

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks import predict
from tests.benchmarks.features import measure_features, measure_stages
from tests.benchmarks.measure import HEADINGS, describe_machine
from tests.benchmarks.pipeline import (
    measure_command,
    measure_growth,
    measure_jobs,
    measure_reading,
    measure_training,
)
from tests.benchmarks.recordings import copy_recordings

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--clips", type=int, default=1_440, help="recordings that featurize is timed with")
    parser.add_argument("--quick", action="store_true", help="leave what is many or long out")
    parser.add_argument("--only", choices=("featurize", "predict"), help="measure one of the two")
    arguments = parser.parse_args()
    console = Console(width=140)
    console.print(describe_machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recordings = copy_recordings(folder / "clips", arguments.clips)
        if arguments.only != "featurize":
            stages = predict.measure_stages(recordings[:: max(1, len(recordings) // 80)])
            cells = [row.cells for row in predict.measure_predict(recordings, folder, quick=arguments.quick)]
            tables = [
                ("predict, start-up included", HEADINGS, cells),
                ("where the time of a clip goes, one core", ["stage", "time", "share", "floor"], stages),
            ]
            keep(console, "predict.md", tables)
        if arguments.only == "predict":
            return
        rows = measure_features(recordings)
        stages = measure_stages(recordings[:: max(1, len(recordings) // 40)])
        rows += [measure_command(recordings), *measure_jobs(recordings)]
        reading = measure_reading(recordings)
        if not arguments.quick:
            rows += [*measure_growth(folder), *measure_training(folder)]
    tables = [
        ("featurize, side by side", HEADINGS, [row.cells for row in rows]),
        ("where the time of a clip goes, one core", ["stage", "time", "share", "floor", "what the floor is"], stages),
        ("the store", ["opening", "random rows", "size"], [reading]),
    ]
    keep(console, "featurize.md", tables)


def keep(console: Console, name: str, tables: list[tuple[str, list[str], list[list[str]]]]) -> None:
    for title, headings, cells in tables:
        console.print(make_table(title, headings, cells))
    RESULTS.mkdir(exist_ok=True)
    text = "\n\n".join([describe_machine(), *(to_markdown(*table) for table in tables)])
    (RESULTS / name).write_text(f"{text}\n", encoding="utf-8")


def make_table(title: str, headings: list[str], cells: list[list[str]]) -> Table:
    table = Table(*headings, title=title, title_justify="left")
    for row in cells:
        table.add_row(*row)
    return table


def to_markdown(title: str, headings: list[str], cells: list[list[str]]) -> str:
    lines = [f"**{title}**", "", f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in cells)])


if __name__ == "__main__":
    main()
