"""`sercli train`: trains a model from the feature store."""

from bisect import bisect_left
from itertools import accumulate
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


Out = Annotated[Path | None, typer.Option("--out", help="Model folder.", show_default="models/<recipe>")]
Negative = Annotated[
    str | None,
    typer.Option(
        "--negative",
        metavar="LABEL,…",
        help="Labels that count as negative in summaries.",
        show_default="sad, angry, fearful, disgust",
        rich_help_panel=options.DATA,
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Resume an interrupted run.")]
Restart = Annotated[bool, typer.Option("--restart", help="Discard an interrupted run.")]
Figures = Annotated[
    list[Path] | None,
    typer.Option(
        "--figures", metavar="DIR", help="Results folder to quote in the model card; repeatable.", show_default=False
    ),
]


def train(
    *,
    recipe_name: options.RecipeName = "default",
    changes: options.Changes = None,
    out: Out = None,
    corpora: options.Corpora = None,
    emotions: options.Emotions = "",
    label_map: options.LabelMap = "",
    negative: Negative = None,
    resume: Resume = False,
    restart: Restart = False,
    members: options.Members = None,
    max_epochs: options.MaxEpochs = None,
    figures: Figures = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    index: options.IndexFile = None,
    store: options.StoreFile = None,
) -> None:
    """Train a model on the indexed corpora, on a GPU if there is one.

    Recipes with a one-cycle schedule train for a fixed number of epochs; others stop when the UAR on held-out speakers
    stops improving. Utterances marked test in a column split of the index are left out, those marked dev are held out.
    Ctrl-C keeps what has been trained so far; --resume continues.

    Example: `sercli train --recipe default --out models/mine`
    """
    from sercli.labels import parse_label_map
    from sercli.training.recipe_files import get_recipe

    recipe = get_recipe(recipe_name, changes or ())  # before slow imports
    recipe.require_trainable()
    recipe = recipe.with_max_epochs(max_epochs).with_members(members)
    from sercli.evaluation.report import read_scores
    from sercli.training.data import TrainingPlan
    from sercli.training.train import train as run

    scores = read_scores(figures or [], recipe)
    records: list[tuple[int, EpochRecord]] = []
    with console.show_live(lambda: _epoch_table(records, recipe)) as live:

        def show(done: int, _: int, record: "EpochRecord | TrainingPlan") -> None:
            if isinstance(record, TrainingPlan):
                console.show_plan(record)
                return
            network = bisect_left(list(accumulate(recipe.epochs)), done)  # from 0, teachers first
            records.append((network, record))
            live.refresh(_name_network(network, recipe) + _epoch_line(record))

        result = run(
            options.index_file(data_dir, index),
            options.store_file(data_dir, store),
            recipe,
            out,
            corpora=options.parse_names(corpora),
            emotions=options.parse_labels(emotions),
            label_map=parse_label_map(label_map),
            negative=None if negative is None else options.parse_labels(negative),
            seed=seed,
            device=device,
            resume=resume,
            restart=restart,
            command=options.command_line(),
            figures=scores,
            progress=show,
        )
    _show_result(result, recipe.network.members)
    if result.trained.interrupted:
        raise typer.Exit(1)


def _show_result(result: "TrainingResult", members: int) -> None:
    trained, dev, first = result.trained, result.trained.dev, result.trained.members[0]
    console.say(
        f"{result.folder}: epoch {first.best_epoch} of {len(first.history)}: development UAR {dev.uar:.3f}, "
        f"accuracy {dev.accuracy:.3f}; confidence calibrated for {trained.model.facts['calibrated_for']} "
        f"(temperature {trained.model.temperature:.2f})"
    )
    if trained.interrupted:
        content = "the model trained so far" if members == 1 else f"{len(trained.members)} of {members} networks"
        state = f"has {content}" if result.saved else "still has the previous model"
        console.show_error(f"interrupted: {result.folder} {state}; continue with --resume")


def _name_network(number: int, recipe: "Recipe") -> str:
    count, n_teachers = len(recipe.epochs), len(recipe.epochs) - recipe.network.members
    if count == 1:
        return ""
    return f"network {number + 1} of {count}" + (" (a teacher), " if number < n_teachers else ", ")


def _epoch_line(record: "EpochRecord") -> str:
    return (
        f"epoch {record.epoch}: loss {record.train_loss:.3f}, development loss {record.dev_loss:.3f}, "
        f"accuracy {record.dev_accuracy:.3f}, UAR {record.dev_uar:.3f}, {record.seconds:.1f} s"
    )


def _epoch_table(all_records: "list[tuple[int, EpochRecord]]", recipe: "Recipe") -> "RenderableType":
    from rich.table import Table

    from sercli.training.loop import find_best

    if not all_records:
        return "reading features and training the first epoch"
    config, network = recipe.training, all_records[-1][0]
    records = [record for number, record in all_records if number == network]
    mean_seconds = sum(record.seconds for record in records) / len(records)
    n_left = sum(recipe.epochs[network:]) - records[-1].epoch
    left = f"at most {n_left * mean_seconds / 60:.0f} min left" if n_left else "calibrating the model"
    table = Table(
        title=f"{_name_network(network, recipe)}epoch {records[-1].epoch} of at most {recipe.epochs[network]}, {left}",
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
