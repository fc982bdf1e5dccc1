"""Labels of emotions: the canonical eight, labels of the user's own, and how labels are selected and merged."""

import csv
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sercli.errors import UsageError

EMOTIONS: tuple[str, ...] = (
    "neutral",
    "calm",
    "happy",
    "sad",
    "angry",
    "fearful",
    "disgust",
    "surprised",
)
"""Labels of RAVDESS (Livingstone & Russo 2018, doi 10.1371/journal.pone.0196391), in its order of codes."""

NEGATIVE: tuple[str, ...] = ("sad", "angry", "fearful", "disgust")
"""Canonical labels that count as negative unless a training is given others."""

UNCERTAIN = "uncertain"
"""Stands in a report in place of a label whose confidence is too low."""

MAX_LENGTH = 80  # characters of a label
_SHOWN = 5  # labels that a message names

_NEAR_MISSES = {
    "neutral": ("neu", "n", "neutrality", "normal"),
    "calm": ("cal", "calmness"),
    "happy": ("hap", "happiness", "happily", "joy", "joyful", "joyous"),
    "sad": ("sadness", "unhappy"),
    "angry": ("ang", "anger"),
    "fearful": ("fea", "fear", "fearfulness", "afraid", "scared"),
    "disgust": ("dis", "disgusted", "disgusting"),
    "surprised": ("sur", "ps", "surprise", "pleasant_surprise", "pleasant surprise", "pleasant_surprised"),
}
_MEANT = {near: emotion for emotion, misses in _NEAR_MISSES.items() for near in misses}


def order_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct labels in their order everywhere: the canonical eight first, others after them alphabetically.

    >>> order_labels(["boredom", "sad", "neutral", "anticipation", "sad"])
    ('neutral', 'sad', 'anticipation', 'boredom')
    """
    distinct = set(labels)
    return (*(emotion for emotion in EMOTIONS if emotion in distinct), *sorted(distinct - set(EMOTIONS)))


def read_label(text: str) -> str:
    """Reads a label as people write it: surrounding and repeated blanks go, canonical labels become lower case.

    >>> read_label(" Happy"), read_label("Pleasant  Surprise")
    ('happy', 'Pleasant Surprise')

    Raises:
        UsageError: if it cannot be a label: it is too long, has control characters, or is what reports put in place
            of a label.
    """
    label = " ".join(unicodedata.normalize("NFC", text).split())
    if label.casefold() in EMOTIONS:
        return label.casefold()
    if problem := find_problem(label):
        msg = f"{text[:40]!r} cannot be a label: {problem}"
        raise UsageError(msg)
    return label


def find_problem(label: str) -> str:
    """Says why a text cannot be a label; empty if it can.

    >>> find_problem("angry or frustrated"), find_problem("")
    ('', 'it is empty')
    """
    if not label:
        return "it is empty"
    if len(label) > MAX_LENGTH:
        return f"it has {len(label)} characters, expected at most {MAX_LENGTH}"
    if not label.isprintable() or label != " ".join(label.split()):
        return "expected printable characters, and single blanks between words only"
    if label == UNCERTAIN:
        return f"reports write {UNCERTAIN!r} where the confidence is low; give it another name"
    return ""


def check_labels(labels: Sequence[str], least: int = 2) -> None:
    """Checks labels that are to be told apart.

    Raises:
        UsageError: if there are fewer than `least`, one cannot be a label, or two are equal or differ only by case,
            blanks, ``-`` and ``_``.
    """
    if len(labels) < least:
        msg = f"at least {least} labels are needed to tell apart, found {', '.join(labels) or 'none'}"
        raise UsageError(msg)
    for label in labels:
        if problem := find_problem(label):
            msg = f"{label[:40]!r} cannot be a label: {problem}"
            raise UsageError(msg)
    alike = group_alike(labels)
    if alike:
        shown = "; ".join(" and ".join(map(repr, group)) for group in alike[:_SHOWN])
        merge = ",".join(f"{label}={group[0]}" for group in alike[:_SHOWN] for label in group[1:])
        msg = f"labels that differ only by case or blanks: {shown}; merge them with --map '{merge}'"
        raise UsageError(msg)


def group_alike(labels: Iterable[str]) -> list[list[str]]:
    """Groups of labels that differ only by case, blanks, ``-`` and ``_``, the one to keep first.

    >>> group_alike(["Fed up", "calm", "fed_up"])
    [['Fed up', 'fed_up']]
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        groups[_fold(label)].append(label)
    return [list(order_labels(group)) for group in groups.values() if len(group) > 1]


def _fold(label: str) -> str:
    return "".join(unicodedata.normalize("NFKC", label).casefold().replace("-", " ").replace("_", " ").split())


