"""Options that `train`, `evaluate` and `tune` share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from sercli.config import check_seed
from sercli.corpora.index import Index, read_index
from sercli.labels import LabelSelection, clean_label_map, read_label, require_list


class TrainingOptions(TypedDict, total=False):
    """Data and run: keyword arguments of `train`, `evaluate` and `tune`.

    Attributes:
        corpora: Corpora to use; None, the default, for all in the index.
        emotions: Labels to keep, after merging; all if empty, the default.
        label_map: Labels to merge into others, as in ``{"joy": "happy"}``.
        seed: Seed of splits, search, weights, order and dropout, 0 to `MAX_SEED`; 0 by default. `evaluate` counts on
            from it.
        device: Device for training: ``auto``, the default, ``cpu``, ``cuda`` or ``mps``.
        command: Command line, for the description of the result.
        progress: True for a progress bar, or a function called with the steps done, their total and what the step has
            finished: an epoch (`sercli.training.loop.EpochRecord`), a fold (`sercli.evaluation.folds.FoldResult`) or a
            trial (`sercli.training.tune.Trial`). The first call has what will not be used
            (`sercli.training.data.TrainingPlan`); `evaluate` calls it with None for degraded recordings.
    """

    corpora: Sequence[str] | None
    emotions: Sequence[str]
    label_map: Mapping[str, str] | None
    seed: int
    device: str
    command: str
    progress: bool | Callable[[int, int, Any], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """Values of `TrainingOptions`, with their defaults."""

    corpora: Sequence[str] | None = None
    emotions: Sequence[str] = ()
    label_map: Mapping[str, str] | None = None
    seed: int = 0
    device: str = "auto"
    command: str = ""
    progress: bool | Callable[[int, int, Any], None] = False

    def __post_init__(self) -> None:
        """Checks seed and lists.

        Raises:
            UsageError: If the seed is outside its range, or a list is text.
        """
        check_seed(self.seed)
        require_list("emotions", self.emotions)

    @property
    def selection(self) -> LabelSelection:
        """Labels to keep and to merge."""
        return LabelSelection(emotions=tuple(map(read_label, self.emotions)), label_map=clean_label_map(self.label_map))

    def read_utterances(self, index: Path | str) -> Index:
        """Reads an index, and selects utterances by corpus and label.

        Raises:
            CorpusError: If the index is missing or damaged, or lacks a corpus.
            UsageError: If a label is in no utterance or means the same as another.
        """
        return read_index(Path(index)).select(self.corpora).relabel(self.selection)
