"""RAVDESS, the Ryerson Audio-Visual Database of Emotional Speech and Song: the speech recordings.

Origin: Livingstone & Russo 2018, https://doi.org/10.1371/journal.pone.0196391.
24 professional actors (12 women, 12 men) speak two sentences in North American English.

Annotation: the emotion that the actor was asked for, in the file name. Eight emotions in two intensities
(neutral in one), each spoken twice.

Counts: 1,440 recordings, 60 per actor, 48 kHz, 16 bit; 96 neutral, 192 of each other emotion. Five recordings
have two channels. Two recordings of actor 7 are the same sound.

License: CC BY-NC-SA 4.0. Download: https://zenodo.org/records/1188976 (``Audio_Speech_Actors_01-24.zip``). The
archives of songs and videos there are other parts of the corpus and are not indexed.

Protocols: ``paper``, ``random10``, ``emobox``, ``luna``, ``loso``, ``pooled`` and ``cross``; the first two are
not speaker-independent.
"""

import itertools
import re

from sercli.corpora.corpus import Annotation, Corpus, LabeledRecordings, PinnedFile, Source, label_by_name
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


def parse_name(stem: str) -> Annotation | None:
    """Reads the annotation in a name such as ``03-01-06-02-01-01-12``.

    The numbers are modality, vocal channel, emotion, intensity, statement, repetition and actor.

    Returns:
        The annotation, or None if the name is that of a video or a song.

    Raises:
        CorpusError: if it is not a name of the corpus; the message says which number is wrong.
    """
    if not _NAME.fullmatch(stem):
        msg = "not a name of ravdess: expected seven numbers of two digits, as in 03-01-06-02-01-01-12"
        raise CorpusError(msg)
    modality, vocal_channel, emotion, intensity, statement, repetition, actor = stem.split("-")
    if (modality, vocal_channel) != (AUDIO_ONLY, SPEECH):
        return None
    if LABEL_MAP.get(emotion) == "neutral" and INTENSITIES.get(intensity) == "strong":
        msg = "not a name of ravdess: neutral has no strong intensity (02)"
        raise CorpusError(msg)
    actors = {f"{number:02}": f"ravdess-{number:02}" for number in range(1, ACTORS + 1)}
    return Annotation(
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
    """Returns the names of all 1,440 recordings without suffix, sorted."""
    names = []
    for actor, emotion, intensity, statement, repetition in itertools.product(
        range(1, ACTORS + 1), LABEL_MAP, INTENSITIES, STATEMENTS, REPETITIONS
    ):
        if not (LABEL_MAP[emotion] == "neutral" and INTENSITIES[intensity] == "strong"):
            names.append(f"{AUDIO_ONLY}-{SPEECH}-{emotion}-{intensity}-{statement}-{repetition}-{actor:02}")
    return sorted(names)


def label(source: Source) -> LabeledRecordings:
    """Labels recordings by their names and lists which of the 1,440 are missing."""
    return label_by_name(source, parse_name, list_names())


CORPUS = Corpus(
    name=NAME,
    title="RAVDESS, speech",
    citation=(
        "Livingstone SR, Russo FA (2018) The Ryerson Audio-Visual Database of Emotional Speech and Song "
        "(RAVDESS). PLoS ONE 13(5): e0196391. https://doi.org/10.1371/journal.pone.0196391"
    ),
    license="CC BY-NC-SA 4.0",
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
