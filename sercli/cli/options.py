"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from sercli.cli import console
from sercli.cpus import count_cpus
from sercli.errors import UsageError
from sercli.labels import read_label
from sercli.labels import split_names as split_labels

DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        envvar="SERCLI_DATA_DIR",
        help="Folder of corpora, index and features.",
        show_default=True,
    ),
]
IndexFile = Annotated[
    Path | None,
    typer.Option(
        "--index",
        help="Index of utterances, CSV.",
        show_default="index.csv in the data folder",
    ),
]
StoreFile = Annotated[
    Path | None,
    typer.Option("--store", help="Feature store, HDF5.", show_default="features.h5 in the data folder"),
]
ModelDir = Annotated[
    Path | None,
    typer.Option("--model", help="Model folder.", show_default="the model that comes with sercli"),
]
Jobs = Annotated[
    int,
    typer.Option("--jobs", "-j", min=1, help="Parallel workers, at most one per CPU that this process may use."),
]
Dask = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS",
        help="Scheduler of a Dask cluster that does the work instead, as tcp://scheduler:8786. Its workers must have "
        "the same sercli and see the files under the same paths.",
        show_default="none: this machine",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random choice.")]
Device = Annotated[
    str,
    typer.Option("--device", help="auto, cpu, cuda or mps; auto takes CUDA or MPS when there is one."),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", callback=console.set_verbose, help="Show details, and tracebacks of errors."),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", callback=lambda value: console.set_quiet(value), help="Show errors only."),
]

DEFAULT_DATA_DIR = Path("data")


def default_jobs() -> int:
    """CPUs that this process may use; 1 where a setting is wrong, which the command itself reports."""
    try:
        return count_cpus()
    except UsageError:
        return 1


def index_file(data_dir: Path, given: Path | None) -> Path:
    """The index to use: the one given, else that of the data folder."""
    return given or data_dir / "index.csv"


def store_file(data_dir: Path, given: Path | None) -> Path:
    """The feature store to use: the one given, else that of the data folder."""
    return given or data_dir / "features.h5"


RecipeName = Annotated[
    str,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE|MODEL",
        help="How to train: a named recipe, which `sercli recipes` lists, a TOML file, or that of a trained model.",
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a parameter of the recipe, as in training.learning_rate=0.001; repeatable.",
        show_default="none",
    ),
]
MaxEpochs = Annotated[
    int | None,
    typer.Option(
        "--max-epochs",
        min=1,
        help="Epochs of recipe default, whose learning rate is planned for them; of others the most that there may be.",
        show_default="that of the recipe",
    ),
]
Members = Annotated[
    int,
    typer.Option("--members", min=1, max=16, help="Networks that are trained one by one and answer together."),
]
Corpora = Annotated[
    str | None,
    typer.Option(
        "--corpora",
        help="Corpora to use, separated by commas.",
        show_default="all in the index",
    ),
]
Emotions = Annotated[
    str,
    typer.Option(
        "--emotions",
        metavar="LABEL,…",
        help="Labels to keep, separated by commas.",
        show_default="all",
    ),
]
LabelMap = Annotated[
    str,
    typer.Option(
        "--map",
        metavar="LABEL=LABEL,…",
        help="Labels to merge into others, as in joy=happy,surprise=surprised.",
        show_default="none",
    ),
]


def parse_labels(text: str) -> tuple[str, ...]:
    """Labels separated by commas."""
    return tuple(map(read_label, split_labels(text)))


def split_names(text: str | None) -> list[str] | None:
    """Names separated by commas as a list; None for None."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
