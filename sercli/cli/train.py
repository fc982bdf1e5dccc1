"""`sercli train`: trains a model from the feature store."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sercli.cli import console, options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sercli.training.loop import EpochRecord
    from sercli.training.recipes import Recipe
    from sercli.training.train import TrainingResult

LIVE_ROWS = 12  # epochs that the live table shows


def train(
    *,
    recipe: options.RecipeName = "default",
    changes: options.Changes = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Model folder.", show_default="models/<recipe>"),
    ] = None,
    corpora: options.Corpora = None,
    emotions: options.Emotions = "",
    label_map: options.LabelMap = "",
    negative: Annotated[
        str | None,
        typer.Option(
            "--negative",
            metavar="LABEL,…",
            help="Labels that count as negative in summaries.",
            show_default="sad, angry, fearful, disgust",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted training.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Discard an interrupted training.")] = False,
    members: options.Members = None,
    max_epochs: options.MaxEpochs = None,
    figures: Annotated[
        list[Path] | None,
        typer.Option(
            "--figures",
            metavar="DIR",
            help="Results folder to quote in the model card; repeatable.",
        ),
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    index: options.IndexFile = None,
    store: options.StoreFile = None,
    verbose: options.Verbose = False,  # noqa: ARG001 - handled by its callback
    quiet: options.Quiet = False,  # noqa: ARG001 - handled by its callback
) -> None:
    """Train a model on the indexed corpora, on a GPU if there is one.

    Recipes with a one-cycle schedule train for a fixed number of epochs; others stop when the recall of held-out
    development speakers no longer improves. Ctrl-C keeps the best model so far, and --resume continues.

    Example: `sercli train --recipe default --out models/mine`
    """
    from sercli.labels import parse_label_map
    from sercli.training.recipe_files import get_recipe

    chosen = get_recipe(recipe, changes or ()).limit(max_epochs).join(members)  # before slow imports
    from sercli.evaluation.report import read_figures
    from sercli.training.train import train as run

    quoted = read_figures(figures or [], chosen.name)
    records: list[tuple[int, EpochRecord]] = []
    with console.show_live(lambda: _epoch_table(records, chosen)) as live:

        def show(member: int, record: "EpochRecord") -> None:
            records.append((member, record))
            live.refresh(_name_network(member, chosen) + _epoch_line(record))

        result = run(
            options.index_file(data_dir, index),
            options.store_file(data_dir, store),
            chosen,
            out,
            corpora=options.split_names(corpora),
            emotions=options.parse_labels(emotions),
            label_map=parse_label_map(label_map),
            negative=None if negative is None else options.parse_labels(negative),
            seed=seed,
            device=device,
            resume=resume,
            restart=restart,
            command=shlex.join(["sercli", *sys.argv[1:]]),
            figures=quoted,
            on_epoch=show,
        )
    if result.missing:
        console.warn(
            f"{len(result.missing)} indexed utterances are not in the store and were skipped: {result.missing[0]}, …; "
            "run 'sercli featurize'"
        )
    if result.known_speakers:
        console.warn(
            f"not all speakers of {', '.join(result.known_speakers)} are known, or fewer than 3: the development "
            "utterances may be of speakers in training, so expect less than these figures of other speakers"
        )
    first = result.members[0]
    console.say(
        f"{result.folder}: epoch {first.best_epoch} of {len(first.history)}, development loss {result.dev.loss:.3f}, "
        f"accuracy {result.dev.accuracy:.3f}, UAR {result.dev.uar:.3f}, temperature {result.model.temperature:.2f}"
    )
    if result.interrupted:
        held = _describe_held(result, chosen.network.members)
        console.show_error(f"interrupted: {result.folder} holds {held}; resume with --resume")
        raise typer.Exit(1)


def _describe_held(result: "TrainingResult", members: int) -> str:
    if not result.saved:
        return "the finished model of before"
    return "the best model so far" if members == 1 else f"{len(result.members)} of {members} networks"


def _name_network(number: int, recipe: "Recipe") -> str:
    return f"network {number + 1} of {recipe.n_networks}, " if recipe.n_networks > 1 else ""


def _epoch_line(record: "EpochRecord") -> str:
    return (
        f"epoch {record.epoch}: loss {record.train_loss:.3f}, development loss {record.dev_loss:.3f}, "
        f"accuracy {record.dev_accuracy:.3f}, UAR {record.dev_uar:.3f}, {record.seconds:.1f} s"
    )


def _epoch_table(noted: "list[tuple[int, EpochRecord]]", recipe: "Recipe") -> "RenderableType":
    from rich.table import Table

    from sercli.training.loop import find_best

    if not noted:
        return "reading features and training the first epoch"
    config, member = recipe.training, noted[-1][0]
    records = [record for number, record in noted if number == member]
    mean_seconds = sum(record.seconds for record in records) / len(records)
    left = ((recipe.n_networks - member) * config.max_epochs - records[-1].epoch) * mean_seconds / 60
    table = Table(
        title=f"{_name_network(member, recipe)}epoch {records[-1].epoch} of at most {config.max_epochs}, "
        f"at most {left:.0f} min left",
        title_justify="left",
    )
    for name in (
        "epoch",
        "loss",
        "accuracy",
        "dev loss",
        "dev accuracy",
        "dev UAR",
        "learning rate",
        "seconds",
    ):
        table.add_column(name, justify="right")
    best = find_best(records, config.schedule)
    for record in records[-LIVE_ROWS:]:
        values = [
            record.train_loss,
            record.train_accuracy,
            record.dev_loss,
            record.dev_accuracy,
            record.dev_uar,
        ]
        table.add_row(
            str(record.epoch),
            *(f"{value:.3f}" for value in values),
            f"{record.learning_rate:.1e}",
            f"{record.seconds:.1f}",
            style="bold" if record is best else None,
        )
    return table
