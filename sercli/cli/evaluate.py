"""`sercli evaluate`: trains and tests every fold of a protocol."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sercli.audio.degradation import DEGRADATIONS
from sercli.cli import console, options
from sercli.splits.protocols import PROTOCOLS, describe_protocols, name_protocol

if TYPE_CHECKING:
    from sercli.evaluation.folds import FoldResult
    from sercli.evaluation.report import EvaluationReport

EPILOG = describe_protocols()

Protocol = Annotated[
    str,
    typer.Option(
        "--protocol",
        metavar="NAME",
        help="How to split training and test data; see the list below.",
        autocompletion=lambda: [*PROTOCOLS, "cross"],
    ),
]
Seeds = Annotated[int, typer.Option("--seeds", min=1, max=1000, help="Number of seeds, starting at --seed.")]
Degrade = Annotated[
    str,
    typer.Option(
        "--degrade",
        metavar="NAME",
        help=f"Also test on degraded recordings: {' or '.join(DEGRADATIONS)}.",
        show_default=False,
        autocompletion=lambda: list(DEGRADATIONS),
    ),
]
Out = Annotated[Path | None, typer.Option("--out", help="Results folder.", show_default="results/<protocol>-<recipe>")]
TrainOn = Annotated[
    str | None,
    typer.Option("--train", metavar="CORPORA", help="Corpora to train on (protocol cross).", show_default=False),
]
TestOn = Annotated[
    str | None,
    typer.Option("--test", metavar="CORPORA", help="Corpora to test on (protocol cross).", show_default=False),
]

Restart = Annotated[bool, typer.Option("--restart", help="Discard the folds of earlier runs.")]


def evaluate(
    *,
    protocol: Protocol = "emobox",
    recipe_name: options.RecipeName = "default",
    changes: options.Changes = None,
    seeds: Seeds = 1,
    degrade: Degrade = "",
    out: Out = None,
    train_on: TrainOn = None,
    test_on: TestOn = None,
    members: options.Members = None,
    max_epochs: options.MaxEpochs = None,
    corpora: options.Corpora = None,
    seed: options.Seed = 0,
    emotions: options.Emotions = "",
    label_map: options.LabelMap = "",
    jobs: options.Jobs = options.default_jobs(),
    restart: Restart = False,
    device: options.Device = "auto",
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    index: options.IndexFile = None,
    store: options.StoreFile = None,
) -> None:
    """Train and test every fold of a protocol, and write a results folder.

    Duplicates stay in one split; test data never influence normalization, calibration or early stopping. Repeat the
    command to resume.

    Example: `sercli evaluate --protocol emobox --recipe default`
    """
    from sercli.labels import parse_label_map
    from sercli.training.recipe_files import get_recipe

    recipe = get_recipe(recipe_name, changes or ()).with_max_epochs(max_epochs).with_members(members)
    train, test = (options.parse_names(names or None) for names in (train_on, test_on))
    protocol = name_protocol(protocol, train, test)  # before slow imports
    from sercli.evaluation.run import evaluate as run
    from sercli.training.data import TrainingPlan

    with console.keeping_work(), console.show_progress(f"evaluate {protocol}", None) as bar:

        def show(done: int, total: int, step: "FoldResult | TrainingPlan | None") -> None:
            bar.update(done, total)
            if isinstance(step, TrainingPlan):
                console.show_plan(step)
            elif step:
                console.say(
                    f"{done} of {total}: seed {step.seed}, fold {step.fold}, development UAR {step.dev_uar:.3f}"
                )

        report = run(
            options.index_file(data_dir, index),
            options.store_file(data_dir, store),
            recipe,
            out,
            protocol=protocol,
            corpora=options.parse_names(corpora),
            emotions=options.parse_labels(emotions),
            label_map=parse_label_map(label_map),
            seed=seed,
            seeds=seeds,
            degrade=degrade,
            jobs=jobs,
            restart=restart,
            device=device,
            command=options.command_line(),
            progress=show,
        )
    _show(report)
    if report.failures:
        console.show_failures([(failure.file, failure.reason) for failure in report.failures])
        raise typer.Exit(1)


def _show(report: "EvaluationReport") -> None:
    from sercli.evaluation.report import read_report

    overall = report.scores.overall
    console.say(f"recipe {report.recipe}, protocol {report.test_name}: {report.protocol_description}")
    console.print_table(console.confusion_table(overall.confusion, overall.per_class))
    low, high = overall.uar_interval
    interval = "" if low is None else f" (95% interval over speakers: {low:.3f} to {high:.3f})"
    console.say(
        f"UAR {overall.uar:.3f}{interval}, accuracy {overall.accuracy:.3f}, macro F1 {overall.macro_f1:.3f}, "
        f"calibration error {overall.expected_calibration_error:.3f}"
    )
    if report.degradation:
        clean = read_report(report.folder.parent)["overall"]
        console.say(f"without degradation: UAR {clean['uar']:.3f}, accuracy {clean['accuracy']:.3f}")
    console.say(f"{report.folder}: {', '.join(sorted(path.name for path in report.folder.iterdir()))}")
