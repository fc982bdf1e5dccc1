"""One fold with one seed: trained or taken from an earlier evaluation, and tested."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import softmax

from sercli.corpora.index import Index
from sercli.errors import CheckpointError, InputError, StoreError
from sercli.evaluation.plan import EvaluationPlan, Unit
from sercli.features.store import FeatureStore
from sercli.files import write_json
from sercli.metrics import Probabilities
from sercli.models.folder import Model, load_model, save_model
from sercli.parallel import map_as_done, single_thread
from sercli.training.data import CorpusFeatures
from sercli.training.loop import EpochRecord
from sercli.training.recipes import Recipe, parse_recipe
from sercli.training.session import (
    Trained,
    describe_training,
    identify_training,
    remove_checkpoints,
    score_utterances,
    train_fold,
)

LEAST_PROBABILITY = 1e-30  # that a logarithm is taken of
NETWORKS_FOLDER = "networks"  # of a results folder: a model folder for each fold and seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a worker is told of a unit.

    Attributes:
        unit: the fold and the seed.
        members: whose networks are tested together: the unit itself, or the same fold with other seeds too.
        index: the utterances.
        store: features that are trained on.
        test_store: features that are tested on; of another channel, or the same.
        enrolled: whether what is tested is normalised by speaker.
        recipe: how to train.
        work: folder of what is unfinished.
        networks: folder that trained networks are put into, or taken from.
        trains: whether the network is trained, or taken.
        device: to work on.
        command: that asked for it.
    """

    unit: Unit
    members: tuple[Unit, ...]
    index: Index
    store: Path
    test_store: Path
    enrolled: bool
    recipe: Mapping[str, Any]
    work: Path
    networks: Path
    trains: bool
    device: str
    command: str


def run_units(
    plan: EvaluationPlan, units: Mapping[Unit, tuple[Unit, ...]], test_store: Path, work: Path, device: str
) -> Iterator[dict[str, Any]]:
    """The outcomes of units, as they are done.

    On the CPU each has one thread, so that its outcome does not depend on how many run side by side; on a GPU
    they share it.

    Args:
        plan: what to do.
        units: which of it, and whose networks each is tested by.
        test_store: features that are tested on.
        work: folder of what is unfinished, into which the networks go.
        device: to work on.
    """
    tasks = [
        Task(
            unit=unit,
            members=members,
            index=plan.index,
            store=plan.store,
            test_store=test_store,
            enrolled=plan.enrolled,
            recipe=plan.recipe.to_dict(),
            work=work,
            networks=(plan.networks or work) / NETWORKS_FOLDER,
            trains=plan.networks is None,
            device=device,
            command=plan.command,
        )
        for unit, members in units.items()
    ]
    yield from map_as_done(run_unit, tasks, jobs=min(plan.jobs, len(tasks)))


def describe_condition(test_store: Path, networks: Path | None, *, enrolled: bool) -> list[object]:
    """What an outcome depends on beside its training, JSON-ready: `networks` is None where they are trained."""
    return [str(test_store), enrolled, str(networks or "")]


def count_epochs(work: Path, units: Sequence[Unit], most: int) -> int:
    """Epochs that units have been trained for so far, as their workers note it in the folder of what is unfinished.

    Args:
        work: that folder.
        units: of which nothing more is known yet.
        most: epochs of a unit; what another recipe has left may say more.
    """
    paths = [_epochs_path(work, unit) for unit in units]
    return sum(min(path.stat().st_size, most) for path in paths if path.exists())


def _epochs_path(work: Path, unit: Unit) -> Path:
    return work / f"{unit.name}.epochs"


def run_unit(task: Task) -> dict[str, Any]:
    """Trains, or takes, and tests; the outcome is kept in the folder of what is unfinished."""
    recipe, device = parse_recipe(task.recipe), torch.device(task.device)
    corpus = load_corpus(task.index, task.store, recipe.features)
    tested = load_corpus(task.index, task.test_store, recipe.features)
    if tested.index != corpus.index:
        msg = f"{task.test_store} lacks recordings that {task.store} has: evaluate again"
        raise StoreError(msg)
    identities = [identify_training(corpus, member.fold, recipe, member.seed) for member in task.members]
    outcome_path = task.work / f"{task.unit.name}.json"
    outcome_path.unlink(missing_ok=True)  # of another training, whose network may not stay
    with single_thread() if device.type == "cpu" else contextlib.nullcontext():
        test = _test_baseline if recipe.baseline else _test_network
        found = test(task, recipe, corpus, tested, device, identities)
    outcome = {
        "name": task.unit.name,
        "identity": " ".join(identities),
        "condition": describe_condition(
            task.test_store, None if task.trains else task.networks, enrolled=task.enrolled
        ),
        "seed": task.unit.seed,
        "fold": task.unit.fold.number,
        **found,
    }
    write_json(outcome_path, outcome)
    remove_checkpoints(_checkpoint_path(task))  # not before, so that a finished training is never done again
    return outcome


