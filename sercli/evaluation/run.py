"""Evaluation of a recipe: trains and tests every fold of a protocol, and writes the report."""

import csv
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Unpack

import numpy as np

from sercli.audio.degradation import DEGRADATIONS
from sercli.config import check_names, look_up
from sercli.errors import InputError, UsageError
from sercli.evaluation.degraded import score_degraded
from sercli.evaluation.folds import FOLDS_FOLDER, EvaluationPlan, FoldResult, FoldTask, read_fold, read_identity
from sercli.evaluation.predictions import PREDICTIONS_FILE, PredictionRow, make_rows, read_predictions
from sercli.evaluation.report import CONFUSION_FILE, RELIABILITY_FILE, REPORT_FILE, EvaluationReport, write_report
from sercli.evaluation.run_fold import find_finished, get_method, run_fold
from sercli.files import read_json_object, remove_folder, require_folder, write_table
from sercli.labels import shorten_list
from sercli.locks import lock_folder
from sercli.models.folder import CURVES_FILE, HISTORY_FILE
from sercli.parallel import limit_trainings, map_as_done, pick_device
from sercli.plots import save_curves
from sercli.progress import follow_progress
from sercli.splits.protocols import get_protocol, make_folds, name_protocol
from sercli.training.data import CorpusFeatures, TrainingPlan
from sercli.training.description import identify_training
from sercli.training.loop import EpochRecord
from sercli.training.options import TrainingOptions, TrainingSettings
from sercli.training.recipe_files import get_recipe
from sercli.training.recipes import Recipe

_SHOWN = 3  # folds named in a message
_FOLD_NAME = re.compile(r"seed\d+-fold\d+|\.seed\d+-fold\d+\.(partial|old)")


def evaluate(
    index: Path | str = "data/index.csv",
    store: Path | str = "data/features.h5",
    recipe: Recipe | str | Path = "default",
    out: Path | str | None = None,
    *,
    protocol: str = "emobox",
    train: Sequence[str] | None = None,
    test: Sequence[str] | None = None,
    seeds: int = 1,
    degrade: str = "",
    jobs: int = 1,
    restart: bool = False,
    **options: Unpack[TrainingOptions],
) -> EvaluationReport:
    """Trains and tests every fold of a protocol, and writes a results folder.

    Resumes an interrupted evaluation: finished folds of the same training are reused.

    With `degrade`, the models are also tested on degraded recordings, and a report is written to a subfolder of that
    name; missing folds are trained first.

    Example:
        ``evaluate("data/index.csv", "data/features.h5", protocol="emobox", jobs=2, progress=True).scores.overall.uar``

    Args:
        index: Index of utterances.
        store: Feature store of these utterances.
        recipe: Recipe, or its name, TOML file or model folder.
        out: Results folder; None for ``results/<protocol>-<recipe>``.
        protocol: Name of a protocol, see `sercli.splits.protocols.name_protocol`.
        train: Corpora to train on, for protocol ``cross``.
        test: Corpora to test on, for protocol ``cross``.
        seeds: Number of seeds, starting at ``seed``; every fold is trained once with each.
        degrade: Degradation, one of `sercli.audio.degradation.DEGRADATIONS`; empty for none.
        jobs: Number of folds trained in parallel, on the CPU with one thread each, on a GPU as many as fit in its
            memory; results do not depend on it.
        restart: Whether to discard all folds and degraded results of earlier runs.
        **options: Further options: `sercli.training.options.TrainingOptions`.

    Raises:
        UsageError: If a name is unknown, or arguments contradict each other.
        CorpusError: If the index is missing or damaged, or lacks a corpus.
        StoreError: If the store is missing or damaged, lacks features of the recipe, or changes during the run.
        SplitError: If the corpora do not fit the protocol, or a fold would leak.
        InputError: If another evaluation is writing the folder, or it has folds of another one.
        ModelError: If a training run diverges, or the model of a fold is damaged.
        OSError: If the results cannot be written.
        KeyboardInterrupt: On Ctrl-C; finished folds and checkpoints are kept.
    """
    start = time.monotonic()
    check_names("evaluate", options, TrainingOptions)
    settings = TrainingSettings(**options)
    recipe = get_recipe(recipe)
    protocol = name_protocol(protocol, train, test)
    out = Path("results") / name_results(protocol, recipe) if out is None else Path(out)
    _check_usage(recipe, out, degrade, seeds)
    device = str(pick_device(settings.device))
    utterances = get_protocol(protocol).select(settings.read_utterances(index))
    with CorpusFeatures(utterances, Path(store), recipe.features, copies=recipe.training.copies) as corpus:
        plan = EvaluationPlan(
            index=corpus.index,
            missing=corpus.missing,
            selection=settings.selection,
            store=Path(store),
            parameters=corpus.parameters,
            protocol=protocol,
            recipe=recipe,
            seeds=tuple(range(settings.seed, settings.seed + seeds)),
            device=device if get_method(recipe).uses_gpu else "cpu",
            out=out,
            command=settings.command,
        )
        tasks = [
            FoldTask(plan=plan, seed=seed, fold=fold, identity=identify_training(corpus, fold, recipe, seed))
            for seed in plan.seeds
            for fold in make_folds(plan.index, protocol, seed)
        ]
    with lock_folder(out), follow_progress(f"evaluate {protocol}", settings.progress) as update:
        if restart:
            _remove_results(out)
        finished = [result for task in tasks if (result := find_finished(task))]
        is_complete = len(finished) == len(tasks) and _list_reported(out / REPORT_FILE) >= {
            task.identity for task in tasks
        }
        _refuse_to_replace(out, tasks, may_have_more=bool(degrade) and is_complete)
        folds = _run_folds(tasks, finished, jobs, update)
        if not (degrade and is_complete):
            report = _report_folds(plan, tasks, folds, start)
            if not degrade:
                return report
        rows, failures = score_degraded(plan.index, tasks, degrade, jobs=jobs, progress=update)
        seconds = time.monotonic() - start
        return write_report(out / degrade, plan, folds, rows, seconds=seconds, degradation=degrade, failures=failures)


