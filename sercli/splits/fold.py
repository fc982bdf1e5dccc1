"""One division of an index, and the check that it does not leak."""

from collections.abc import Callable
from dataclasses import dataclass

from sercli.corpora.index import Index
from sercli.errors import SplitError


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One division of an index; each side holds positions in ``index.utterances``, ascending.

    Attributes:
        number: from 1.
        train: utterances the network learns from.
        dev: utterances that stop the training and set the calibration; cut from training.
        test: utterances that are scored; empty when a model is trained for use.
    """

    number: int
    train: tuple[int, ...]
    dev: tuple[int, ...]
    test: tuple[int, ...]


def check_fold(index: Index, fold: Fold, *, speaker_independent: bool) -> None:
    """Makes sure that a fold does not leak.

    Raises:
        SplitError: if a side that must not be is empty, or if an utterance, a sound or (where asked for) a
            speaker stands on two sides; the message names it.
    """
    for name in ("train", "dev"):
        if not getattr(fold, name):
            msg = f"fold {fold.number} has no {name} utterances: the corpus is too small for this protocol"
            raise SplitError(msg)
    kinds: list[tuple[str, Callable[[int], str]]] = [
        ("utterance", lambda number: index.utterances[number].file),
        ("sound", lambda number: index.utterances[number].sound),
    ]
    if speaker_independent:
        kinds.append(("speaker", lambda number: index.utterances[number].speaker))
    for kind, name_of in kinds:
        side_of: dict[str, str] = {}
        for side in ("train", "dev", "test"):
            for number in getattr(fold, side):
                name = name_of(number)
                if side_of.setdefault(name, side) != side:
                    msg = f"fold {fold.number} leaks: {kind} {name!r} is in {side_of[name]} and in {side}"
                    raise SplitError(msg)
