"""Runs a protocol: trains and tests every fold, and writes the report."""

import csv
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from sercli.audio.degradation import get_codec
from sercli.errors import InputError, UsageError
from sercli.evaluation.degraded import score_degraded
from sercli.evaluation.fold import HISTORY_FILE, FoldResult, find_finished, run_fold
from sercli.evaluation.plan import FOLDS_FOLDER, EvaluationPlan, FoldTask
from sercli.evaluation.predictions import PREDICTIONS_FILE, read_predictions
from sercli.evaluation.report import REPORT_FILE, EvaluationReport, write_report
from sercli.files import write_table
from sercli.labels import LabelSelection
from sercli.locks import lock_folder
from sercli.parallel import map_as_done
from sercli.plots import save_curves
from sercli.progress import show_bar
from sercli.splits.protocols import get_protocol
from sercli.training.device import pick_device
from sercli.training.loop import EpochRecord
from sercli.training.recipe_files import get_recipe
from sercli.training.recipes import Recipe

OnFold = Callable[[int, int, FoldResult | None], None]
"""Called with the number of folds done, their total, and the fold just finished.

Also called before any training, with None.
"""

OnRecording = Callable[[int, int], None]
"""Called with the number of degraded recordings done and their total."""

_FOLD_NAME = re.compile(r"seed\d+-fold\d+|\.seed\d+-fold\d+\.(partial|old)")


def evaluate(
    index: Path = Path("data/index.csv"),
    store: Path = Path("data/features.h5"),
    recipe: Recipe | str | Path = "default",
    out: Path | None = None,
    *,
    protocol: str = "emobox",
    corpora: Sequence[str] | None = None,
    emotions: Sequence[str] = (),
    label_map: Mapping[str, str] | None = None,
    seed: int = 0,
    seeds: int = 1,
    degrade: str = "",
    jobs: int = 1,
    device: str = "auto",
    command: str = "",
    progress: bool = False,
    on_fold: OnFold = lambda *_: None,
    on_recording: OnRecording = lambda *_: None,
) -> EvaluationReport:
    """Trains and tests every fold of a protocol, and writes a results folder.

    Finished folds of the same training are reused, so that an interrupted evaluation resumes; folds of another training
    are replaced, and folds not covered by the new report removed.

    With `degrade`, the models are also tested on degraded recordings, in a subfolder of that name; missing folds are
    trained first.

    Example:
        ``evaluate("data/index.csv", "data/features.h5", protocol="emobox", jobs=2, progress=True).scores.overall.uar``

    Args:
        index: Index of utterances.
        store: Feature store of these utterances.
        recipe: Recipe, or its name, TOML file or model folder.
        out: Results folder; None for ``results/<protocol>-<recipe>``.
        protocol: Name of a protocol, see `sercli.splits.protocols.get_protocol`.
        corpora: Corpora to use; None for all in the index.
        emotions: Labels to keep, after merging; all if empty.
        label_map: Labels to merge into others, as in ``{"joy": "happy"}``.
        seed: First seed.
        seeds: Number of seeds, starting at `seed`; every fold is trained once with each.
        degrade: Degradation, one of `sercli.audio.degradation.DEGRADATIONS`; empty for none.
        jobs: Number of folds trained in parallel, one CPU thread each; results do not depend on it.
        device: Device for training: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        command: Command line, for the report.
        progress: Whether to show a progress bar, for notebooks.
        on_fold: Called before the first fold and after each.
        on_recording: Called after each group of degraded recordings.

    Raises:
        UsageError: If a name is unknown, or arguments contradict each other.
        CorpusError: If the index is missing or damaged, or lacks a corpus.
        StoreError: If the store is missing or damaged, lacks features of the recipe, or changes during the run.
        SplitError: If the corpora do not fit the protocol, or a fold would leak.
        InputError: If another evaluation is writing the folder.
        KeyboardInterrupt: On Ctrl-C; finished folds and checkpoints are kept.
    """
    recipe = get_recipe(recipe)
    out = Path("results") / name_results(protocol, recipe) if out is None else Path(out)
    _check_usage(protocol, recipe, out, degrade)
    plan = EvaluationPlan(
        index=Path(index),
        corpora=None if corpora is None else tuple(corpora),
        selection=LabelSelection(emotions=tuple(emotions), label_map=label_map or {}),
        store=Path(store),
        protocol=protocol,
        recipe=recipe,
        seeds=tuple(range(seed, seed + seeds)),
        device=str(pick_device(device)),
        out=out,
        command=command,
    )
    with show_bar(f"evaluate {protocol}", enabled=progress) as update:

        def notify(done: int, total: int, result: FoldResult | None) -> None:
            update(done, total)
            on_fold(done, total, result)

        return run_plan(plan, degrade=degrade, jobs=jobs, on_fold=notify, on_recording=on_recording)


