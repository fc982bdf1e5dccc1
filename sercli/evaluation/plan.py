"""What an evaluation is to do, and what of it can be done on its own."""

from dataclasses import dataclass
from pathlib import Path

from sercli.corpora.index import Index
from sercli.splits.fold import Fold
from sercli.training.recipes import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """Everything that decides the outcome of an evaluation.

    Attributes:
        index: the utterances, of the wanted corpora only.
        store: their features.
        protocol: a name that `sercli.splits.protocols.get_protocol` knows.
        recipe: how to train.
        seeds: one run of all folds each.
        channel: that test recordings are passed through, a name of `sercli.audio.channel.CHANNELS`, or empty.
        enrolled: whether test utterances are normalised by speaker, from all that each says in the test.
        networks: results folder of an earlier evaluation, whose networks are tested instead of new ones.
        ensemble: whether a fold is tested by the networks of all seeds together, as one row of the first seed.
        device: name of `sercli.training.device.DEVICES`.
        jobs: folds side by side, on the CPU one thread each.
        command: that asked for it, for the report.
    """

    index: Index
    store: Path
    protocol: str
    recipe: Recipe
    seeds: tuple[int, ...]
    channel: str = ""
    enrolled: bool = False
    networks: Path | None = None
    ensemble: bool = False
    device: str = "auto"
    jobs: int = 1
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One fold with one seed: what is trained and tested on its own."""

    fold: Fold
    seed: int

    @property
    def name(self) -> str:
        """Of its file while the evaluation runs, and of its network's folder."""
        return f"seed{self.seed}-fold{self.fold.number}"
