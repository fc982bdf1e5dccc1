"""RAVDESS, the Ryerson Audio-Visual Database of Emotional Speech and Song: its speech recordings.

1,440 recordings at 48 kHz: 24 professional actors, half of them women, say two sentences in North American
English in eight emotions, in two intensities (neutral in one), twice each. Names and codes as on
https://zenodo.org/records/1188976.
"""

import itertools
import re

from sercli.corpora.base import Corpus, Fields, Labelling, PinnedFile, Source, label_by_name
from sercli.errors import CorpusError
from sercli.labels import EMOTIONS

NAME = "ravdess"
ACTORS = 24
AUDIO_ONLY, SPEECH = "03", "01"

LABEL_MAP = {f"{code:02}": emotion for code, emotion in enumerate(EMOTIONS, start=1)}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "kids", "02": "dogs"}
REPETITIONS = {"01": "1", "02": "2"}

_NAME = re.compile(r"[0-9]{2}(?:-[0-9]{2}){6}")


def parse_name(stem: str) -> Fields | None:
    """Labels in a name such as ``03-01-06-02-01-01-12``.

    The parts are modality, vocal channel, emotion, intensity, statement, repetition and actor.

    Returns:
        the labels, or None if the name is that of a video or a song.

    Raises:
        CorpusError: if it is no name of the corpus; the message says which part.
    """
    if not _NAME.fullmatch(stem):
        msg = "not a name of ravdess: expected seven numbers of two digits, as in 03-01-06-02-01-01-12"
        raise CorpusError(msg)
    modality, channel, emotion, intensity, statement, repetition, actor = stem.split("-")
    if (modality, channel) != (AUDIO_ONLY, SPEECH):
        return None
    if LABEL_MAP.get(emotion) == "neutral" and INTENSITIES.get(intensity) == "strong":
        msg = "not a name of ravdess: neutral has no strong intensity (02)"
        raise CorpusError(msg)
    actors = {f"{number:02}": f"ravdess-{number:02}" for number in range(1, ACTORS + 1)}
    return Fields(
        emotion=_look_up("emotion", emotion, LABEL_MAP),
        intensity=_look_up("intensity", intensity, INTENSITIES),
        statement=_look_up("statement", statement, STATEMENTS),
        repetition=_look_up("repetition", repetition, REPETITIONS),
        speaker=_look_up("actor", actor, actors),
        gender="male" if int(actor) % 2 else "female",
    )


def _look_up(part: str, code: str, meanings: dict[str, str]) -> str:
    if code not in meanings:
        codes = list(meanings)
        msg = f"not a name of ravdess: {part} {code}, expected {codes[0]} to {codes[-1]}"
        raise CorpusError(msg)
    return meanings[code]


def list_names() -> list[str]:
    """The 1,440 names, without suffix, in order."""
    names = []
    for actor, emotion, intensity, statement, repetition in itertools.product(
        range(1, ACTORS + 1), LABEL_MAP, INTENSITIES, STATEMENTS, REPETITIONS
    ):
        if not (LABEL_MAP[emotion] == "neutral" and INTENSITIES[intensity] == "strong"):
            names.append(f"{AUDIO_ONLY}-{SPEECH}-{emotion}-{intensity}-{statement}-{repetition}-{actor:02}")
    return sorted(names)


def label(source: Source) -> Labelling:
    """Labels recordings by their names and finds which of the 1,440 are missing."""
    return label_by_name(source, parse_name, list_names())


CORPUS = Corpus(
    name=NAME,
    title="RAVDESS, speech",
    citation=(
        "Livingstone SR, Russo FA (2018) The Ryerson Audio-Visual Database of Emotional Speech and Song "
        "(RAVDESS). PLoS ONE 13(5): e0196391. https://doi.org/10.1371/journal.pone.0196391"
    ),
    licence="CC BY-NC-SA 4.0",
    page="https://zenodo.org/records/1188976",
    label_map=LABEL_MAP,
    label=label,
    counts={emotion: 96 if emotion == "neutral" else 192 for emotion in EMOTIONS},
    archive=PinnedFile(
        url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
        name="Audio_Speech_Actors_01-24.zip",
        size=208_468_073,
        md5="bc696df654c87fed845eb13823edef8a",
    ),
)
"""The speech part of RAVDESS."""