def suggest_map(labels: Iterable[str]) -> str:
    """Value of ``--map`` for labels that nearly are canonical ones; may be empty.

    >>> suggest_map(["anger", "sad", "Surprise ", "ps", "boredom"])
    'anger=angry,Surprise=surprised,ps=surprised'
    """
    clean = {" ".join(label.split()): None for label in labels}
    pairs = [(label, _MEANT[label.casefold()]) for label in clean if label.casefold() in _MEANT]
    return ",".join(f"{label}={emotion}" for label, emotion in pairs)


def split_names(text: str) -> list[str]:
    """Names separated by commas; one that has a comma stands in double quotes.

    >>> split_names('angry, "happy, excited"')
    ['angry', 'happy, excited']
    """
    return [name.strip() for row in csv.reader([text], skipinitialspace=True) for name in row if name.strip()]


def parse_label_map(text: str) -> dict[str, str]:
    """Reads ``surprise=surprised,joy=happy`` into a dict from label to label.

    Raises:
        UsageError: if a part has no ``=`` or an empty side, or a target cannot be a label.
    """
    label_map: dict[str, str] = {}
    for part in split_names(text):
        source, equals, target = map(str.strip, part.rpartition("="))
        if not (source and equals and target):
            msg = f"cannot read the label map at {part!r}: expected LABEL=LABEL, as in surprise=surprised"
            raise UsageError(msg)
        label_map[" ".join(source.split())] = read_label(target)
    return label_map


def map_label(label: str, label_map: Mapping[str, str]) -> str:
    """The label that another one is merged into, in any case; itself if it is not in the map.

    >>> map_label("Joy", {"joy": "happy"})
    'happy'
    """
    if label in label_map:
        return label_map[label]
    folded = {other.casefold(): target for other, target in label_map.items()}
    return folded.get(label.casefold(), label)


def choose_negative(labels: Sequence[str], negative: Sequence[str] | None = None) -> tuple[str, ...]:
    """The labels of a model that count as negative, in its order.

    Args:
        labels: Labels of the model.
        negative: Labels that count; those of `NEGATIVE` if None.

    Raises:
        UsageError: if one of `negative` is not among the labels.
    """
    wanted = set(NEGATIVE) & set(labels) if negative is None else set(negative)
    require_known(sorted(wanted), labels, "negative label")
    return tuple(label for label in labels if label in wanted)


def select_labels(labels: Sequence[str], kept: Sequence[str]) -> tuple[str, ...]:
    """The labels of a model that are kept, in its order; all if `kept` is empty.

    Raises:
        UsageError: if a model does not have one, or fewer than 2 are kept.
    """
    require_known(kept, labels, "label of the model")
    selected = tuple(label for label in labels if not kept or label in kept)
    check_labels(selected)
    return selected


def require_known(names: Iterable[str], labels: Sequence[str], kind: str = "label") -> None:
    """Makes sure that all names are among some labels.

    Raises:
        UsageError: if one is not; the message lists the labels.
    """
    for name in names:
        if name not in labels:
            near = map_label(name, _MEANT)
            hint = f"; did you mean {near}?" if near in labels else ""
            msg = f"unknown {kind} {name!r}: expected some of {shorten_list(labels)}{hint}"
            raise UsageError(msg)


def shorten_list(labels: Sequence[str], most: int = 20) -> str:
    """Labels in a line, at most so many by name.

    >>> shorten_list(["a", "b", "c", "d"], 2)
    'a, b and 2 more'
    """
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return ", ".join(labels[:most]) + more


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSelection:
    """Which labels a training takes, and which of them it merges.

    Attributes:
        emotions: Labels to keep, after merging; all if empty.
        label_map: The label that another one is merged into.
    """

    emotions: tuple[str, ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)

    def apply(self, label: str) -> str | None:
        """The label that utterances of a label are trained as; None if they take no part."""
        merged = map_label(label, self.label_map)
        return merged if not self.emotions or merged in self.emotions else None

    def check(self, labels: Sequence[str]) -> None:
        """Checks the selection against the labels that there are.

        Raises:
            UsageError: if it names a label that no utterance has, or if two of the labels that are left mean the same.
        """
        folded = {label.casefold() for label in labels}
        require_known([name for name in self.label_map if name.casefold() not in folded], labels)
        merged = order_labels(map_label(label, self.label_map) for label in labels)
        require_known(self.emotions, merged)
        left = [label for label in merged if not self.emotions or label in self.emotions]
        check_labels(left, least=0)
        twice = [label for label in left if _MEANT.get(label.casefold()) in left]
        if twice and not self.emotions:
            msg = (
                f"{', '.join(map(repr, twice[:_SHOWN]))} and the labels of sercli that mean the same are both there: "
                f"merge them with --map {suggest_map(twice)}, or name the labels to train on with --emotions"
            )
            raise UsageError(msg)

    def to_dict(self) -> dict[str, Any]:
        """The selection as a JSON-ready dict."""
        return {"emotions": list(self.emotions), "map": dict(self.label_map)}


NO_SELECTION = LabelSelection()
"""All labels as they are."""
