"""Plan of an evaluation, and its tasks."""

from dataclasses import dataclass
from pathlib import Path

from sercli.corpora.index import read_index
from sercli.labels import NO_SELECTION, LabelSelection
from sercli.splits.fold import Fold
from sercli.splits.protocols import get_protocol, make_folds
from sercli.training.data import CorpusFeatures
from sercli.training.description import identify_training
from sercli.training.recipes import Recipe

FOLDS_FOLDER = "folds"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """All parameters that determine the outcome of an evaluation.

    Attributes:
        index: Index of utterances (CSV).
        corpora: Corpora to use; None for all in the index.
        selection: Labels to keep and to merge.
        store: Feature store (HDF5).
        protocol: Name of a protocol, see `sercli.splits.protocols.get_protocol`.
        recipe: Recipe to train.
        seeds: Seeds; every fold is trained once with each.
        device: Device to train on: ``cpu``, ``cuda`` or ``mps``.
        out: Results folder.
        command: Command line, for the report.
    """

    index: Path
    corpora: tuple[str, ...] | None
    selection: LabelSelection = NO_SELECTION
    store: Path
    protocol: str
    recipe: Recipe
    seeds: tuple[int, ...]
    device: str
    out: Path
    command: str

    def open_corpus(self) -> CorpusFeatures:
        """Opens the features of the selected utterances that are in the store.

        Raises:
            CorpusError: If the index is missing or damaged, or lacks a corpus.
            StoreError: If the store is missing or damaged, or lacks all utterances, a feature or a copy.
            SplitError: If the corpora do not fit the protocol.
        """
        index = read_index(self.index).select(self.corpora).relabel(self.selection)
        index = get_protocol(self.protocol).select(index)
        return CorpusFeatures(index, self.store, self.recipe.features, copies=self.recipe.training.copies)

    def make_tasks(self, corpus: CorpusFeatures) -> "list[FoldTask]":
        """Makes one task per seed and fold.

        Raises:
            SplitError: If the corpora do not fit the protocol, or a fold would leak.
        """
        return [
            FoldTask(plan=self, seed=seed, fold=fold.number, identity=self.identify(corpus, fold, seed))
            for seed in self.seeds
            for fold in make_folds(corpus.index, self.protocol, seed)
        ]

    def identify(self, corpus: CorpusFeatures, fold: Fold, seed: int) -> str:
        """Returns the identity of a fold's training and test; see `identify_training`."""
        return identify_training(corpus, fold, self.recipe, seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldTask:
    """One fold to train and test with one seed; small, because it is sent to workers.

    Attributes:
        plan: The evaluation.
        seed: Seed of the split, weights, order and dropout.
        fold: Number of the fold, from 1.
        identity: Expected identity, to detect changes of index or store since the start of the evaluation.
    """

    plan: EvaluationPlan
    seed: int
    fold: int
    identity: str

    @property
    def folder(self) -> Path:
        """Folder of the finished fold."""
        return self.plan.out / FOLDS_FOLDER / f"seed{self.seed}-fold{self.fold}"

    @property
    def partial(self) -> Path:
        """Folder in which the fold is built."""
        return self.folder.with_name(f".{self.folder.name}.partial")
