"""MESD, the Mexican Emotional Speech Database.

Origin: Duville, Alonso-Valerdi & Ibarra-Zarate 2021, https://doi.org/10.17632/cy34mh68j9. 16 speakers (women, men and
children) speak single words in Mexican Spanish, from two lists (A and B).

Annotation: the emotion that the speaker was asked for, in the file name.

Counts: 864 recordings, 48 kHz; 144 of each of six emotions. Current releases hold 862.

License: CC BY 4.0. Get it from https://doi.org/10.17632/cy34mh68j9.

Protocols: ``paper``, ``random10`` and, to test on, ``cross``. The names say which kind of voice speaks (woman, man,
child), not who: the speaker is left empty, and folds by speaker cannot be drawn.
"""

import re
from functools import partial

from sercli.corpora.corpus import (
    Annotation,
    Corpus,
    label_by_name,
    look_up_code,
    match_name,
)

NAME = "mesd"
VOICES = {"F": "female", "M": "male", "C": "child"}

LABEL_MAP = {
    "Anger": "angry",
    "Disgust": "disgust",
    "Fear": "fearful",
    "Happiness": "happy",
    "Neutral": "neutral",
    "Sadness": "sad",
}

_NAME = re.compile(r"(?P<emotion>[A-Za-z]+)_(?P<voice>[A-Z])_(?P<statement>[AB]_.+)")


def parse_name(stem: str) -> Annotation:
    """Reads the annotation in a name such as ``Anger_C_A_abajo``: emotion, voice, list and word.

    Raises:
        CorpusError: If it is not a name of the corpus; the message says what is wrong.
    """
    match = match_name(NAME, _NAME, stem, "emotion, voice, list and word, as in Anger_C_A_abajo")
    return Annotation(
        emotion=look_up_code(NAME, "emotion", match["emotion"].capitalize(), LABEL_MAP),
        gender=look_up_code(NAME, "voice", match["voice"], VOICES),
        statement=match["statement"],
    )


CORPUS = Corpus(
    name=NAME,
    title="MESD",
    language="Spanish",
    citation=(
        "Duville MM, Alonso-Valerdi LM, Ibarra-Zarate DI (2021) The Mexican Emotional Speech Database (MESD): "
        "elaboration and assessment based on machine learning. EMBC 2021, pp. 1644-1647. "
        "https://doi.org/10.17632/cy34mh68j9"
    ),
    license="CC BY 4.0",
    page="https://doi.org/10.17632/cy34mh68j9",
    label_map=LABEL_MAP,
    label=partial(label_by_name, parse=parse_name),
    counts=dict.fromkeys(LABEL_MAP.values(), 144),
    hours=0.2,
)