_loaded: dict[Path, tuple[object, CorpusFeatures]] = {}  # the last of each store; a worker serves many evaluations


def load_corpus(index: Index, store: Path, names: tuple[str, ...]) -> CorpusFeatures:
    """The features of an index's utterances; read once in each process, and again when the store has changed.

    Raises:
        StoreError: if the store is missing or damaged.
        UsageError: if it lacks the features.
    """
    key = (store.stat().st_mtime_ns if store.exists() else 0, names, index)
    if store not in _loaded or _loaded[store][0] != key:
        with FeatureStore(store) as opened:
            _loaded[store] = (key, CorpusFeatures(index, opened, names))
    return _loaded[store][1]


def _test_baseline(
    task: Task,
    recipe: Recipe,
    corpus: CorpusFeatures,
    tested: CorpusFeatures,
    device: torch.device,  # noqa: ARG001 - always the CPU
    identities: Sequence[str],  # noqa: ARG001 - no network is kept
) -> dict[str, Any]:
    # Here, since the networks do without these classifiers, which are slow to import.
    from threadpoolctl import threadpool_limits

    from sercli.training.baselines import score_baseline, train_baseline

    fold, seed = task.unit.fold, task.unit.seed
    with threadpool_limits(1):
        trained = train_baseline(corpus, fold, recipe.baseline, copies=recipe.training.copies, seed=seed)
        probabilities = score_baseline(tested, fold.test, trained)
    told = {"dev_uar": trained.dev_uar, "temperature": trained.temperature, "seconds": trained.seconds}
    return {
        "dev_uar": trained.dev_uar,
        "trained": [{"setting": trained.setting, **told, "command": task.command}],
        "history": [],
        "probabilities": probabilities.tolist(),
    }


def _test_network(
    task: Task,
    recipe: Recipe,
    corpus: CorpusFeatures,
    tested: CorpusFeatures,
    device: torch.device,
    identities: Sequence[str],
) -> dict[str, Any]:
    if task.trains:
        models = [_train(task, recipe, corpus, device, identities[0])]
    else:
        folders = [task.networks / member.name for member in task.members]
        models = [_take(folder, identity) for folder, identity in zip(folders, identities, strict=True)]
    test = task.unit.fold.test
    scored = [score_utterances(tested, test, model.to(device), device, enrolled=task.enrolled) for model in models]
    probabilities = average_probabilities(scored) if len(scored) > 1 else scored[0]
    trained = [
        {
            **{name: model.facts["training"][name] for name in ("best_epoch", "dev_uar", "seconds")},
            "temperature": model.temperature,
            "command": model.facts["command"],
        }
        for model in models
    ]
    return {
        "dev_uar": float(np.mean([told["dev_uar"] for told in trained])),
        "trained": trained,
        "history": models[0].facts["history"] if len(models) == 1 else [],
        "probabilities": probabilities.tolist(),
    }


def average_probabilities(members: Sequence[Probabilities]) -> Probabilities:
    """The geometric mean of several networks' probabilities, each in shape ``(n, 8)``, summing to 1 again."""
    mean: Probabilities = softmax(np.mean(np.log(np.maximum(members, LEAST_PROBABILITY)), axis=0), axis=1)
    return mean


def _take(folder: Path, identity: str) -> Model:
    model = load_model(folder)
    if model.facts.get("identity") != identity:
        msg = (
            f"{folder} was trained on other data, folds or another recipe: expected {identity}, found "
            f"{model.facts.get('identity')}; evaluate without --networks"
        )
        raise InputError(msg)
    return model


def _train(task: Task, recipe: Recipe, corpus: CorpusFeatures, device: torch.device, identity: str) -> Model:
    trained = _train_from(_checkpoint_path(task), task, recipe, corpus, device)
    if trained.result.interrupted:
        raise KeyboardInterrupt
    facts = {
        **describe_training(
            corpus, task.unit.fold, recipe, trained, seed=task.unit.seed, device=device, command=task.command
        ),
        "identity": identity,
        "history": trained.tabulate_epochs(),
    }
    model = trained.to_model(recipe, corpus.parameters, facts)
    save_model(task.networks / task.unit.name, model)
    return model


def _checkpoint_path(task: Task) -> Path:
    return task.work / f"{task.unit.name}.safetensors"


def _train_from(checkpoint: Path, task: Task, recipe: Recipe, corpus: CorpusFeatures, device: torch.device) -> Trained:
    def note(member: int, record: EpochRecord) -> None:
        # A byte an epoch: whoever shows the progress need only ask for the size.
        done = member * recipe.training.max_epochs + record.epoch
        _epochs_path(task.work, task.unit).write_bytes(b"." * done)

    train = partial(
        train_fold,
        corpus,
        task.unit.fold,
        recipe,
        seed=task.unit.seed,
        device=device,
        checkpoint=checkpoint,
        on_epoch=note,
    )
    try:
        return train(resume=True)
    except CheckpointError:  # of other data or another recipe, and so of no use here
        remove_checkpoints(checkpoint)
        return train()
