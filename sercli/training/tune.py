"""Searches for better parameters of a recipe with Optuna, without the test speakers.

The test utterances of a fold are removed before the feature store is opened. The other speakers are divided into inner
folds, and a trial's score is the mean UAR of the inner folds, so that no choice rests on just two speakers.
"""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch

from sercli.config import check_names
from sercli.cpus import count_cpus
from sercli.errors import InputError, ModelError, UsageError
from sercli.files import one_line, require_folder, write_by_rename, write_json, write_table
from sercli.locks import lock_folder
from sercli.parallel import limit_threads, pick_device
from sercli.plots import save_tuning
from sercli.progress import follow_progress
from sercli.splits.fold import Fold
from sercli.splits.split_column import leave_out_test
from sercli.splits.tuning_folds import hold_out_test, make_inner_folds
from sercli.training.data import CorpusFeatures, TrainingPlan
from sercli.training.description import identify_training
from sercli.training.loop import find_best
from sercli.training.options import TrainingOptions, TrainingSettings
from sercli.training.recipe_files import get_recipe, read_recipe_file, render_recipe, set_parameter
from sercli.training.recipes import Recipe
from sercli.training.search_space import Space, check_space, find_current_values, make_space, suggest
from sercli.training.trainer import NetworkTrainer
from sercli.version import collect_versions

if TYPE_CHECKING:
    import optuna