def name_results(protocol: str, recipe: Recipe) -> str:
    """Returns the name of the default results folder."""
    members = recipe.network.members
    return f"{protocol}-{recipe.name}" + (f"-members{members}" if members > 1 else "")


def _check_usage(recipe: Recipe, out: Path, degrade: str, seeds: int) -> None:
    if seeds < 1:
        msg = f"expected at least 1 seed, found {seeds}"
        raise UsageError(msg)
    if degrade:
        look_up("degradation", degrade, DEGRADATIONS)
    if degrade or recipe.network.members > 1:
        recipe.require_network("has no network: leave out --degrade and --members")
    require_folder(out, "the results")


def _run_folds(
    tasks: Sequence[FoldTask],
    finished: Sequence[FoldResult],
    jobs: int,
    progress: Callable[[int, int, FoldResult | TrainingPlan], None],
) -> list[FoldResult]:
    """Runs the tasks that are not finished; returns all results in the order of the tasks."""
    results = {(result.seed, result.fold): result for result in finished}
    missing = [task for task in tasks if (task.seed, task.fold.number) not in results]
    progress(len(finished), len(tasks), TrainingPlan(missing=tasks[0].plan.missing))
    jobs = limit_trainings(min(jobs, len(missing)), tasks[0].plan.device)
    for result in map_as_done(run_fold, missing, jobs=jobs):
        results[result.seed, result.fold] = result
        progress(len(results), len(tasks), result)
    return [results[task.seed, task.fold.number] for task in tasks]


def _report_folds(
    plan: EvaluationPlan, tasks: Sequence[FoldTask], folds: Sequence[FoldResult], start: float
) -> EvaluationReport:
    """Writes history and report of all folds, and removes what was left of other evaluations."""
    rows = [row for task in tasks for row in _read_rows(task)]
    _write_history(plan.out, tasks)
    report = write_report(plan.out, plan, folds, rows, seconds=time.monotonic() - start)
    names = {task.folder.name for task in tasks}
    for path in _list_folds(plan.out):
        if path.name not in names:
            remove_folder(path)
    for path in (plan.out / name for name in DEGRADATIONS):
        if not _list_reported(path / REPORT_FILE) <= {fold.identity for fold in folds}:
            remove_folder(path)
    return report


