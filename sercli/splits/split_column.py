"""Column ``split`` of an index, in which databases and users mark utterances for training, development and test."""

from dataclasses import replace

from sercli.corpora.index import Index
from sercli.errors import SplitError
from sercli.splits.sounds import drop_duplicates_of

# "other" is a split type of audformat, for what is none of the three.
_SPLITS = {**dict.fromkeys(("", "train", "training", "other"), "train"), "test": "test"}
_SPLITS |= dict.fromkeys(("dev", "devel", "development", "val", "valid", "validation"), "dev")


def list_marked(index: Index, split: str) -> list[int]:
    """Returns the positions of the utterances of a split, ``train``, ``dev`` or ``test``, ascending.

    Utterances without a mark, or marked ``other``, are for training.

    Raises:
        SplitError: If an utterance is marked with another word.
    """
    words = [utterance.extra.get("split", "").strip().casefold() for utterance in index.utterances]
    for utterance, word in zip(index.utterances, words, strict=True):
        if word not in _SPLITS:
            msg = (
                f"the column split of {utterance.file!r} should be train, dev or test, found {word[:40]!r}: rename it, "
                "or leave the cell empty to train on the row, and run 'sercli prepare' again"
            )
            raise SplitError(msg)
    return [number for number, word in enumerate(words) if _SPLITS[word] == split]


def leave_out_test(index: Index) -> Index:
    """Removes utterances that are marked ``test``, and duplicates of such.

    Raises:
        SplitError: If an utterance is marked with an unknown word, or none is left.
    """
    rest = drop_duplicates_of(index, range(len(index)), list_marked(index, "test"))
    if not rest:
        msg = (
            "the column split of the index marks all utterances as test: mark some as train, or leave their cells empty"
        )
        raise SplitError(msg)
    return replace(index, utterances=tuple(index.utterances[position] for position in rest))
