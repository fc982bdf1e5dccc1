"""Fold of a protocol, and the check that it is usable and does not leak."""

from collections.abc import Callable
from dataclasses import dataclass

from sercli.corpora.index import Index
from sercli.errors import SplitError
from sercli.labels import order_labels, shorten_list

_SHOWN = 5  # labels named in a message
_REMEDIES = {
    "utterance": "the protocol is faulty",
    "sound": "remove one of its copies from the index",
    "speaker": "give different people different names in the index, or choose a protocol that keeps speakers apart",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Train, dev and test split of an index, as ascending positions in ``index.utterances``.

    Attributes:
        number: Number of the fold, from 1.
        train: Utterances to train on.
        dev: Utterances for early stopping and calibration.
        test: Utterances to test on; empty for a final model.
    """

    number: int
    train: tuple[int, ...]
    dev: tuple[int, ...]
    test: tuple[int, ...]

    @property
    def title(self) -> str:
        """Name for messages."""
        return f"fold {self.number}" if self.test else "the split into training and development"


def check_fold(index: Index, fold: Fold, *, speaker_independent: bool, dev_by_speaker: bool = True) -> None:
    """Checks that a fold is usable and does not leak.

    Args:
        index: Utterances that the fold splits.
        fold: Fold to check.
        speaker_independent: Whether no speaker may be in two splits.
        dev_by_speaker: Whether this also applies to train and dev.

    Raises:
        SplitError: If the train or dev split is empty; if the train split has fewer than 2 labels, or lacks a label of
            the others; if there is no test split and dev lacks a label; or if an utterance, a sound or (if
            `speaker_independent`) a speaker is in two splits. The message names it.
    """
    for name in ("train", "dev"):
        if not getattr(fold, name):
            msg = f"{fold.title} has no {name} utterances: the corpus is too small for this protocol"
            raise SplitError(msg)
    _check_labels(index, fold)
    kinds: list[tuple[str, Callable[[int], str]]] = [
        ("utterance", lambda position: index.utterances[position].file),
        ("sound", lambda position: index.utterances[position].sound),
    ]
    if speaker_independent:
        kinds.append(("speaker", lambda position: index.utterances[position].speaker))
    for kind, name_of in kinds:
        split_of: dict[str, str] = {}
        for split in ("train", "dev", "test"):
            merged = "train" if kind == "speaker" and split == "dev" and not dev_by_speaker else split
            for position in getattr(fold, split):
                name = name_of(position)
                if split_of.setdefault(name, merged) != merged:
                    msg = (
                        f"{fold.title} leaks: {kind} {name!r} is in {split_of[name]} and in {split}, expected in one: "
                        f"{_REMEDIES[kind]}"
                    )
                    raise SplitError(msg)


def _check_labels(index: Index, fold: Fold) -> None:
    train, dev = ({index.utterances[position].emotion for position in split} for split in (fold.train, fold.dev))
    held_out = {index.utterances[position].emotion for position in (*fold.dev, *fold.test)} - train
    if len(train) < 2:
        msg = f"{fold.title} trains on {', '.join(train)} only, expected at least 2 emotions"
        if held_out:
            lacking = ", ".join(sorted(held_out))
            msg += f": all utterances of {lacking} are held out; add speakers of {lacking}"
        raise SplitError(msg)
    # Speakers of a published test may lack a label, but a final model needs all labels in train and dev.
    purposes = [("training", held_out), *([] if fold.test else [("development", train - dev)])]
    for purpose, labels in purposes:
        if labels:
            names = list(order_labels(labels))
            speakers = {utterance.speaker for utterance in index.utterances if utterance.emotion == names[0]} - {""}
            few = "1 speaker has" if len(speakers) == 1 else f"{len(speakers)} speakers have"
            msg = (
                f"{fold.title} has no utterance of {shorten_list(list(map(repr, names)), _SHOWN)} for {purpose} ({few} "
                f"{names[0]!r}): add other speakers, or list only the other labels in --emotions"
            )
            raise SplitError(msg)
