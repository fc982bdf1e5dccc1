"""A protocol from end to end: every fold and seed trained, tested, written."""

import contextlib
import itertools
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from sercli.audio.channel import get_channel
from sercli.errors import InputError, ModelError, StoreError, UsageError
from sercli.evaluation.plan import EvaluationPlan, Unit
from sercli.evaluation.results import TestRow, name_test, summarise, write_history, write_predictions
from sercli.evaluation.units import NETWORKS_FOLDER, count_epochs, describe_condition, load_corpus, run_units
from sercli.features.extraction import extract_store
from sercli.features.store import FeatureStore
from sercli.files import acquire_lock, read_json_object, write_json
from sercli.metrics import ReliabilityBin
from sercli.models.folder import collect_versions
from sercli.plots import save_confusion, save_curves, save_reliability
from sercli.splits.protocols import get_protocol, make_folds
from sercli.training.data import CorpusFeatures
from sercli.training.device import pick_device
from sercli.training.session import identify_training

WORK_FOLDER = ".unfinished"  # what is done so far, so that an interrupted evaluation goes on

Progress = Callable[[int, int, str], None]
"""Called at the start and after each unit: units done, units in all, and what the last one scored."""


def evaluate(
    plan: EvaluationPlan,
    out: Path,
    *,
    progress: Progress | None = None,
    count_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Runs a protocol and writes its results folder; what an interrupted run has finished is kept.

    Args:
        plan: what to do.
        out: the results folder.
        progress: called at the start and after each unit.
        count_progress: called, from another thread too, with what is done and what there is to do: recordings that
            are passed through the plan's channel, then epochs, of which a training may need fewer.

    Returns:
        the content of ``report.json``.

    Raises:
        SplitError: if the corpus does not fit the protocol, or a fold would leak.
        StoreError: if the store lacks the utterances.
        UsageError: if it lacks the features, or the plan asks for what does not go together.
        InputError: if the plan's networks are missing, or of another training.
    """
    began = time.monotonic()
    _check_usage(plan, out)
    device = str(pick_device(plan.device))
    plan = replace(plan, index=get_protocol(plan.protocol).select(plan.index))
    corpus = load_corpus(plan.index, plan.store, plan.recipe.features)
    plan = replace(plan, index=corpus.index)  # what is not in the store takes no part
    _check_speakers(plan, corpus)
    units = [
        Unit(fold=fold, seed=seed) for seed in plan.seeds for fold in make_folds(corpus.index, plan.protocol, seed)
    ]
    members = _group_members(plan, units)
    if plan.networks:
        _check_networks(plan.networks, {member for group in members.values() for member in group})
    test_store = _pass_through_channel(plan, count_progress) if plan.channel else plan.store
    with _own(out / WORK_FOLDER) as work:
        identities = {
            unit.name: " ".join(identify_training(corpus, each.fold, plan.recipe, each.seed) for each in group)
            for unit, group in members.items()
        }
        networks = plan.networks / NETWORKS_FOLDER if plan.networks else None
        condition = describe_condition(test_store, networks, enrolled=plan.enrolled)
        finished = {unit.name: _finished(work, unit, identities[unit.name], condition) for unit in members}
        outcomes = {name: outcome for name, outcome in finished.items() if outcome}
        todo = {unit: group for unit, group in members.items() if unit.name not in outcomes}
        if progress:
            progress(len(outcomes), len(members), "")
        with _watch(plan, work, tuple(members), outcomes, count_progress):
            for outcome in run_units(plan, todo, test_store, work, device):
                if outcome["identity"] != identities[outcome["name"]]:
                    msg = f"{plan.store} or the index changed while the evaluation ran: run it again"
                    raise StoreError(msg)
                outcomes[outcome["name"]] = outcome
                if progress:
                    progress(len(outcomes), len(members), f"{outcome['name']} dev UAR {outcome['dev_uar']:.3f}")
        facts = {"seconds": round(time.monotonic() - began, 1), "device": "cpu" if plan.recipe.baseline else device}
        trains = not (plan.networks or plan.recipe.baseline)
        _keep_networks(work / NETWORKS_FOLDER, out / NETWORKS_FOLDER, [unit.name for unit in members if trains])
        report = _write(plan, corpus, members, outcomes, out, facts)
        shutil.rmtree(work)
    return report


def _keep_networks(trained: Path, kept: Path, names: Sequence[str]) -> None:
    """Puts the networks of these units, of which there may be none, in the place of those of an earlier evaluation."""
    if names:
        kept.mkdir(exist_ok=True)
    for name in names:
        if (trained / name).exists():  # else a run that was stopped right here has put it there
            shutil.rmtree(kept / name, ignore_errors=True)
            (trained / name).rename(kept / name)
    for folder in kept.glob("seed*-fold*"):
        if folder.name not in names and folder.is_dir():
            shutil.rmtree(folder)
    if not names and kept.is_dir() and not any(kept.iterdir()):
        kept.rmdir()


@contextlib.contextmanager
def _watch(
    plan: EvaluationPlan,
    work: Path,
    units: Sequence[Unit],
    outcomes: Mapping[str, object],
    progress: Callable[[int, int], None] | None,
) -> Iterator[None]:
    """Tells about once a second how far the trainings are; a finished one counts for all epochs it might have had."""
    trains = not (plan.recipe.baseline or plan.networks)
    most = plan.recipe.training.max_epochs * plan.recipe.network.members if trains else 1

    def tell() -> None:
        if progress:
            running = [unit for unit in units if unit.name not in outcomes] if trains else []
            progress(len(outcomes) * most + count_epochs(work, running, most), len(units) * most)

    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(1.0):
            tell()

    watcher = threading.Thread(target=watch, name="sercli-progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
        tell()


def _group_members(plan: EvaluationPlan, units: Sequence[Unit]) -> dict[Unit, tuple[Unit, ...]]:
    """The units to test, each with those whose networks test it."""
    if not plan.ensemble:
        return {unit: (unit,) for unit in units}
    groups = {
        unit: tuple(each for each in units if each.fold.number == unit.fold.number)
        for unit in units
        if unit.seed == plan.seeds[0]
    }
    for unit, group in groups.items():
        if any(each.fold.test != unit.fold.test for each in group):
            # Another seed's network may have been trained on what this fold tests.
            msg = f"protocol {plan.protocol} tests other utterances with each seed: no ensemble can be made"
            raise UsageError(msg)
    return groups


def _check_usage(plan: EvaluationPlan, out: Path) -> None:
    """Refuses what does not go together, whatever the data."""
    if plan.recipe.baseline and (plan.enrolled or plan.networks or plan.recipe.network.members > 1):
        msg = f"recipe {plan.recipe.name} has no network: leave --enroll, --networks and --members out"
        raise UsageError(msg)
    if plan.ensemble and (plan.networks is None or len(plan.seeds) < 2):
        msg = "an ensemble is made of the networks of two and more seeds: give --networks and --seeds"
        raise UsageError(msg)
    if plan.channel:
        get_channel(plan.channel)
    if out.exists() and not out.is_dir():
        msg = f"{out} is a file, expected a folder for the results: give another --out"
        raise UsageError(msg)


def _check_networks(results: Path, units: Collection[Unit]) -> None:
    """Refuses a results folder that lacks the network of a unit."""
    kept = results / NETWORKS_FOLDER
    if not kept.is_dir():
        msg = f"no networks in {results}: expected the folder {NETWORKS_FOLDER}, as 'sercli evaluate' keeps of networks"
        raise InputError(msg)
    lacking = sorted((unit.seed, unit.fold.number) for unit in units if not (kept / unit.name).is_dir())
    if lacking:
        seed, fold = lacking[0]
        msg = f"{kept} holds no network of seed {seed}, fold {fold}: it was evaluated with other seeds or folds"
        raise InputError(msg)


def _check_speakers(plan: EvaluationPlan, corpus: CorpusFeatures) -> None:
    nameless = next((each.file for each in corpus.index.utterances if not each.speaker), None)
    if plan.enrolled and nameless is not None:
        msg = f"enrolment needs the speaker of every utterance: the index has none for {nameless!r}"
        raise InputError(msg)


def _pass_through_channel(plan: EvaluationPlan, progress: Callable[[int, int], None] | None) -> Path:
    """The store of the same recordings after a channel, beside the plan's own; made if it is not there."""
    path = plan.store.with_name(f"{plan.store.stem}.{plan.channel}{plan.store.suffix}")
    with FeatureStore(plan.store) as store:
        parameters = replace(store.parameters, channel=plan.channel)
    extract = partial(extract_store, plan.index, path, parameters, jobs=plan.jobs, keep=True, progress=progress)
    try:
        summary = extract()
    except StoreError:  # what is there was made of the plan's own store when that had other parameters
        summary = extract(restart=True)
    if summary.failures:
        first = summary.failures[0]
        msg = f"{len(summary.failures)} recordings cannot be tested: {first.file}: {first.reason}"
        raise InputError(msg)
    return path


@contextlib.contextmanager
def _own(work: Path) -> Iterator[Path]:
    """The folder of what is unfinished, for one evaluation at a time."""
    work.mkdir(parents=True, exist_ok=True)
    busy = f"{work.parent} is being written by another sercli evaluate: wait for it, or give another --out"
    lock = acquire_lock(work / ".lock", InputError(busy))
    try:
        yield work
    finally:
        lock.release()


def _finished(work: Path, unit: Unit, identity: str, condition: list[object]) -> dict[str, Any] | None:
    path = work / f"{unit.name}.json"
    if not path.exists():
        return None
    try:
        outcome = read_json_object(path, ModelError)
    except ModelError:
        return None
    same = (outcome.get("identity"), outcome.get("condition")) == (identity, condition)
    return outcome if same and "trained" in outcome else None  # an older sercli wrote other outcomes


def _write(
    plan: EvaluationPlan,
    corpus: CorpusFeatures,
    units: Mapping[Unit, tuple[Unit, ...]],
    outcomes: Mapping[str, Mapping[str, Any]],
    out: Path,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    rows = list(itertools.chain.from_iterable(_rows(corpus, unit, outcomes[unit.name]) for unit in units))
    write_predictions(out / "predictions.csv", rows)
    histories = {(unit.seed, unit.fold.number): outcomes[unit.name]["history"] for unit in units}
    trained = [
        (member, told)
        for unit, members in units.items()
        for member, told in zip(members, outcomes[unit.name]["trained"], strict=True)
    ]
    write_history(out / "history.csv", histories)
    protocol = get_protocol(plan.protocol)
    report = {
        "protocol": plan.protocol,
        "protocol_description": protocol.description,
        "speaker_independent": protocol.speaker_independent,
        "channel": plan.channel,
        "enrolled": plan.enrolled,
        "ensemble": list(plan.seeds) if plan.ensemble else [],
        "recipe": plan.recipe.name,
        "parameters": {**plan.recipe.to_dict(), **corpus.parameters.to_dict()},
        "corpora": {name: sum(u.corpus == name for u in corpus.index.utterances) for name in corpus.index.corpora},
        "excluded": list(corpus.missing),
        "seeds": sorted({unit.seed for unit in units}),
        "folds": [_describe(corpus, member, told) for member, told in trained],
        **summarise(rows),
        "training_seconds": round(sum(told["seconds"] for _, told in trained), 1),
        "training_commands": sorted({told["command"] for _, told in trained}),
        **facts,
        "versions": collect_versions(),
        "command": plan.command,
    }
    title = f"{plan.recipe.name}, protocol {name_test(report)}: UAR {report['overall']['uar']:.3f}"
    save_confusion(out / "confusion.png", report["overall"]["confusion"], title=title)
    bins = [ReliabilityBin(**values) for values in report["overall"]["reliability"]]
    error = f"expected calibration error {report['overall']['expected_calibration_error']:.3f}"
    save_reliability(out / "reliability.png", bins, title=error)
    curves = _group_curves(histories)
    if not curves:
        (out / "curves.png").unlink(missing_ok=True)  # of an earlier evaluation
    else:
        save_curves(out / "curves.png", list(curves.values()), list(curves))
    write_json(out / "report.json", report)
    return report


def _group_curves(
    histories: Mapping[tuple[int, int], Sequence[Mapping[str, Any]]],
) -> dict[str, list[Mapping[str, Any]]]:
    """The epochs of each network, by what stands above its curves."""
    curves: dict[str, list[Mapping[str, Any]]] = {}
    for (seed, fold), records in histories.items():
        for record in records:
            member = f", member {record['member']}" if "member" in record else ""
            curves.setdefault(f"seed {seed}, fold {fold}{member}", []).append(record)
    return curves


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


def _describe(corpus: CorpusFeatures, unit: Unit, trained: Mapping[str, Any]) -> dict[str, Any]:
    sides = {"train": unit.fold.train, "dev": unit.fold.dev, "test": unit.fold.test}
    return {
        "seed": unit.seed,
        "fold": unit.fold.number,
        **{
            f"{name}_speakers": sorted({corpus.index.utterances[member].speaker for member in members})
            for name, members in sides.items()
        },
        **{f"{name}_utterances": len(members) for name, members in sides.items()},
        **{name: value for name, value in trained.items() if name != "command"},
    }
