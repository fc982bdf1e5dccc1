"""Search for better parameters of a recipe with Optuna, on development speakers only.

The test side of a fold is taken out before the feature store is opened. The other speakers are divided into inner
folds, and a trial is worth the mean UAR of the inner folds, so that a choice does not hang on two people.
"""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sercli.corpora.index import read_index
from sercli.cpus import count_cpus
from sercli.errors import InputError, ModelError, UsageError
from sercli.files import one_line, write_by_rename, write_json, write_table
from sercli.labels import LabelSelection
from sercli.locks import lock_folder
from sercli.parallel import limit_threads
from sercli.plots import save_tuning
from sercli.progress import show_bar
from sercli.splits.fold import Fold
from sercli.splits.inner import hold_out_test, make_inner_folds
from sercli.training.data import CorpusFeatures
from sercli.training.description import identify_training
from sercli.training.device import pick_device
from sercli.training.loop import find_best
from sercli.training.recipe_files import get_recipe, put_value, read_recipe_file, render_recipe
from sercli.training.recipes import Recipe
from sercli.training.search_space import Space, check_space, find_own_values, make_space, suggest
from sercli.training.session import MemberTraining
from sercli.version import collect_versions

if TYPE_CHECKING:
    import optuna

STORAGE_FILE = "study.log"
BEST_FILE = "best.toml"
TRIALS_FILE = "trials.csv"
TUNING_FILE = "tuning.json"
STARTUP = 5  # trials drawn at random before the others learn from them, and before any is pruned


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trial.

    Attributes:
        number: Number of the trial, from 0.
        state: ``complete``, ``pruned`` or ``fail``.
        uar: Mean UAR of the inner folds, 0 to 1; None unless complete.
        seconds: Duration (s).
        parameters: Values of the parameters that are searched.
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
        importance: Importance of each parameter, summing to 1; empty with fewer than 2 complete trials.
        test_speakers: Speakers that took no part.
    """

    folder: Path
    recipe: Recipe
    uar: float
    trials: tuple[Trial, ...]
    importance: Mapping[str, float]
    test_speakers: tuple[str, ...]


OnTrial = Callable[[int, int, Trial | None], None]
"""Called with the number of finished trials, the number of all, and the one that has just finished."""


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
    corpora: Sequence[str] | None = None,
    emotions: Sequence[str] = (),
    label_map: Mapping[str, str] | None = None,
    seed: int = 0,
    device: str = "auto",
    restart: bool = False,
    command: str = "",
    progress: bool = False,
    on_trial: OnTrial = lambda *_: None,
) -> TuningResult:
    """Searches for better parameters of a recipe; an interrupted search is resumed.

    Args:
        index: Index of utterances.
        store: Feature store of these utterances.
        recipe: Recipe, its name, a TOML file or a model folder; a table ``tune`` in the file is the search space.
        out: Output folder; None for ``tuning/<recipe>``.
        trials: Number of trials, those of earlier runs included.
        folds: Number of inner folds.
        protocol: Protocol whose test side takes no part.
        test_fold: Number of the fold of the protocol, from 1.
        space: Search space; None for that of the recipe's file, or `make_space`.
        changes: Parameters of the recipe to change first, as ``training.max_epochs=10``.
        corpora: Corpora that take part; None for all in the index.
        emotions: Labels that take part, after merging; all if empty.
        label_map: Labels that are merged into others.
        seed: Seed of folds, search and trainings.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        restart: Discard the trials of earlier runs.
        command: Command line, for the record.
        progress: Show a progress bar, for notebooks.
        on_trial: Called before the first trial and after each.

    Raises:
        UsageError: If the recipe is a baseline, or the search space has a parameter or value that cannot be.
        SplitError: If there are too few speakers.
        StoreError: If the store is damaged or lacks what the recipe reads.
        InputError: If the folder holds the trials of another search, or no trial was completed.
        KeyboardInterrupt: at Ctrl-C; finished trials stay.
    """
    if importlib.util.find_spec("optuna") is None:
        msg = "the search needs Optuna: install it with pip install 'sercli[tune]'"
        raise UsageError(msg)
    chosen = get_recipe(recipe, changes)
    if chosen.baseline:
        msg = f"recipe {chosen.name} is a baseline, which chooses its only parameter itself: tune one with a network"
        raise UsageError(msg)
    file = None if space or isinstance(recipe, Recipe) else read_recipe_file(recipe)
    space = space or (file.tune if file else None) or make_space(chosen)
    check_space(chosen, space, lambda name: f"{file.where}{file.find_line(name)}: " if file and file.tune else "")
    folder = Path("tuning") / chosen.name if out is None else Path(out)
    utterances = (
        read_index(Path(index))
        .select(corpora)
        .relabel(LabelSelection(emotions=tuple(emotions), label_map=label_map or {}))
    )
    inner, test_speakers = hold_out_test(utterances, protocol, test_fold, seed)
    with (
        CorpusFeatures(inner, Path(store), chosen.features, copies=chosen.training.copies) as corpus,
        lock_folder(folder, "sercli tune"),
        limit_threads(count_cpus()),
        show_bar(f"tune {chosen.name}", enabled=progress) as update,
    ):

        def notify(done: int, total: int, trial: Trial | None) -> None:
            update(done, total)
            on_trial(done, total, trial)

        search = _Search(
            corpus=corpus,
            folds=make_inner_folds(corpus.index, folds, seed),
            recipe=replace(chosen, teachers=None).join(1),
            space=space,
            seed=seed,
            device=pick_device(device),
        )
        study = search.open_study(folder / STORAGE_FILE, restart=restart)
        try:
            search.run(study, trials, notify)
        finally:
            complete = _list_complete(study)
            result = _write(folder, study, chosen, space, test_speakers, command) if complete else None
        if result is None:
            msg = f"none of the {len(study.trials)} trials in {folder} was completed: ask for more --trials"
            raise InputError(msg)
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    corpus: CorpusFeatures
    folds: tuple[Fold, ...]
    recipe: Recipe
    space: Space
    seed: int
    device: torch.device

    @property
    def _identity(self) -> str:
        """Equal for the same data, folds, recipe, search space and seed."""
        trainings = [identify_training(self.corpus, fold, self.recipe, self.seed) for fold in self.folds]
        return hashlib.sha256(json.dumps([trainings, self.space], sort_keys=True).encode()).hexdigest()[:16]

    def open_study(self, path: Path, *, restart: bool) -> "optuna.Study":
        import optuna  # takes a second
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)  # its warnings are tracebacks, as of Ctrl-C
        if restart:
            path.unlink(missing_ok=True)
        try:
            storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
            names = [summary.study_name for summary in optuna.get_all_study_summaries(storage)]
            if names and names != [self._identity]:
                msg = (
                    f"{path} holds the trials of another recipe, search space, seed or data: give another --out, or "
                    "--restart"
                )
                raise InputError(msg)
            study = optuna.create_study(
                storage=storage, study_name=self._identity, direction="maximize", load_if_exists=True
            )
        except InputError:
            raise
        except Exception as reason:  # noqa: BLE001 - whatever Optuna says of a damaged file
            msg = f"cannot resume from {path}: it is damaged ({one_line(reason)}); start over with --restart"
            raise InputError(msg) from None
        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)  # of a run that was killed
        # A resumed search must not draw again what the first run drew.
        study.sampler = optuna.samplers.TPESampler(
            seed=self.seed + len(study.trials), n_startup_trials=STARTUP, multivariate=False
        )
        study.pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP)
        tried = [trial.system_attrs.get("fixed_params") for trial in study.trials if trial.state.name != "FAIL"]
        own = find_own_values(self.recipe, self.space)
        if own and own not in tried:
            study.enqueue_trial(own)  # what there is must be beaten
        return study

    def run(self, study: "optuna.Study", trials: int, on_trial: OnTrial) -> None:
        done = len(_list_finished(study))
        on_trial(done, trials, None)
        while done < trials:
            study.optimize(self._run_trial, n_trials=1)
            finished = _list_finished(study)
            done = len(finished)
            on_trial(done, trials, finished[-1])

    def _run_trial(self, trial: "optuna.Trial") -> float:
        import optuna

        values = self.recipe.to_dict()
        for name, choices in self.space.items():
            values = put_value(values, name, suggest(trial, name, choices))
        recipe = Recipe.from_dict(values)
        scores: list[float] = []
        for fold in self.folds:
            training = MemberTraining(
                corpus=self.corpus,
                fold=fold,
                recipe=recipe,
                normalizer=self.corpus.fit_normalizer(fold.train),
                device=self.device,
                identity="",
                resume=False,
            )
            try:
                _, result = training.run(self.seed, None, lambda _: None, None)
            except ModelError:  # its loss became infinite
                raise optuna.TrialPruned from None
            if result.interrupted:
                raise KeyboardInterrupt
            scores.append(find_best(result.history, recipe.training.schedule).dev_uar)
            trial.report(float(np.mean(scores)), len(scores))
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(scores))


def _list_finished(study: "optuna.Study") -> list[Trial]:
    """Trials that were completed or pruned, by number."""
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


def _list_complete(study: "optuna.Study") -> list[Trial]:
    return [trial for trial in _list_finished(study) if trial.uar is not None]


def _write(
    folder: Path, study: "optuna.Study", recipe: Recipe, space: Space, test_speakers: tuple[str, ...], command: str
) -> TuningResult:
    import optuna

    trials = _list_finished(study)
    complete = _list_complete(study)
    best = max(complete, key=lambda trial: (trial.uar or 0.0, -trial.number))
    values = {**recipe.to_dict(), "name": f"{recipe.name}-tuned"}
    for name, value in best.parameters.items():
        values = put_value(values, name, json.loads(value) if isinstance(value, str) else value)
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