def name_results(protocol: str, recipe: Recipe) -> str:
    """Returns the name of the default results folder."""
    members = recipe.network.members
    return f"{protocol}-{recipe.name}" + (f"-members{members}" if members > 1 else "")


def _check_usage(protocol: str, recipe: Recipe, out: Path, degrade: str) -> None:
    get_protocol(protocol)
    if degrade:
        get_codec(degrade)
    if recipe.baseline and (degrade or recipe.network.members > 1):
        msg = f"recipe {recipe.name} has no network: leave --degrade and --members out"
        raise UsageError(msg)
    if out.exists() and not out.is_dir():
        msg = f"{out} is a file, expected a folder for the results: give another --out"
        raise UsageError(msg)


def run_plan(
    plan: EvaluationPlan, *, degrade: str, jobs: int, on_fold: OnFold, on_recording: OnRecording
) -> EvaluationReport:
    """Runs an evaluation; see `evaluate`."""
    start = time.monotonic()
    with plan.open_corpus() as corpus:
        tasks = plan.make_tasks(corpus)
    with lock_folder(plan.out, "sercli evaluate"):
        results, trained = _run_folds(tasks, jobs, on_fold)

        def report(folder: Path, **more: Any) -> EvaluationReport:
            seconds = time.monotonic() - start
            return write_report(folder, plan, corpus.index, corpus.parameters, results, seconds=seconds, **more)

        if not degrade or trained or not (plan.out / REPORT_FILE).exists():
            rows = [row for task in tasks for row in read_predictions(task.folder / PREDICTIONS_FILE).rows]
            _write_history(plan.out, tasks)
            clean = report(plan.out, rows=rows, missing=corpus.missing)
            _remove_other_folds(plan.out / FOLDS_FOLDER, tasks)
            if not degrade:
                return clean
        rows, failures = score_degraded(corpus.index, tasks, degrade, jobs=jobs, on_done=on_recording)
        if not rows:
            msg = f"no degraded recording could be tested, the first: {failures[0].file}: {failures[0].reason}"
            raise InputError(msg)
        return report(plan.out / degrade, rows=rows, degradation=degrade, missing=corpus.missing, failures=failures)


def _run_folds(tasks: Sequence[FoldTask], jobs: int, on_fold: OnFold) -> tuple[list[FoldResult], int]:
    """Runs all tasks; returns their results in order, and how many were trained."""
    finished = {(task.seed, task.fold): find_finished(task) for task in tasks}
    missing = [task for task in tasks if finished[task.seed, task.fold] is None]
    done = len(tasks) - len(missing)
    on_fold(done, len(tasks), None)
    for number, result in enumerate(map_as_done(run_fold, missing, jobs=min(jobs, len(missing))), start=1):
        finished[result.seed, result.fold] = result
        on_fold(done + number, len(tasks), result)
    return [result for result in finished.values() if result], len(missing)


def _remove_other_folds(folder: Path, tasks: Sequence[FoldTask]) -> None:
    """Removes folds that the report does not cover, finished or not, but no other files."""
    names = {task.folder.name for task in tasks}
    for path in folder.iterdir():
        if path.name not in names and _FOLD_NAME.fullmatch(path.name) and path.is_dir():
            shutil.rmtree(path)


def _write_history(out: Path, tasks: Sequence[FoldTask]) -> None:
    """Writes the training history of all folds and their learning curves; baselines have neither."""
    columns = ("seed", "fold", "member", *(field.name for field in fields(EpochRecord)))
    rows = [row for task in tasks for row in _read_history(task)]
    write_table(out / HISTORY_FILE, rows, columns=columns)
    curves: dict[str, list[dict[str, float]]] = {}
    several = any(row["member"] > 1 for row in rows)
    for row in rows:
        member = f", member {row['member']:.0f}" if several else ""
        curves.setdefault(f"seed {row['seed']:.0f}, fold {row['fold']:.0f}{member}", []).append(row)
    if curves:
        save_curves(out / "curves.png", list(curves.values()), list(curves))
    else:
        (out / "curves.png").unlink(missing_ok=True)  # from an earlier evaluation


def _read_history(task: FoldTask) -> Iterator[dict[str, float]]:
    path = task.folder / HISTORY_FILE
    if not path.exists():
        return
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            whole = {name: int(row[name]) for name in ("member", "epoch")}
            yield {"seed": task.seed, "fold": task.fold, **{k: whole.get(k, float(v)) for k, v in row.items()}}
