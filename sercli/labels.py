"""Emotion labels: the canonical eight, custom labels, selection and merging."""

import csv
import io
import re
import shlex
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
"""Canonical labels that count as negative by default."""

UNCERTAIN = "uncertain"
"""Replaces a label in reports if its confidence is too low."""

MAX_LENGTH = 80  # longest label (characters)
_SHOWN = 5  # labels listed in a message

_JOINERS = "\u200c\u200d"  # zero-width, yet part of words in Persian and Hindi, and of emoji
_ABSENT = {"nan", "nat", "none", "null", "na", "n/a", "#n/a", "<na>", "unknown", "?", "-"}

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
    """Sorts distinct labels: the canonical eight first, then others alphabetically.

    >>> order_labels(["boredom", "sad", "neutral", "anticipation", "sad"])
    ('neutral', 'sad', 'anticipation', 'boredom')
    """
    distinct = set(labels)
    return (*(emotion for emotion in EMOTIONS if emotion in distinct), *sorted(distinct - set(EMOTIONS)))


def clean_text(text: str) -> str:
    r"""Returns a text in Unicode's composed form, with single blanks, and without invisible characters but joiners.

    >>> clean_text(" fed\u200b  up\u200e")
    'fed up'
    """
    visible = (sign for sign in unicodedata.normalize("NFC", text) if sign in _JOINERS or not _is_format(sign))
    return " ".join("".join(visible).split())


def _is_format(sign: str) -> bool:
    return unicodedata.category(sign) == "Cf"


def is_absent(text: str) -> bool:
    """Whether a cell looks as if it should be empty.

    >>> is_absent("NaN"), is_absent("n/a"), is_absent("Nan Goldin")
    (True, True, False)
    """
    return text.strip().casefold() in _ABSENT


def read_label(text: str) -> str:
    """Normalizes a label like `clean_text`, and lowercases canonical labels.

    >>> read_label(" Happy"), read_label("Pleasant  Surprise")
    ('happy', 'Pleasant Surprise')

    Raises:
        UsageError: If it is not a valid label: too long, with control characters, or reserved by reports.
    """
    label = clean_text(text)
    if label.casefold() in EMOTIONS:
        return label.casefold()
    if problem := find_problem(label):
        msg = f"{text[:40]!r} cannot be a label: {problem}"
        raise UsageError(msg)
    return label


def find_problem(label: str) -> str:
    """Returns why a text is not a valid label; empty if it is.

    >>> find_problem("angry or frustrated"), find_problem("")
    ('', 'it is empty')
    """
    if not label:
        return "it is empty"
    if len(label) > MAX_LENGTH:
        return f"it has {len(label)} characters, expected at most {MAX_LENGTH}"
    if not label.translate(dict.fromkeys(map(ord, _JOINERS))).isprintable() or label != " ".join(label.split()):
        return "expected printable characters, and only single spaces between words"
    if label.casefold() == UNCERTAIN:
        return f"{UNCERTAIN!r} is reserved for answers with low confidence; rename the label"
    return ""


def check_labels(labels: Sequence[str], least: int = 2) -> None:
    """Checks that labels are valid and distinct.

    Raises:
        UsageError: If there are fewer than `least`, one is invalid, or two are alike, see `group_alike`.
    """
    if len(labels) < least:
        msg = f"expected at least {least} labels, found {', '.join(labels) or 'none'}"
        raise UsageError(msg)
    for label in labels:
        if problem := find_problem(label):
            msg = f"{label[:40]!r} cannot be a label: {problem}"
            raise UsageError(msg)
    alike = group_alike(labels)
    if alike:
        shown = "; ".join(" and ".join(map(repr, group)) for group in alike[:_SHOWN])
        merge = format_label_map((label, group[0]) for group in alike[:_SHOWN] for label in group[1:])
        msg = (
            f"labels that differ only by case, spaces, hyphens or underscores: {shown}; merge them with --map "
            f"{shlex.quote(merge)}"
        )
        raise UsageError(msg)


