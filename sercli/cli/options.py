"""Options that several commands share."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from sercli.config import MAX_SEED
from sercli.cpus import count_cpus
from sercli.errors import UsageError
from sercli.labels import read_label, split_labels
from sercli.prediction.report import encodable
from sercli.prediction.settings import DEVICES

RECIPE, DATA, EXECUTION = "Recipe", "Data", "Execution"  # panels of the help

DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        envvar="SERCLI_DATA_DIR",
        help="Folder of corpora, index and features.",
        show_default=True,
        rich_help_panel=DATA,
    ),
]
IndexFile = Annotated[
    Path | None,
    typer.Option(
        "--index",
        help="Index of utterances (CSV).",
        show_default="index.csv in the data folder",
        rich_help_panel=DATA,
    ),
]
StoreFile = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="Feature store (HDF5).",
        show_default="features.h5 in the data folder",
        rich_help_panel=DATA,
    ),
]
ModelDir = Annotated[
    Path | None,
    typer.Option("--model", help="Model folder.", show_default="the included model"),
]
Jobs = Annotated[
    int,
    typer.Option("--jobs", "-j", min=1, help="Parallel workers, at most one per CPU.", rich_help_panel=EXECUTION),
]
Dask = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS",
        help="Run on a Dask cluster: its scheduler, such as tcp://scheduler:8786; workers must see the same paths.",
        show_default=False,
        rich_help_panel=EXECUTION,
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=MAX_SEED, help="Random seed.", rich_help_panel=EXECUTION)]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        help=f"One of {', '.join(DEVICES)}; auto prefers a GPU.",
        rich_help_panel=EXECUTION,
        autocompletion=lambda: list(DEVICES),
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show details and tracebacks.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show errors only.")]

DEFAULT_DATA_DIR = Path("data")


def command_line() -> str:
    """Returns the command line of this process, for reports."""
    return encodable(shlex.join(["sercli", *sys.argv[1:]]))


def default_jobs() -> int:
    """Returns the CPUs that this process may use; 1 if a setting is invalid, which the command reports."""
    try:
        return count_cpus()
    except UsageError:
        return 1


def index_file(data_dir: Path, given: Path | None) -> Path:
    """Returns the index to use: the given one, or the one in the data folder."""
    return given or data_dir / "index.csv"


def store_file(data_dir: Path, given: Path | None) -> Path:
    """Returns the feature store to use: the given one, or the one in the data folder."""
    return given or data_dir / "features.h5"


def _complete_recipe() -> list[str]:
    from sercli.training.recipe_files import list_recipes

    return list(list_recipes())


RecipeName = Annotated[
    str,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE|MODEL",
        help="Name (see `sercli recipes`), TOML file, or model folder.",
        rich_help_panel=RECIPE,
        autocompletion=_complete_recipe,
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a parameter, as in training.learning_rate=0.001; repeatable.",
        show_default=False,
        rich_help_panel=RECIPE,
    ),
]
MaxEpochs = Annotated[
    int | None,
    typer.Option(
        "--max-epochs",
        min=1,
        help="Maximum number of epochs of each network; the teachers of a student may have fewer.",
        show_default="from the recipe",
        rich_help_panel=RECIPE,
    ),
]
Members = Annotated[
    int | None,
    typer.Option(
        "--members",
        min=1,
        max=16,
        help="Number of networks in the ensemble.",
        show_default="from the recipe",
        rich_help_panel=RECIPE,
    ),
]
Corpora = Annotated[
    str | None,
    typer.Option(
        "--corpora",
        help="Corpora to use, separated by commas.",
        show_default="all in the index",
        rich_help_panel=DATA,
    ),
]
Emotions = Annotated[
    str,
    typer.Option(
        "--emotions",
        metavar="LABEL,…",
        help="Labels to keep, separated by commas.",
        show_default="all",
        rich_help_panel=DATA,
    ),
]
LabelMap = Annotated[
    str,
    typer.Option(
        "--map",
        metavar="LABEL=LABEL,…",
        help="Labels to merge into others, as in joy=happy.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]


def parse_labels(text: str) -> tuple[str, ...]:
    """Parses labels separated by commas."""
    return tuple(map(read_label, split_labels(text)))


def parse_names(text: str | None) -> list[str] | None:
    """Parses names of corpora or features, separated by commas; returns None for None."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
