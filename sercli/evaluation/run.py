"""A protocol from end to end: every fold and seed trained, tested, written."""

import contextlib
import itertools
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import filelock
import joblib
import torch

from sercli.corpora.index import Index
from sercli.errors import InputError, ModelError, StoreError
from sercli.evaluation.results import TestRow, summarise, write_history, write_predictions
from sercli.features.store import FeatureStore
from sercli.files import read_json_object, write_json
from sercli.models.folder import collect_versions
from sercli.parallel import single_thread
from sercli.plots import save_confusion, save_curves
from sercli.splits import PROTOCOLS, Fold, make_folds
from sercli.training.data import CorpusFeatures
from sercli.training.device import pick_device
from sercli.training.recipes import Recipe, parse_recipe
from sercli.training.session import identify_training, score_members, train_fold

WORK_FOLDER = ".unfinished"  # what is done so far, so that an interrupted evaluation goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One fold with one seed: what is trained and tested on its own."""

    fold: Fold
    seed: int

    @property
    def name(self) -> str:
        """Of its file while the evaluation runs."""
        return f"seed{self.seed}-fold{self.fold.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """Everything that decides the outcome of an evaluation.

    Attributes:
        index: the utterances, of the wanted corpora only.
        store: their features.
        protocol: a name of `sercli.splits.PROTOCOLS`.
        recipe: how to train.
        seeds: one run of all folds each.
        device: name of `sercli.training.device.DEVICES`.
        jobs: folds side by side, on the CPU one thread each.
        command: that asked for it, for the report.
    """

    index: Index
    store: Path
    protocol: str
    recipe: Recipe
    seeds: tuple[int, ...]
    device: str = "auto"
    jobs: int = 1
    command: str = ""


Progress = Callable[[int, int, str], None]
"""Called at the start and after each unit: units done, units in all, and what the last one scored."""


def evaluate(plan: EvaluationPlan, out: Path, *, progress: Progress | None = None) -> dict[str, Any]:
    """Runs a protocol and writes its results folder; what an interrupted run has finished is kept.

    Args:
        plan: what to do.
        out: the results folder.
        progress: called at the start and after each unit.

    Returns:
        the content of ``report.json``.

    Raises:
        SplitError: if the corpus does not fit the protocol, or a fold would leak.
        StoreError: if the store lacks the utterances or the features.
    """
    began = time.monotonic()
    device = pick_device(plan.device)
    corpus = _load(plan.index, plan.store, plan.recipe)
    units = [
        Unit(fold=fold, seed=seed) for seed in plan.seeds for fold in make_folds(corpus.index, plan.protocol, seed)
    ]
    with _own(out / WORK_FOLDER) as work:
        report = _evaluate(plan, corpus, units, out, work, device, began, progress)
        shutil.rmtree(work)
    return report


@contextlib.contextmanager
def _own(work: Path) -> Iterator[Path]:
    """The folder of what is unfinished, for one evaluation at a time."""
    work.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(work / ".lock")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        msg = f"{work.parent} is being written by another sercli evaluate: wait for it, or give another --out"
        raise InputError(msg) from None
    try:
        yield work
    finally:
        lock.release()


def _evaluate(
    plan: EvaluationPlan,
    corpus: CorpusFeatures,
    units: Sequence[Unit],
    out: Path,
    work: Path,
    device: torch.device,
    began: float,
    progress: Progress | None,
) -> dict[str, Any]:
    identities = {unit.name: identify_training(corpus, unit.fold, plan.recipe, unit.seed) for unit in units}
    outcomes = {unit.name: found for unit in units if (found := _finished(work, unit, identities[unit.name]))}
    todo = [unit for unit in units if unit.name not in outcomes]
    if progress:
        progress(len(outcomes), len(units), "")
    for outcome in _run(plan, todo, corpus, work, device):
        if outcome["identity"] != identities[outcome["name"]]:
            msg = f"{plan.store} or the index changed while the evaluation ran: run it again"
            raise StoreError(msg)
        outcomes[outcome["name"]] = outcome
        if progress:
            progress(len(outcomes), len(units), f"{outcome['name']} dev UAR {outcome['dev_uar']:.3f}")
    ordered = [(unit, outcomes[unit.name]) for unit in units]
    return _write(plan, corpus, ordered, out, device, time.monotonic() - began)


def _load(index: Index, store: Path, recipe: Recipe) -> CorpusFeatures:
    with FeatureStore(store) as opened:
        return CorpusFeatures(index, opened, recipe.features)


def _finished(work: Path, unit: Unit, identity: str) -> dict[str, Any] | None:
    path = work / f"{unit.name}.json"
    if not path.exists():
        return None
    try:
        outcome = read_json_object(path, ModelError)
    except ModelError:
        return None
    return outcome if outcome.get("identity") == identity else None


def _run(
    plan: EvaluationPlan, units: Sequence[Unit], corpus: CorpusFeatures, work: Path, device: torch.device
) -> Iterator[dict[str, Any]]:
    workers = min(plan.jobs, joblib.cpu_count(), len(units)) if device.type == "cpu" else 1
    if workers <= 1:
        for unit in units:
            yield _run_unit(corpus, unit, plan.recipe, work, device)
        return
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        pool = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
        yield from pool(
            joblib.delayed(_run_in_worker)(plan.index, plan.store, plan.recipe.to_dict(), unit, work) for unit in units
        )


def _run_in_worker(
    index: Index, store: Path, recipe_values: Mapping[str, Any], unit: Unit, work: Path
) -> dict[str, Any]:
    recipe = parse_recipe(recipe_values)
    corpus = _load_once(index, store, recipe)
    return _run_unit(corpus, unit, recipe, work, torch.device("cpu"))


_loaded: list[tuple[object, CorpusFeatures]] = []  # the last one; a worker serves one evaluation after the other


def _load_once(index: Index, store: Path, recipe: Recipe) -> CorpusFeatures:
    key = (store, store.stat().st_mtime_ns, recipe.features, index)
    if not _loaded or _loaded[0][0] != key:
        _loaded.clear()
        _loaded.append((key, _load(index, store, recipe)))
    return _loaded[0][1]


def _run_unit(corpus: CorpusFeatures, unit: Unit, recipe: Recipe, work: Path, device: torch.device) -> dict[str, Any]:
    identity = identify_training(corpus, unit.fold, recipe, unit.seed)
    # One thread on the CPU, so that a fold's outcome does not depend on how many run side by side.
    with single_thread() if device.type == "cpu" else contextlib.nullcontext():
        test = _test_baseline if recipe.baseline else _test_network
        found = test(corpus, unit, recipe, work, device)
    outcome = {
        "name": unit.name,
        "identity": identity,
        "seed": unit.seed,
        "fold": unit.fold.number,
        **found,
    }
    write_json(work / f"{unit.name}.json", outcome)
    return outcome


def _test_baseline(
    corpus: CorpusFeatures,
    unit: Unit,
    recipe: Recipe,
    work: Path,  # noqa: ARG001 - nothing to keep on the way
    device: torch.device,  # noqa: ARG001 - always the CPU
) -> dict[str, Any]:
    # Here, since the networks do without these classifiers, which are slow to import.
    from threadpoolctl import threadpool_limits

    from sercli.training.baselines import score_baseline, train_baseline

    with threadpool_limits(1):
        trained = train_baseline(corpus, unit.fold, recipe.baseline, copies=recipe.training.copies, seed=unit.seed)
        probabilities = score_baseline(corpus, unit.fold.test, trained)
    return {
        "setting": trained.setting,
        "best_epoch": None,
        "dev_uar": trained.dev_uar,
        "temperature": trained.temperature,
        "seconds": trained.seconds,
        "history": [],
        "probabilities": probabilities.tolist(),
    }


def _test_network(
    corpus: CorpusFeatures, unit: Unit, recipe: Recipe, work: Path, device: torch.device
) -> dict[str, Any]:
    checkpoint = work / f"{unit.name}.safetensors"
    trained = _train(corpus, unit, recipe, device, checkpoint)
    if trained.result.interrupted:
        raise KeyboardInterrupt
    _, probabilities = score_members(corpus, unit.fold.test, trained, device)
    checkpoint.unlink(missing_ok=True)
    best = trained.result.history[trained.result.best_epoch - 1]
    return {
        "best_epoch": trained.result.best_epoch,
        "dev_uar": best.dev_uar,
        "temperature": trained.temperature,
        "seconds": sum(record.seconds for record in trained.result.history),
        "history": [asdict(record) for record in trained.result.history],
        "probabilities": probabilities.tolist(),
    }


def _train(corpus: CorpusFeatures, unit: Unit, recipe: Recipe, device: torch.device, checkpoint: Path) -> Any:
    try:
        return train_fold(corpus, unit.fold, recipe, seed=unit.seed, device=device, checkpoint=checkpoint, resume=True)
    except ModelError:
        # A checkpoint of other data or another recipe is of no use here.
        if not checkpoint.exists():
            raise
        checkpoint.unlink()
        return train_fold(corpus, unit.fold, recipe, seed=unit.seed, device=device, checkpoint=checkpoint)


def _write(
    plan: EvaluationPlan,
    corpus: CorpusFeatures,
    outcomes: Sequence[tuple[Unit, Mapping[str, Any]]],
    out: Path,
    device: torch.device,
    seconds: float,
) -> dict[str, Any]:
    rows = list(itertools.chain.from_iterable(_rows(corpus, unit, outcome) for unit, outcome in outcomes))
    write_predictions(out / "predictions.csv", rows)
    histories = {(unit.seed, unit.fold.number): outcome["history"] for unit, outcome in outcomes}
    write_history(out / "history.csv", histories)
    protocol = PROTOCOLS[plan.protocol]
    report = {
        "protocol": plan.protocol,
        "protocol_description": protocol.description,
        "speaker_independent": protocol.speaker_independent,
        "recipe": plan.recipe.name,
        "parameters": {**plan.recipe.to_dict(), **corpus.parameters.to_dict()},
        "corpora": {name: sum(u.corpus == name for u in corpus.index.utterances) for name in corpus.index.corpora},
        "excluded": list(corpus.missing),
        "seeds": list(plan.seeds),
        "folds": [_describe(corpus, unit, outcome) for unit, outcome in outcomes],
        **summarise(rows),
        "seconds": round(seconds, 1),
        "training_seconds": round(sum(outcome["seconds"] for _, outcome in outcomes), 1),
        "device": str(device),
        "versions": collect_versions(),
        "command": plan.command,
    }
    title = f"{plan.recipe.name}, protocol {plan.protocol}: UAR {report['overall']['uar']:.3f}"
    save_confusion(out / "confusion.png", report["overall"]["confusion"], title=title)
    titles = [f"seed {seed}, fold {fold}" for seed, fold in histories]
    if any(histories.values()):
        save_curves(out / "curves.png", list(histories.values()), titles)
    write_json(out / "report.json", report)
    return report


def _rows(corpus: CorpusFeatures, unit: Unit, outcome: Mapping[str, Any]) -> Iterator[TestRow]:
    for member, probabilities in zip(unit.fold.test, outcome["probabilities"], strict=True):
        utterance = corpus.index.utterances[member]
        yield TestRow(
            file=utterance.file,
            corpus=utterance.corpus,
            speaker=utterance.speaker,
            gender=utterance.gender,
            seed=unit.seed,
            fold=unit.fold.number,
            truth=utterance.emotion,
            probabilities=tuple(probabilities),
        )


def _describe(corpus: CorpusFeatures, unit: Unit, outcome: Mapping[str, Any]) -> dict[str, Any]:
    sides = {"train": unit.fold.train, "dev": unit.fold.dev, "test": unit.fold.test}
    return {
        "seed": unit.seed,
        "fold": unit.fold.number,
        **{
            f"{name}_speakers": sorted({corpus.index.utterances[member].speaker for member in members})
            for name, members in sides.items()
        },
        **{f"{name}_utterances": len(members) for name, members in sides.items()},
        **{
            name: outcome[name]
            for name in ("best_epoch", "setting", "dev_uar", "temperature", "seconds")
            if name in outcome
        },
    }
