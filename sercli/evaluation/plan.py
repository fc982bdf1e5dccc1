"""What an evaluation is to do, and the tasks that it divides into."""

from dataclasses import dataclass
from pathlib import Path

from sercli.corpora.index import read_index
from sercli.labels import NO_SELECTION, LabelSelection
from sercli.splits.fold import Fold
from sercli.splits.protocols import get_protocol, make_folds
from sercli.training.data import CorpusFeatures
from sercli.training.identity import identify_training
from sercli.training.recipes import Recipe

FOLDS_FOLDER = "folds"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """Everything that decides the outcome of an evaluation.

    Attributes:
        index: Index of utterances.
        corpora: Corpora that take part; None for all in the index.
        selection: Labels that take part, and how they are merged.
        store: Feature store of these utterances.
        protocol: Name that `sercli.splits.protocols.get_protocol` knows.
        recipe: How to train.
        seeds: Seeds; all folds are trained once with each.
        device: ``cpu``, ``cuda`` or ``mps``.
        out: Results folder.
        command: Command line, for the record.
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
        """Opens the features of the utterances that take part and are in the store.

        Raises:
            CorpusError: if the index is missing or damaged, or lacks a corpus.
            StoreError: if the store is missing or damaged, has none of the utterances, or lacks features or copies.
            SplitError: if the corpora do not fit the protocol.
        """
        index = read_index(self.index).select(self.corpora).relabel(self.selection)
        index = get_protocol(self.protocol).select(index)
        return CorpusFeatures(index, self.store, self.recipe.features, copies=self.recipe.training.copies)

    def make_tasks(self, corpus: CorpusFeatures) -> "list[FoldTask]":
        """One task per seed and fold.

        Raises:
            SplitError: if the corpora do not fit the protocol, or a fold would leak.
        """
        return [
            FoldTask(plan=self, seed=seed, fold=fold.number, identity=self.identify(corpus, fold, seed))
            for seed in self.seeds
            for fold in make_folds(corpus.index, self.protocol, seed)
        ]

    def identify(self, corpus: CorpusFeatures, fold: Fold, seed: int) -> str:
        """Identity of the training and the test of a fold, see `identify_training`."""
        return identify_training(corpus, fold, self.recipe, seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldTask:
    """Training and test of one fold with one seed; small, since it is sent to worker processes.

    Attributes:
        plan: The evaluation.
        seed: Seed of the division, weights, order and dropout.
        fold: Number of the fold, from 1.
        identity: Identity that the worker must find, so that index and store are those of the evaluation's start.
    """

    plan: EvaluationPlan
    seed: int
    fold: int
    identity: str

    @property
    def folder(self) -> Path:
        """Where the finished fold goes."""
        return self.plan.out / FOLDS_FOLDER / f"seed{self.seed}-fold{self.fold}"

    @property
    def partial(self) -> Path:
        """Where the fold is made, before it is renamed."""
        return self.folder.with_name(f".{self.folder.name}.partial")
