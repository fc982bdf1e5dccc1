"""Folds to train and test, and ``fold.json``, which describes a finished one."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from sercli.config import Config
from sercli.corpora.index import Index
from sercli.errors import InputError, UsageError
from sercli.features.parameters import StoreParameters
from sercli.files import read_json_object
from sercli.labels import LabelSelection
from sercli.splits.fold import Fold
from sercli.training.recipes import Recipe

FOLD_FILE = "fold.json"
IDENTITY_FILE = "identity.txt"  # in the folder of an unfinished fold: identity of its training
FOLDS_FOLDER = "folds"
SCHEMA_VERSION = 1  # schema version of fold.json


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """Parameters of an evaluation.

    Attributes:
        index: Utterances to train on and to test, all of them in the store.
        missing: Files of the index that are not in the store.
        selection: Labels that were kept and merged.
        store: Feature store (HDF5).
        parameters: Parameters of the features in the store.
        protocol: Name of a protocol, see `sercli.splits.protocols.get_protocol`.
        recipe: Recipe to train.
        seeds: Seeds; every fold is trained once with each.
        device: Device to train on: ``cpu``, ``cuda`` or ``mps``.
        out: Results folder.
        command: Command line, for the report.
    """

    index: Index
    missing: tuple[str, ...]
    selection: LabelSelection
    store: Path
    parameters: StoreParameters
    protocol: str
    recipe: Recipe
    seeds: tuple[int, ...]
    device: str
    out: Path
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldTask:
    """One fold to train and test with one seed.

    Attributes:
        plan: Parameters of the evaluation.
        seed: Seed of the split, weights, order and dropout.
        fold: Fold to train and test.
        identity: Identity of the training, see `sercli.training.description.identify_training`.
    """

    plan: EvaluationPlan
    seed: int
    fold: Fold
    identity: str

    @property
    def folder(self) -> Path:
        """Folder of the finished fold."""
        return self.plan.out / FOLDS_FOLDER / f"seed{self.seed}-fold{self.fold.number}"

    @property
    def work_folder(self) -> Path:
        """Folder in which the fold is built."""
        return self.folder.with_name(f".{self.folder.name}.partial")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldResult(Config):
    """Content of ``fold.json``: how a fold was trained.

    Attributes:
        schema_version: Schema version, `SCHEMA_VERSION`.
        identity: Identity of the training, see `FoldTask`.
        seed: Seed of the split, weights, order and dropout.
        fold: Number of the fold, from 1.
        dev_uar: Unweighted average recall of the development utterances, 0 to 1.
        dev_accuracy: Accuracy of the development utterances, 0 to 1.
        temperature: Calibration temperature.
        epochs: Number of epochs of each network; empty for a baseline.
        best_epoch: Epoch of each network's weights; empty for a baseline.
        setting: Setting of a baseline, chosen by `dev_uar`; None for a network.
        seconds: Duration of the training (s).
        device: Device of the training.
        command: Command line of the training.
        train_speakers: Speakers of the training utterances.
        dev_speakers: Speakers of the development utterances.
        test_speakers: Speakers of the test utterances.
        train_utterances: Number of training utterances.
        dev_utterances: Number of development utterances.
        test_utterances: Number of test utterances.
    """

    schema_version: int
    identity: str
    seed: int
    fold: int
    dev_uar: float
    dev_accuracy: float
    temperature: float
    epochs: tuple[int, ...]
    best_epoch: tuple[int, ...]
    setting: float | None
    seconds: float
    device: str
    command: str
    train_speakers: tuple[str, ...]
    dev_speakers: tuple[str, ...]
    test_speakers: tuple[str, ...]
    train_utterances: int
    dev_utterances: int
    test_utterances: int


def read_identity(folder: Path) -> str:
    """Returns the identity of a fold's finished or interrupted training run; empty if the folder has neither."""
    try:
        return read_fold(folder).identity
    except InputError:
        with contextlib.suppress(OSError, ValueError):
            if has_checkpoint(folder):
                return (folder / IDENTITY_FILE).read_text(encoding="utf-8").strip()
    return ""


def has_checkpoint(folder: Path) -> bool:
    """Whether an interrupted training run of this folder can be resumed."""
    return any(folder.glob("*.safetensors"))


def read_fold(folder: Path) -> FoldResult:
    """Reads ``fold.json`` from a fold's folder.

    Raises:
        InputError: If it is missing or damaged.
    """
    path = folder / FOLD_FILE
    try:
        result = FoldResult.from_dict(read_json_object(path))
    except (UsageError, TypeError) as reason:
        msg = f"{path} is damaged ({reason}): remove {folder} and run 'sercli evaluate' again"
        raise InputError(msg) from None
    if result.schema_version != SCHEMA_VERSION:
        msg = f"{path} has schema version {result.schema_version}, expected {SCHEMA_VERSION}: evaluate again"
        raise InputError(msg)
    return result