def group_alike(labels: Iterable[str]) -> list[list[str]]:
    """Groups labels that differ only by case or by what joins their words: nothing, a space, ``-`` or ``_``.

    The first of each group is the one to keep.

    >>> group_alike(["Fed up", "calm", "fed_up", "-1", "1"])
    [['Fed up', 'fed_up']]
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        groups[_fold(label)].append(label)
    return [list(order_labels(group)) for group in groups.values() if len(group) > 1]


def _fold(label: str) -> str:
    text = unicodedata.normalize("NFKC", label).casefold()
    plain = text.translate(dict.fromkeys(map(ord, _JOINERS)))
    return re.sub(r"[-_\s]+", lambda run: "" if _joins_words(run) else run[0], plain)


def _joins_words(run: re.Match[str]) -> bool:
    """Whether a run of spaces, ``-`` and ``_`` can be ignored: no minus sign, and not between two numbers."""
    before, after = run.string[: run.start()][-1:], run.string[run.end() :][:1]
    if not before or not after:
        return "-" not in run[0]
    if not after.isdigit():
        return True
    return not before.isdigit() and (len(run[0]) == 1 or "-" not in run[0])


def suggest_map(labels: Iterable[str]) -> str:
    """Suggests a value of ``--map`` for near-canonical labels; may be empty.

    >>> suggest_map(["anger", "sad", "Surprise ", "ps", "boredom"])
    'anger=angry,Surprise=surprised,ps=surprised'
    """
    clean = {clean_text(label): None for label in labels}
    return format_label_map((label, _MEANT[label.casefold()]) for label in clean if label.casefold() in _MEANT)


def format_label_map(pairs: Iterable[tuple[str, str]]) -> str:
    """Formats labels and what they are merged into so that `parse_label_map` can read it.

    >>> format_label_map([("joy", "happy"), ("pleased, excited", "happy")])
    'joy=happy,"pleased, excited=happy"'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([f"{source}={target}" for source, target in pairs])
    return text.getvalue()


def split_labels(text: str) -> list[str]:
    """Splits labels separated by commas; a label with a comma is in double quotes.

    Raises:
        UsageError: If there is a line break.

    >>> split_labels('angry, "happy, excited"')
    ['angry', 'happy, excited']
    """
    try:
        rows = list(csv.reader([text], skipinitialspace=True))
    except csv.Error as reason:
        msg = f"cannot read the labels {text!r} ({reason}): expected labels separated by commas"
        raise UsageError(msg) from None
    return [name.strip() for row in rows for name in row if name.strip()]


def parse_label_map(text: str) -> dict[str, str]:
    """Parses ``surprise=surprised,joy=happy`` into a dict from label to label.

    Raises:
        UsageError: If a part has no ``=`` or an empty side, a target is not a valid label, or a label has two targets.
    """
    label_map: dict[str, str] = {}
    for part in split_labels(text):
        source, equals, target = map(str.strip, part.rpartition("="))
        if not (source and equals and target):
            msg = f"cannot read the label map at {part!r}: expected LABEL=LABEL, as in surprise=surprised"
            raise UsageError(msg)
        label = read_label(target)
        merged = label_map.setdefault(clean_text(source), label)
        if merged != label:
            msg = f"the label map merges {source!r} into both {merged!r} and {target!r}"
            raise UsageError(msg)
    return label_map


def clean_label_map(label_map: Mapping[str, str] | None) -> dict[str, str]:
    """Normalizes a label map from Python as `parse_label_map` does one from the command line.

    >>> clean_label_map({"joy ": "Happy"})
    {'joy': 'happy'}

    Raises:
        UsageError: If a target is not a valid label.
    """
    return {clean_text(source): read_label(target) for source, target in (label_map or {}).items()}


def map_label(label: str, label_map: Mapping[str, str]) -> str:
    """Returns the label that another one is merged into, ignoring case; itself if it is not in the map.

    >>> map_label("Joy", {"joy": "happy"})
    'happy'
    """
    if label in label_map:
        return label_map[label]
    folded = {other.casefold(): target for other, target in label_map.items()}
    return folded.get(label.casefold(), label)


