"""RAVDESS, the Ryerson Audio-Visual Database of Emotional Speech and Song: the speech recordings.

Origin: Livingstone & Russo 2018, https://doi.org/10.1371/journal.pone.0196391.
24 professional actors (12 women, 12 men) speak two sentences in North American English.

Annotation: the emotion that the actor was asked for, in the file name. Eight emotions in two intensities
(neutral in one), each spoken twice.

Counts: 1,440 recordings, 60 per actor, 48 kHz, 16 bit; 96 neutral, 192 of each other emotion. Five recordings
have two channels. Two recordings of actor 7 are the same sound. Kaggle's archive holds everything twice.

License: CC BY-NC-SA 4.0. Download: https://zenodo.org/records/1188976 (``Audio_Speech_Actors_01-24.zip``). The
songs are the corpus ``ravdess-song``; the archives of videos are not indexed.

Protocols: ``emobox``, six folds of EmoBox (Ma et al. 2024, https://github.com/emo-box/EmoBox, data/ravdess);
``luna``, five folds of Luna-Jiménez et al. 2022 (Applied Sciences 12:327); ``loso``, ``k`` folds, ``pooled`` and
``cross`` too.
"""

import itertools
import re

from sercli.corpora.corpus import (
    Annotation,
    Corpus,
    LabeledRecordings,
    PinnedFile,
    Source,
    SpeakerFolds,
    label_by_name,
    look_up_code,
    match_name,
)
from sercli.errors import CorpusError
from sercli.labels import EMOTIONS

NAME = "ravdess"
AUDIO_ONLY, SPEECH, SONG = "03", "01", "02"

LABEL_MAP = {f"{code:02}": emotion for code, emotion in enumerate(EMOTIONS, start=1)}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "kids", "02": "dogs"}
REPETITIONS = {"01": "1", "02": "2"}
ACTORS = {f"{number:02}": f"ravdess-{number:02}" for number in range(1, 25)}

_NAME = re.compile(r"[0-9]{2}(?:-[0-9]{2}){6}")


def parse_name(stem: str, channel: str = SPEECH, emotions: int = len(LABEL_MAP)) -> Annotation | None:
    """Reads the annotation in a name such as ``03-01-06-02-01-01-12``.

    The numbers are modality, vocal channel, emotion, intensity, statement, repetition and actor.

    Args:
        stem: File name without suffix.
        channel: Vocal channel of the recordings to annotate.
        emotions: Number of emotions in this vocal channel.

    Returns:
        The annotation, or None if the name is that of a video or of the other vocal channel.

    Raises:
        CorpusError: If it is not a name of the corpus; the message says which number is wrong.
    """
    match_name(NAME, _NAME, stem, "seven numbers of two digits, as in 03-01-06-02-01-01-12")
    modality, vocal_channel, emotion, intensity, statement, repetition, actor = stem.split("-")
    if (modality, vocal_channel) != (AUDIO_ONLY, channel):
        return None
    if LABEL_MAP.get(emotion) == "neutral" and INTENSITIES.get(intensity) == "strong":
        msg = "not a file name of ravdess: neutral has no strong intensity (02)"
        raise CorpusError(msg)
    return Annotation(
        emotion=look_up_code(NAME, "emotion", emotion, dict(list(LABEL_MAP.items())[:emotions])),
        intensity=look_up_code(NAME, "intensity", intensity, INTENSITIES),
        statement=look_up_code(NAME, "statement", statement, STATEMENTS),
        repetition=look_up_code(NAME, "repetition", repetition, REPETITIONS),
        speaker=look_up_code(NAME, "actor", actor, ACTORS),
        gender="male" if int(actor) % 2 else "female",
    )


def list_names(channel: str = SPEECH, emotions: int = len(LABEL_MAP), without: str = "") -> list[str]:
    """Returns the names of all recordings of a vocal channel without suffix, sorted.

    Args:
        channel: Vocal channel.
        emotions: Number of emotions in this vocal channel.
        without: Actor who has no recordings.
    """
    names = []
    for actor, emotion, intensity, statement, repetition in itertools.product(
        ACTORS, list(LABEL_MAP)[:emotions], INTENSITIES, STATEMENTS, REPETITIONS
    ):
        if actor != without and not (LABEL_MAP[emotion] == "neutral" and INTENSITIES[intensity] == "strong"):
            names.append("-".join((AUDIO_ONLY, channel, emotion, intensity, statement, repetition, actor)))
    return sorted(names)


def label(source: Source) -> LabeledRecordings:
    """Labels recordings by their names and lists which of the 1,440 are missing."""
    return label_by_name(source, parse_name, list_names())


def _name_actors(*folds: tuple[int, ...]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(f"{NAME}-{actor:02}" for actor in fold) for fold in folds)


CORPUS = Corpus(
    name=NAME,
    title="RAVDESS, speech",
    language="English",
    citation=(
        "Livingstone SR, Russo FA (2018) The Ryerson Audio-Visual Database of Emotional Speech and Song "
        "(RAVDESS). PLoS ONE 13(5): e0196391. https://doi.org/10.1371/journal.pone.0196391"
    ),
    license="CC BY-NC-SA 4.0",
    page="https://zenodo.org/records/1188976",
    label_map=LABEL_MAP,
    label=label,
    counts={emotion: 96 if emotion == "neutral" else 192 for emotion in EMOTIONS},
    speakers=24,
    hours=1.5,
    protocols=(
        SpeakerFolds(
            name="emobox",
            description="the six speaker-independent folds of EmoBox",
            test_speakers=_name_actors(
                (1, 11, 20, 21),
                (4, 10, 12, 14),
                (8, 9, 19, 23),
                (3, 5, 7, 24),
                (2, 15, 16, 18),
                (6, 13, 17, 22),
            ),
        ),
        SpeakerFolds(
            name="luna",
            description="the five speaker-independent folds of Luna-Jiménez et al.",
            test_speakers=_name_actors(
                (2, 5, 14, 15, 16),
                (3, 6, 7, 13, 18),
                (10, 11, 12, 19, 20),
                (8, 17, 21, 23, 24),
                (1, 4, 9, 22),
            ),
        ),
    ),
    archive=PinnedFile(
        url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
        name="Audio_Speech_Actors_01-24.zip",
        size=208_468_073,
        md5="bc696df654c87fed845eb13823edef8a",
    ),
)
