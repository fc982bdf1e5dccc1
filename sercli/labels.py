"""The eight emotions, in the order in which they stand everywhere."""

from collections.abc import Mapping

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


def emotion_index(emotion: str) -> int:
    """Position of an emotion in `EMOTIONS`, 0 to 7.

    Raises:
        UsageError: if the label is not one of the eight; the message lists them.
    """
    try:
        return EMOTIONS.index(emotion)
    except ValueError:
        msg = f"unknown emotion {emotion!r}: expected one of {', '.join(EMOTIONS)}"
        raise UsageError(msg) from None


def parse_label_map(text: str) -> dict[str, str]:
    """Reads ``surprise=surprised,joy=happy`` into a dict from foreign label to one of the eight.

    Raises:
        UsageError: if a part has no ``=``, an empty side, or a target outside the eight.
    """
    label_map: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        source, equals, target = (piece.strip() for piece in part.partition("="))
        if not (source and equals and target):
            msg = f"cannot read the label map at {part!r}: expected LABEL=EMOTION, as in surprise=surprised"
            raise UsageError(msg)
        emotion_index(target)
        label_map[source] = target
    return label_map


def to_emotion(label: str, label_map: Mapping[str, str] | None = None) -> str | None:
    """The emotion a label stands for, or None if it is not among the eight and not mapped."""
    mapped = (label_map or {}).get(label, label)
    return mapped if mapped in EMOTIONS else None