class LabelMerger:
    """Merges labels into others, and remembers which it met.

    Args:
        label_map: Labels to merge, mapped to the label that they are merged into.
    """

    def __init__(self, label_map: Mapping[str, str] | None = None) -> None:
        self._map = clean_label_map(label_map)
        self._met: dict[str, None] = {}

    def __call__(self, label: str) -> str:
        """Returns the label that another one is merged into, ignoring case; itself if it is not in the map."""
        self._met[label] = None
        return map_label(label, self._map)

    def check_used(self) -> None:
        """Checks that the labels to merge were all met.

        Raises:
            UsageError: If one was not; the message lists those that were.
        """
        folded = {label.casefold() for label in self._met}
        require_known([label for label in self._map if label.casefold() not in folded], list(self._met))


def choose_negative(labels: Sequence[str], negative: Sequence[str] | None = None) -> tuple[str, ...]:
    """Selects the labels of a model that count as negative, in its order.

    Args:
        labels: Labels of the model.
        negative: Labels that count as negative; None for `NEGATIVE`.

    Raises:
        UsageError: If one of `negative` is not among the labels.
    """
    require_list("negative", negative)
    wanted = set(NEGATIVE) & set(labels) if negative is None else set(negative)
    require_known(sorted(wanted), labels, "negative label")
    return tuple(label for label in labels if label in wanted)


def select_labels(labels: Sequence[str], kept: Sequence[str]) -> tuple[str, ...]:
    """Selects the labels of a model to keep, in its order; all if `kept` is empty.

    Raises:
        UsageError: If the model lacks one, or fewer than 2 are kept.
    """
    require_known(kept, labels, "label of the model")
    selected = tuple(label for label in labels if not kept or label in kept)
    check_labels(selected)
    return selected


def require_list(name: str, value: object) -> None:
    """Checks that a list of names from Python is no text, which would be taken letter by letter.

    Raises:
        UsageError: If it is one.
    """
    if isinstance(value, str):
        msg = f"{name} should be a list, such as {value.split(',')}, found the text {value!r}"
        raise UsageError(msg)


def require_known(names: Iterable[str], labels: Sequence[str], kind: str = "label") -> None:
    """Checks that all names are among some labels.

    Raises:
        UsageError: If one is not; the message lists the labels.
    """
    for name in names:
        if name not in labels:
            near = map_label(name, _MEANT)
            hint = f"; did you mean {near}?" if near in labels else ""
            msg = f"unknown {kind} {name!r}: expected one of {shorten_list(labels)}{hint}"
            raise UsageError(msg)


def shorten_list(labels: Sequence[str], most: int = 20) -> str:
    """Joins labels, naming at most `most` of them.

    >>> shorten_list(["a", "b", "c", "d"], 2)
    'a, b and 2 more'
    """
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return ", ".join(labels[:most]) + more


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSelection:
    """Labels to keep and to merge.

    Attributes:
        emotions: Labels to keep, after merging; all if empty.
        label_map: Labels to merge, mapped to the label they are merged into.
    """

    emotions: tuple[str, ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)

    def apply(self, label: str) -> str | None:
        """Returns the label that utterances with a label are trained as; None if they are excluded."""
        merged = map_label(label, self.label_map)
        return merged if not self.emotions or merged in self.emotions else None

    def check(self, labels: Sequence[str]) -> None:
        """Checks the selection against the existing labels.

        Raises:
            UsageError: If it names a label without utterances, keeps only one, or if two of the remaining labels mean
                the same.
        """
        folded = {label.casefold() for label in labels}
        require_known([name for name in self.label_map if name.casefold() not in folded], labels)
        merged = order_labels(map_label(label, self.label_map) for label in labels)
        require_known(self.emotions, merged)
        left = [label for label in merged if not self.emotions or label in self.emotions]
        check_labels(left, least=2 if self.emotions else 0)
        twice = [label for label in left if _MEANT.get(label.casefold()) in left]
        if twice and not self.emotions:
            msg = (
                f"sercli has other names for {', '.join(map(repr, twice[:_SHOWN]))}, which are also in the index: "
                f"merge them with --map {shlex.quote(suggest_map(twice))}, or give the labels to train on with "
                "--emotions"
            )
            raise UsageError(msg)

    def to_dict(self) -> dict[str, Any]:
        """Returns the selection as a JSON-ready dict."""
        return {"emotions": list(self.emotions), "map": dict(self.label_map)}