STORAGE_FILE = "study.log"
BEST_FILE = "best.toml"
TRIALS_FILE = "trials.csv"
TUNING_FILE = "tuning.json"
STARTUP = 5  # random trials before the sampler learns from them and the pruner compares with them


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trial.

    Attributes:
        number: Number of the trial, from 0.
        state: ``complete`` or ``pruned``.
        uar: Mean UAR of the inner folds, 0 to 1; None unless complete.
        seconds: Duration (s).
        parameters: Values of the searched parameters.
    """

    number: int
    state: str
    uar: float | None
    seconds: float
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningResult:
    """Result of `tune`.

    Attributes:
        folder: Output folder.
        recipe: Recipe with the best parameters.
        uar: Mean UAR of its inner folds, 0 to 1.
        trials: All finished trials.
        importance: Importance of each parameter, summing to 1; empty unless complete trials differ in UAR.
        test_speakers: Speakers that the search did not use.
    """

    folder: Path
    recipe: Recipe
    uar: float
    trials: tuple[Trial, ...]
    importance: Mapping[str, float]
    test_speakers: tuple[str, ...]


def tune(
    index: Path | str = "data/index.csv",
    store: Path | str = "data/features.h5",
    recipe: Recipe | str | Path = "default",
    out: Path | str | None = None,
    *,
    trials: int = 30,
    folds: int = 3,
    protocol: str = "pooled",
    test_fold: int = 1,
    space: Space | None = None,
    changes: Sequence[str] = (),
    restart: bool = False,
    **options: Unpack[TrainingOptions],
) -> TuningResult:
    """Searches for better parameters of a recipe; resumes an interrupted search.

    Args:
        index: Index of utterances.
        store: Feature store of these utterances.
        recipe: Recipe, its name, TOML file or model folder; a table ``tune`` in the file is the search space.
        out: Output folder; None for ``tuning/<recipe>``.
        trials: Number of trials, including those of earlier runs.
        folds: Number of inner folds.
        protocol: Protocol that defines the test fold to set aside.
        test_fold: Number of the test fold, from 1.
        space: Search space; None for that of the recipe's file, or `make_space`.
        changes: Parameters of the recipe to change first, such as ``training.max_epochs=10``.
        restart: Whether to discard the trials of earlier runs.
        **options: Further options: `sercli.training.options.TrainingOptions`.

    Raises:
        UsageError: If the recipe is a baseline, the search space has an unknown parameter or an invalid value, there
            is no such protocol or fold, or Optuna is missing.
        CorpusError: If the index is missing or damaged, or lacks a corpus.
        SplitError: If there are too few speakers.
        StoreError: If the store is damaged or lacks features of the recipe.
        InputError: If the folder has the trials of another search, or no trial completed.
        OSError: If the folder cannot be written.
        KeyboardInterrupt: On Ctrl-C; finished trials are kept.
    """
    if importlib.util.find_spec("optuna") is None:
        msg = "the search needs Optuna: install it with pip install 'sercli[tune]'"
        raise UsageError(msg)
    check_names("tune", options, TrainingOptions)
    settings = TrainingSettings(**options)
    base = get_recipe(recipe, changes)
    base.require_tunable()
    file = None if space or isinstance(recipe, Recipe) else read_recipe_file(recipe)
    space = space or (file.tune if file else None) or make_space(base)
    check_space(base, space, lambda name: f"{file.where}{file.find_line(name)}: " if file and file.tune else "")
    folder = Path("tuning") / base.name if out is None else Path(out)
    require_folder(folder, "the search")
    all_utterances = settings.read_utterances(index)
    utterances = leave_out_test(all_utterances)
    inner, test_speakers = hold_out_test(utterances, protocol, test_fold, settings.seed)
    with (
        CorpusFeatures(inner, Path(store), base.features, copies=base.training.copies) as corpus,
        lock_folder(folder),
        limit_threads(count_cpus()),
        follow_progress(f"tune {base.name}", settings.progress) as update,
    ):
        search = _Search(
            corpus=corpus,
            folds=make_inner_folds(corpus.index, folds, settings.seed),
            recipe=replace(base, teachers=None).with_members(1),
            space=space,
            seed=settings.seed,
            device=pick_device(settings.device),
        )
        plan = TrainingPlan(missing=corpus.missing, left_out=len(all_utterances) - len(utterances))
        study = search.open_study(folder / STORAGE_FILE, restart=restart)
        try:
            search.run(study, trials, update, plan)
        finally:
            has_result = any(trial.uar is not None for trial in _list_finished(study))
            result = _write(folder, study, base, space, test_speakers, settings.command) if has_result else None
        if result is None:
            msg = f"no trial in {folder} completed ({len(study.trials)} were pruned or failed): raise --trials"
            raise InputError(msg)
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """Search space, and what trials are trained on."""

    corpus: CorpusFeatures
    folds: tuple[Fold, ...]
    recipe: Recipe
    space: Space
    seed: int
    device: torch.device

    @property
    def _identity(self) -> str:
        """Cache key of data, folds, recipe, search space and seed."""
        trainings = [identify_training(self.corpus, fold, self.recipe, self.seed) for fold in self.folds]
        return hashlib.sha256(json.dumps([trainings, self.space], sort_keys=True).encode()).hexdigest()[:16]

    def open_study(self, path: Path, *, restart: bool) -> "optuna.Study":
        import optuna  # takes a second
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)  # its warnings are tracebacks, also on Ctrl-C
        if restart:
            path.unlink(missing_ok=True)
        _remove_torn_line(path)
        try:
            storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
            names = [summary.study_name for summary in optuna.get_all_study_summaries(storage)]
            if names and names != [self._identity]:
                msg = (
                    f"{path} has the trials of another recipe, search space, seed or data: give another --out, or "
                    "--restart"
                )
                raise InputError(msg)
            study = optuna.create_study(
                storage=storage, study_name=self._identity, direction="maximize", load_if_exists=True
            )
        except (InputError, OSError):
            raise
        except Exception as reason:  # noqa: BLE001 - Optuna raises many kinds for a damaged file
            msg = f"cannot resume from {path}: it is damaged ({one_line(reason)}); start over with --restart"
            raise InputError(msg) from None
        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)  # from a killed run
        # Another seed, so that a resumed search draws new trials.
        study.sampler = optuna.samplers.TPESampler(
            seed=self.seed + len(study.trials), n_startup_trials=STARTUP, multivariate=False
        )
        study.pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP)
        tried = [trial.system_attrs.get("fixed_params") for trial in study.trials if trial.state.name != "FAIL"]
        values = find_current_values(self.recipe, self.space)
        if values and values not in tried:
            study.enqueue_trial(values)  # start from the recipe's own values
        return study

    def run(
        self,
        study: "optuna.Study",
        trials: int,
        progress: Callable[[int, int, Trial | TrainingPlan], None],
        plan: TrainingPlan,
    ) -> None:
        done = len(_list_finished(study))
        progress(done, trials, plan)
        while done < trials:
            study.optimize(self._run_trial, n_trials=1)
            finished = _list_finished(study)
            done = len(finished)
            progress(done, trials, finished[-1])

    def _run_trial(self, trial: "optuna.Trial") -> float:
        import optuna

        values = self.recipe.to_dict()
        for name, choices in self.space.items():
            values = set_parameter(values, name, suggest(trial, name, choices))
        recipe = Recipe.from_dict(values)
        scores: list[float] = []
        for fold in self.folds:
            normalizer = self.corpus.fit_normalizer(fold.train)
            trainer = NetworkTrainer(
                corpus=self.corpus,
                fold=fold,
                recipe=recipe,
                normalizer=normalizer,
                seed=self.seed,
                device=self.device,
            )
            try:
                _, result = trainer.train_one(0)
            except ModelError:  # the loss is not finite
                raise optuna.TrialPruned from None
            if result.interrupted:
                raise KeyboardInterrupt
            scores.append(find_best(result.history, recipe.training.schedule).dev_uar)
            trial.report(float(np.mean(scores)), len(scores))
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(scores))


def _remove_torn_line(path: Path) -> None:
    """Removes what was written of a last line before its process was killed or the disk was full."""
    if path.exists():
        with path.open("r+b") as stream:
            whole = stream.read().rfind(b"\n") + 1
            if whole:
                stream.truncate(whole)


def _list_finished(study: "optuna.Study") -> list[Trial]:
    """Lists complete and pruned trials, by number."""
    return [
        Trial(
            number=trial.number,
            state=trial.state.name.lower(),
            uar=trial.value if trial.state.name == "COMPLETE" else None,
            seconds=round(trial.duration.total_seconds(), 3) if trial.duration else 0.0,
            parameters=dict(trial.params),
        )
        for trial in study.get_trials(deepcopy=False)
        if trial.state.name in {"COMPLETE", "PRUNED"}
    ]


def _write(
    folder: Path, study: "optuna.Study", recipe: Recipe, space: Space, test_speakers: tuple[str, ...], command: str
) -> TuningResult:
    import optuna

    trials = _list_finished(study)
    complete = [trial for trial in trials if trial.uar is not None]
    best = max(complete, key=lambda trial: (trial.uar or 0.0, -trial.number))
    values = {**recipe.to_dict(), "name": f"{recipe.name}-tuned"}
    for name, value in best.parameters.items():
        values = set_parameter(values, name, json.loads(value) if isinstance(value, str) else value)
    tuned = Recipe.from_dict(values)
    importance: dict[str, float] = {}
    if len(complete) > 1 and len({trial.uar for trial in complete}) > 1:
        importance = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
        )
    with write_by_rename(folder / BEST_FILE) as stream:
        stream.write(render_recipe(tuned, space))
    rows = [{**asdict(trial), **trial.parameters} for trial in trials]
    write_table(folder / TRIALS_FILE, [{k: v for k, v in row.items() if k != "parameters"} for row in rows])
    save_tuning(folder / "tuning.png", [trial.uar for trial in trials], importance)
    result = TuningResult(
        folder=folder,
        recipe=tuned,
        uar=best.uar or 0.0,
        trials=tuple(trials),
        importance=importance,
        test_speakers=test_speakers,
    )
    write_json(
        folder / TUNING_FILE,
        {
            "recipe": tuned.to_dict(),
            "space": dict(space),
            "uar": result.uar,
            "trials": len(trials),
            "best_trial": best.number,
            "importance": importance,
            "test_speakers": list(test_speakers),
            "versions": collect_versions(),
            "command": command,
        },
    )
    return result
