"""`sercli tune`: searches for better parameters of a recipe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sercli.cli import console, options
from sercli.splits.protocols import PROTOCOLS, get_protocol

if TYPE_CHECKING:
    from sercli.training.tune import Trial


Trials = Annotated[int, typer.Option("--trials", min=1, help="Number of trials, including those of earlier runs.")]
Folds = Annotated[int, typer.Option("--folds", min=2, max=100, help="Cross-validation folds per trial.")]
Protocol = Annotated[
    str,
    typer.Option(
        "--protocol",
        help="Protocol that defines the test fold to set aside.",
        autocompletion=lambda: [name for name, rules in PROTOCOLS.items() if rules.speaker_independent],
    ),
]
TestFold = Annotated[int, typer.Option("--test-fold", min=1, help="Number of the test fold to set aside.")]
Out = Annotated[Path | None, typer.Option("--out", help="Output folder.", show_default="tuning/<recipe>")]
Restart = Annotated[bool, typer.Option("--restart", help="Discard the trials of earlier runs.")]


def tune(
    *,
    recipe_name: options.RecipeName = "default",
    changes: options.Changes = None,
    trials: Trials = 30,
    folds: Folds = 3,
    protocol: Protocol = "pooled",
    test_fold: TestFold = 1,
    out: Out = None,
    corpora: options.Corpora = None,
    emotions: options.Emotions = "",
    label_map: options.LabelMap = "",
    restart: Restart = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    index: options.IndexFile = None,
    store: options.StoreFile = None,
) -> None:
    """Search for better parameters of a recipe, and write it as best.toml.

    Searches filter sizes, attention, dropout and learning rate, or what the table [tune] of the recipe's file lists.
    Never sees the speakers of one test fold; scores each trial by cross-validation over the others. Trials train one
    network without teachers. Repeat the command to resume.

    Example: `sercli tune --trials 50`

    Example: `sercli train --recipe tuning/default/best.toml`
    """
    from sercli.labels import parse_label_map
    from sercli.training.recipe_files import get_recipe

    recipe = get_recipe(recipe_name, changes or ())  # errors before slow imports
    recipe.require_tunable()
    protocol = get_protocol(protocol).name
    from sercli.training.data import TrainingPlan
    from sercli.training.tune import tune as run

    with console.keeping_work(), console.show_progress(f"tune {recipe.name}", trials) as bar:

        def show(done: int, total: int, step: "Trial | TrainingPlan") -> None:
            bar.update(done, total)
            if isinstance(step, TrainingPlan):
                console.show_plan(step)
                return
            score = "pruned" if step.uar is None else f"UAR {step.uar:.3f}"
            values = ", ".join(f"{name} {_show(value)}" for name, value in step.parameters.items())
            console.say(f"{done} of {total}: {score}, {values}, {step.seconds:.1f} s")

        result = run(
            options.index_file(data_dir, index),
            options.store_file(data_dir, store),
            recipe_name,
            out,
            trials=trials,
            folds=folds,
            protocol=protocol,
            test_fold=test_fold,
            changes=changes or (),
            corpora=options.parse_names(corpora),
            emotions=options.parse_labels(emotions),
            label_map=parse_label_map(label_map),
            seed=seed,
            device=device,
            restart=restart,
            command=options.command_line(),
            progress=show,
        )
    if result.importance:
        console.say("importance of each parameter:")
    for name, share in sorted(result.importance.items(), key=lambda item: -item[1]):
        console.say(f"  {share:4.0%}  {name}")
    console.say(f"best UAR {result.uar:.3f} on development speakers; saved {result.folder / 'best.toml'}")


def _show(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