def _list_folds(out: Path) -> list[Path]:
    """Lists the folders of folds, finished or not."""
    folder = out / FOLDS_FOLDER
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in paths if _FOLD_NAME.fullmatch(path.name) and path.is_dir()]


def _remove_results(out: Path) -> None:
    """Removes folds, degraded results and what the folder says about them."""
    for path in (*_list_folds(out), *(out / name for name in DEGRADATIONS if (out / name / REPORT_FILE).exists())):
        remove_folder(path)
    for name in (REPORT_FILE, PREDICTIONS_FILE, HISTORY_FILE, CURVES_FILE, CONFUSION_FILE, RELIABILITY_FILE):
        (out / name).unlink(missing_ok=True)


def _refuse_to_replace(out: Path, tasks: Sequence[FoldTask], *, may_have_more: bool) -> None:
    """Refuses a folder with folds of other training runs, or of further seeds unless it `may_have_more`.

    Raises:
        InputError: If there is one.
    """
    expected = {path.name: task.identity for task in tasks for path in (task.folder, task.work_folder)}
    others = [
        path.name
        for path in _list_folds(out)
        if path.name in expected or not (may_have_more or path.suffix == ".old")
        if read_identity(path) not in {"", expected.get(path.name)}
    ]
    if others:
        msg = (
            f"{out} has folds that this evaluation does not have ({shorten_list(others, _SHOWN)}): protocol, seeds, "
            "recipe, labels, recordings or features differ; give another --out, or --restart to discard them"
        )
        raise InputError(msg)


def _read_rows(task: FoldTask) -> list[PredictionRow]:
    """Reads the predictions of a finished fold; files, corpora, speakers and genders are those of the index now."""
    rows = read_predictions(task.folder / PREDICTIONS_FILE).rows
    if (read_fold(task.folder).identity, len(rows)) != (task.identity, len(task.fold.test)):
        msg = f"{task.folder} changed while the evaluation ran: run it again"
        raise InputError(msg)
    probabilities = np.array([row.probabilities for row in rows])
    return make_rows(task.plan.index, task.fold.test, probabilities, seed=task.seed, fold=task.fold.number)


def _list_reported(path: Path) -> set[str]:
    """Lists the identities of the folds of a report; none if it is missing or damaged."""
    try:
        folds = read_json_object(path).get("folds")
    except InputError:
        return set()
    return {str(fold.get("identity")) for fold in folds if isinstance(fold, dict)} if isinstance(folds, list) else set()


def _write_history(out: Path, tasks: Sequence[FoldTask]) -> None:
    """Writes the training history of all folds and their learning curves, if they have any."""
    columns = ("seed", "fold", "network", *(field.name for field in fields(EpochRecord)))
    rows = [
        {"seed": str(task.seed), "fold": str(task.fold.number), **row} for task in tasks for row in _read_history(task)
    ]
    write_table(out / HISTORY_FILE, rows, columns=columns)
    curves: dict[str, list[dict[str, float]]] = {}
    has_several = any(row["network"] != "1" for row in rows)
    for row in rows:
        network = f", network {row['network']}" if has_several else ""
        curve = curves.setdefault(f"seed {row['seed']}, fold {row['fold']}{network}", [])
        curve.append({name: float(value) for name, value in row.items()})
    if curves:
        save_curves(out / CURVES_FILE, list(curves.values()), list(curves))
    else:
        (out / CURVES_FILE).unlink(missing_ok=True)  # from an earlier evaluation


def _read_history(task: FoldTask) -> list[dict[str, str]]:
    if not (task.folder / HISTORY_FILE).exists():  # of a baseline
        return []
    with (task.folder / HISTORY_FILE).open(encoding="utf-8", newline="") as stream:
        # Earlier versions called the column "member".
        return [
            {"network" if name == "member" else name: value for name, value in row.items()}
            for row in csv.DictReader(stream)
        ]
