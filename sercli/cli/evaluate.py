"""`sercli evaluate`: trains and tests every fold of a named protocol."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from sercli.cli import console, options


def evaluate(
    *,
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            help="paper (random 80/10/10), random10 (random 10-fold), or with unseen speakers: emobox (6 folds), "
            "luna (5 folds), loso (leave one speaker out), pooled (6 folds over all corpora), cross (train on --train, "
            "test on --test).",
        ),
    ] = "emobox",
    recipe: options.RecipeName = "default",
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=1000, help="How many seeds: --seed and those that follow it.")
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Results folder.", show_default="named by protocol and recipe, in results"),
    ] = None,
    train_on: Annotated[
        str | None,
        typer.Option(
            "--train", metavar="CORPORA", help="With --protocol cross: corpora to train on.", show_default=False
        ),
    ] = None,
    test_on: Annotated[
        str | None,
        typer.Option(
            "--test", metavar="CORPORA", help="With --protocol cross: corpora to test on.", show_default=False
        ),
    ] = None,
    channel: Annotated[
        str,
        typer.Option(
            "--channel",
            help="What test recordings are passed through: telephone (8 kHz, G.711 µ-law) or gsm (8 kHz, GSM 06.10).",
            show_default="none",
        ),
    ] = "",
    enroll: Annotated[
        bool,
        typer.Option(
            "--enroll",
            help="Normalise each test speaker by all that he or she says in the test, labels unseen. A protocol of its "
            "own: its figures are not comparable with those without.",
        ),
    ] = False,
    networks: Annotated[
        Path | None,
        typer.Option(
            "--networks",
            metavar="DIR",
            help="Results folder whose networks are tested, where they are of the same training, instead of new ones.",
            show_default="none: train",
        ),
    ] = None,
    ensemble: Annotated[
        bool,
        typer.Option("--ensemble", help="Test the networks of all seeds together, as one; with --networks."),
    ] = False,
    members: options.Members = 1,
    max_epochs: options.MaxEpochs = None,
    corpora: options.Corpora = None,
    seed: options.Seed = 0,
    jobs: options.Jobs = options.default_jobs(),
    device: options.Device = "auto",
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    index: options.IndexFile = None,
    store: options.StoreFile = None,
    verbose: options.Verbose = False,  # noqa: ARG001 - the error boundary reads it
    quiet: options.Quiet = False,  # noqa: ARG001 - its callback has done the work
) -> None:
    """Train and test every fold of a protocol, and write a results folder.

    Duplicates stay on one side, altered copies are trained on only, normalisation is fitted on training utterances
    and calibration on development speakers cut from training; the test takes no part in any choice. An interrupted
    evaluation goes on where it was. Networks are kept in the results folder.

    Example: `sercli evaluate --protocol emobox --recipe default`
    """
    from sercli.corpora.index import read_index
    from sercli.errors import UsageError
    from sercli.evaluation.plan import EvaluationPlan
    from sercli.evaluation.results import name_test
    from sercli.evaluation.run import evaluate as run
    from sercli.splits.protocols import get_protocol, name_cross_protocol
    from sercli.training.recipes import get_recipe

    if max_epochs is not None and get_recipe(recipe).baseline:
        msg = f"recipe {recipe} has no epochs: leave --max-epochs out"
        raise UsageError(msg)
    if (protocol == "cross") != bool(train_on and test_on) or bool(train_on) != bool(test_on):
        msg = "--protocol cross, --train and --test go together: name the corpora to train and to test on"
        raise UsageError(msg)
    if protocol == "cross":
        protocol = name_cross_protocol(options.split_names(train_on) or [], options.split_names(test_on) or [])
    chosen, rules = get_recipe(recipe).limit(max_epochs).join(members), get_protocol(protocol)
    utterances = read_index(options.index_file(data_dir, index))
    names = options.split_names(corpora)
    if names is None and protocol in {"emobox", "luna"} and "ravdess" in utterances.corpora:
        names = ["ravdess"]  # these protocols are made for it
    plan = EvaluationPlan(
        index=utterances.select(names),
        store=options.store_file(data_dir, store),
        protocol=protocol,
        recipe=chosen,
        seeds=tuple(range(seed, seed + seeds)),
        channel=channel,
        enrolled=enroll,
        networks=networks,
        ensemble=ensemble,
        device=device,
        jobs=jobs,
        command=shlex.join(["sercli", *sys.argv[1:]]),
    )
    conditions = (
        protocol,
        recipe,
        f"members{members}" if members > 1 else "",
        channel,
        "enrolled" if enroll else "",
        "ensemble" if ensemble else "",
    )
    folder = out or Path("results") / "-".join(filter(None, conditions))
    if networks and networks.resolve() == folder.resolve():
        msg = f"--networks {networks} is where the results would go: give another --out"
        raise UsageError(msg)
    with console.show_progress(f"evaluate {protocol}", None) as bar:

        def report_progress(done: int, total: int, what: str) -> None:
            if what:
                console.say(f"{done} of {total}: {what}")

        report = run(plan, folder, progress=report_progress, count_progress=bar.update)
    overall = report["overall"]
    console.say(f"recipe {recipe}, protocol {name_test(report)}: {rules.description}")
    console.stderr.print(console.confusion_table(overall["confusion"], overall["per_class"]))
    low, high = overall["uar_interval"]
    interval = "" if low is None else f" (95 % over speakers: {low:.3f} to {high:.3f})"
    console.say(
        f"UAR {overall['uar']:.3f}{interval}, accuracy {overall['accuracy']:.3f}, macro F1 "
        f"{overall['macro_f1']:.3f}, calibration error {overall['expected_calibration_error']:.3f}"
    )
    if report["excluded"]:
        console.warn(f"{len(report['excluded'])} indexed utterances are not in the store and took no part")
    console.say(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
