"""One fold, and the check that it is usable and does not leak."""

from collections.abc import Callable
from dataclasses import dataclass

from sercli.corpora.index import Index
from sercli.errors import SplitError
from sercli.labels import order_labels, shorten_list

_SHOWN = 5  # labels that a message names


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One split of an index; each side holds ascending positions in ``index.utterances``.

    Attributes:
        number: Number of the fold, from 1.
        train: Utterances to train on.
        dev: Utterances for early stopping and calibration, held out from training.
        test: Utterances to test on; empty when a model is trained for use.
    """

    number: int
    train: tuple[int, ...]
    dev: tuple[int, ...]
    test: tuple[int, ...]

    @property
    def title(self) -> str:
        """What messages call it: a fold, or a split if nothing is tested."""
        return f"fold {self.number}" if self.test else "the split into training and development"


def check_fold(index: Index, fold: Fold, *, speaker_independent: bool, dev_by_speaker: bool = True) -> None:
    """Checks that a fold is usable and does not leak.

    Args:
        index: Utterances that the fold splits.
        fold: Fold to check.
        speaker_independent: Whether no speaker may be on two sides.
        dev_by_speaker: Whether this also applies between training and development.

    Raises:
        SplitError: If the training or development side is empty; if fewer than 2 labels are trained on; if a label of
            the index is missing in training or, without a test side, in development; or if an utterance, a sound or (if
            `speaker_independent`) a speaker is on two sides. The message names it.
    """
    for name in ("train", "dev"):
        if not getattr(fold, name):
            msg = f"{fold.title} has no {name} utterances: the corpus is too small for this protocol"
            raise SplitError(msg)
    _check_labels(index, fold)
    kinds: list[tuple[str, Callable[[int], str]]] = [
        ("utterance", lambda number: index.utterances[number].file),
        ("sound", lambda number: index.utterances[number].sound),
    ]
    if speaker_independent:
        kinds.append(("speaker", lambda number: index.utterances[number].speaker))
    for kind, name_of in kinds:
        side_of: dict[str, str] = {}
        for side in ("train", "dev", "test"):
            shared = kind == "speaker" and side == "dev" and not dev_by_speaker
            for number in getattr(fold, side):
                name = name_of(number)
                if side_of.setdefault(name, "train" if shared else side) != ("train" if shared else side):
                    msg = f"{fold.title} leaks: {kind} {name!r} is in {side_of[name]} and in {side}"
                    raise SplitError(msg)


def _check_labels(index: Index, fold: Fold) -> None:
    trained, dev = ({index.utterances[number].emotion for number in side} for side in (fold.train, fold.dev))
    held_out = {index.utterances[number].emotion for number in (*fold.dev, *fold.test)} - trained
    if len(trained) < 2:
        why = f": all of {', '.join(sorted(held_out))} is held out, so add more speakers of it" if held_out else ""
        msg = (
            f"{fold.title} has only utterances of {', '.join(trained)} to train on, at least 2 emotions are needed{why}"
        )
        raise SplitError(msg)
    # Speakers of a published test may lack a label, but a model for use needs all labels on both sides.
    lacking = [("train on", held_out), *([] if fold.test else [("calibrate with", trained - dev)])]
    for purpose, labels in lacking:
        if labels:
            first = order_labels(labels)[0]
            speakers = {utterance.speaker for utterance in index.utterances if utterance.emotion == first} - {""}
            few = "1 speaker has any" if len(speakers) == 1 else f"{len(speakers)} speakers have any"
            which = "this label" if len(labels) == 1 else f"these {len(labels)} labels"
            msg = (
                f"{fold.title} has no utterance of {shorten_list(list(map(repr, order_labels(labels))), _SHOWN)} to "
                f"{purpose}, {few} of {first!r}: add some of other speakers, or leave {which} out with --emotions"
            )
            raise SplitError(msg)
