"""Trains a final model, and writes its model folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from sercli.config import check_names
from sercli.cpus import count_cpus
from sercli.errors import InputError, ModelError, UsageError
from sercli.files import read_json_object, require_folder, write_table
from sercli.labels import choose_negative
from sercli.locks import lock_folder
from sercli.models.card import OTHER_CORPORA, SAME_CORPORA, is_published
from sercli.models.folder import CURVES_FILE, HISTORY_FILE, JSON_FILE
from sercli.models.model import save_model
from sercli.models.self_test import score_test_signal
from sercli.parallel import limit_threads, pick_device
from sercli.plots import save_curves
from sercli.progress import follow_progress
from sercli.splits.development import make_training_split
from sercli.splits.split_column import leave_out_test
from sercli.training.calibration import CORPUS_SHIFT
from sercli.training.checkpoint import CHECKPOINT_FILE
from sercli.training.data import CorpusFeatures, TrainingPlan
from sercli.training.description import describe_data
from sercli.training.options import TrainingOptions, TrainingSettings
from sercli.training.recipe_files import get_recipe
from sercli.training.recipes import Recipe
from sercli.training.trainer import TrainedModel, remove_checkpoints, train_fold
from sercli.training.typicality import fit_typicality


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """Result of `train`.

    Attributes:
        folder: Model folder.
        trained: Trained model and its training history; if it was interrupted, continue with ``resume``.
        saved: Whether the model was saved; an interrupted training does not replace a finished model.
        plan: What the training did not use.
    """

    folder: Path
    trained: TrainedModel
    saved: bool
    plan: TrainingPlan


def train(
    index: Path | str = "data/index.csv",
    store: Path | str = "data/features.h5",
    recipe: Recipe | str | Path = "default",
    out: Path | str | None = None,
    *,
    negative: Sequence[str] | None = None,
    resume: bool = False,
    restart: bool = False,
    figures: Mapping[str, Any] | None = None,
    **options: Unpack[TrainingOptions],
) -> TrainingResult:
    """Trains on the utterances of an index except those of development speakers, and writes a model folder.

    If the index has a column ``split``, utterances marked ``test`` are left out, and those marked ``dev`` are held out
    rather than drawn speakers.

    A checkpoint is saved in the folder after each epoch, so that an interrupted training can be resumed. Ctrl-C ends a
    training early: the finished networks, or the best epoch of the only one, become the model.

    Example:
        ``train("data/index.csv", "data/features.h5", out="models/mine", progress=True)``

    A model trained only on published corpora is calibrated for recordings of other corpora, which it is used on: its
    temperature is `CORPUS_SHIFT` times the one that suits the development speakers. A model trained on own recordings
    too is calibrated for recordings like these.

    Args:
        index: Index of utterances.
        store: Feature store of these utterances.
        recipe: Recipe, its name, TOML file or model folder.
        out: Model folder; None for ``models/<recipe>``.
        negative: Labels that count as negative in summaries; None for the default ones.
        resume: Whether to resume the interrupted training in the folder.
        restart: Whether to discard the interrupted training in the folder.
        figures: Test scores of the recipe by protocol, for the model card.
        **options: Further options: `sercli.training.options.TrainingOptions`. Progress counts the epochs of all
            networks, teachers first, as if each took its maximum number. It begins with the `TrainingPlan`.

    Raises:
        UsageError: If the recipe is a baseline or unknown, the device is unknown, both `resume` and `restart` are
            given, `out` is a file, or a label is in no utterance or means the same as another.
        ModelError: If there is nothing to resume, an interrupted training would be lost, the checkpoint belongs to
            another training, or the training diverges.
        CorpusError: If the index is missing or damaged, or lacks a corpus.
        StoreError: If the store is missing or damaged, or lacks features of the recipe.
        SplitError: If there are too few speakers or utterances, or an utterance is marked with an unknown split.
        InputError: If another command is writing the folder.
        OSError: If the folder cannot be written.
        KeyboardInterrupt: On Ctrl-C in the first epoch.
    """
    check_names("train", options, TrainingOptions)
    settings = TrainingSettings(**options)
    recipe = get_recipe(recipe)
    out = Path("models") / recipe.name if out is None else Path(out)
    _check_usage(recipe, out, resume=resume, restart=restart)
    device = pick_device(settings.device)
    all_utterances = settings.read_utterances(index)
    utterances = leave_out_test(all_utterances)
    with CorpusFeatures(utterances, Path(store), recipe.features, copies=recipe.training.copies) as corpus:
        negative = choose_negative(corpus.labels, negative)
        fold = make_training_split(corpus.index, settings.seed)
        held_out = {name: described["dev_speakers"] for name, described in describe_data(corpus, fold).items()}
        plan = TrainingPlan(
            missing=corpus.missing,
            left_out=len(all_utterances) - len(utterances),
            known_speakers=tuple(name for name, speakers in held_out.items() if not speakers),
        )
        with (
            lock_folder(out),
            limit_threads(count_cpus()),
            follow_progress(f"train {recipe.name}", settings.progress) as update,
        ):
            if restart:
                remove_checkpoints(out / CHECKPOINT_FILE)
            update(0, sum(recipe.epochs), plan)
            trained = train_fold(
                corpus,
                fold,
                recipe,
                seed=settings.seed,
                device=device,
                checkpoint=out / CHECKPOINT_FILE,
                resume=resume,
                command=settings.command,
                on_epoch=lambda network, record: update(
                    sum(recipe.epochs[:network]) + record.epoch, sum(recipe.epochs), record
                ),
            )
            trained = _calibrate_for_use(trained)
            saved = not (trained.interrupted and has_finished_model(out))
            if saved:
                facts = {
                    **trained.model.facts,
                    "label_selection": settings.selection.to_dict(),
                    "figures": dict(figures or {}),
                    "not_in_store": list(plan.missing),
                    "left_out_for_test": plan.left_out,
                    "self_test": [round(probability, 6) for probability in score_test_signal(trained.model).tolist()],
                }
                model = fit_typicality(replace(trained.model, facts=facts, negative=negative), corpus, fold)
                trained = replace(trained, model=model)
                _write(out, trained, title=f"recipe {recipe.name}, seed {settings.seed}")
            if not trained.interrupted:
                remove_checkpoints(out / CHECKPOINT_FILE)
    return TrainingResult(folder=out, trained=trained, saved=saved, plan=plan)


def _calibrate_for_use(trained: TrainedModel) -> TrainedModel:
    model = trained.model
    shifted = is_published(model.facts["training_data"])
    facts = {**model.facts, "calibrated_for": OTHER_CORPORA if shifted else SAME_CORPORA}
    temperature = model.temperature * CORPUS_SHIFT if shifted else model.temperature
    return replace(trained, model=replace(model, facts=facts, temperature=temperature))


def _check_usage(recipe: Recipe, out: Path, *, resume: bool, restart: bool) -> None:
    recipe.require_trainable()
    if resume and restart:
        msg = "--resume continues and --restart starts over: give one of them"
        raise UsageError(msg)
    require_folder(out, "the model")
    unfinished = (out / CHECKPOINT_FILE).exists()
    if resume and not unfinished:
        msg = f"nothing to resume in {out}: {CHECKPOINT_FILE} is missing; train without --resume"
        raise ModelError(msg)
    if unfinished and not (resume or restart):
        msg = f"{out} has an interrupted run: continue it with --resume, or start over with --restart"
        raise ModelError(msg)


def _write(out: Path, trained: TrainedModel, title: str) -> None:
    save_model(out, trained.model, trained.weights)
    rows = trained.epoch_rows()
    write_table(out / HISTORY_FILE, rows)
    networks = sorted({row["network"] for row in rows})
    histories = [[row for row in rows if row["network"] == network] for network in networks]
    titles = [title] if len(networks) == 1 else [f"network {network}" for network in networks]
    save_curves(out / CURVES_FILE, histories, titles)


def has_finished_model(folder: Path) -> bool:
    """Whether a folder has a model whose training was not interrupted."""
    try:
        return not read_json_object(folder / JSON_FILE)["training"]["interrupted"]
    except (InputError, KeyError, TypeError):
        return False
