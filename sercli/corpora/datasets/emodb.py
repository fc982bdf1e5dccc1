"""EmoDB, the Berlin database of emotional speech.

Origin: Burkhardt et al. 2005, https://doi.org/10.21437/Interspeech.2005-446. Ten actors (5 women, 5 men) speak ten
sentences in German.

Annotation: the emotion that the actor was asked for, in the file name, as the first letter of its German name.
Recordings that fewer than 80% of the listeners recognized were left out by the authors.

Counts: 535 recordings, 16 kHz; 127 angry, 81 boredom, 46 disgust, 69 fearful, 71 happy, 62 sad, 79 neutral.

License: CC0 1.0 in the release of audEERING. Get it from http://emodb.bilderbar.info.

Protocols: ``emodb-loso``, leave one speaker out; ``loso``, ``k`` folds, ``pooled`` and ``cross`` too.
"""

import re
from functools import partial

from sercli.corpora.corpus import (
    Annotation,
    Corpus,
    SpeakerFolds,
    label_by_name,
    look_up_code,
    match_name,
)

NAME = "emodb"
MALE, FEMALE = ("03", "10", "11", "12", "15"), ("08", "09", "13", "14", "16")
SPEAKERS = {number: f"{NAME}-{number}" for number in sorted((*MALE, *FEMALE))}

LABEL_MAP = {
    "W": "angry",  # Wut
    "L": "boredom",  # Langeweile
    "E": "disgust",  # Ekel
    "A": "fearful",  # Angst
    "F": "happy",  # Freude
    "T": "sad",  # Trauer
    "N": "neutral",
}

_NAME = re.compile(r"(?P<speaker>[0-9]{2})(?P<text>[ab][0-9]{2})(?P<emotion>[A-Z])(?P<version>[a-z])")


def parse_name(stem: str) -> Annotation:
    """Reads the annotation in a name such as ``03a01Fa``: speaker, text, emotion and version.

    Raises:
        CorpusError: If it is not a name of the corpus; the message says what is wrong.
    """
    match = match_name(NAME, _NAME, stem, "speaker, text, emotion and version, as in 03a01Fa")
    return Annotation(
        emotion=look_up_code(NAME, "emotion", match["emotion"], LABEL_MAP),
        speaker=look_up_code(NAME, "speaker", match["speaker"], SPEAKERS),
        gender="male" if match["speaker"] in MALE else "female",
        statement=match["text"],
        repetition=match["version"],
    )


CORPUS = Corpus(
    name=NAME,
    title="EmoDB",
    language="German",
    citation=(
        "Burkhardt F, Paeschke A, Rolfes M, Sendlmeier W, Weiss B (2005) A database of German emotional speech. "
        "Interspeech 2005, pp. 1517-1520. https://doi.org/10.21437/Interspeech.2005-446"
    ),
    license="CC0 1.0",
    page="http://emodb.bilderbar.info",
    label_map=LABEL_MAP,
    label=partial(label_by_name, parse=parse_name),
    counts={"angry": 127, "boredom": 81, "disgust": 46, "fearful": 69, "happy": 71, "sad": 62, "neutral": 79},
    speakers=10,
    hours=0.4,
    protocols=(
        SpeakerFolds(
            name="emodb-loso",
            description="leave one of the ten speakers out",
            test_speakers=tuple((speaker,) for speaker in SPEAKERS.values()),
        ),
    ),
)
