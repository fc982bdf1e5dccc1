"""JL corpus, acted emotional speech in New Zealand English.

Origin: James, Tian & Watson 2018, https://doi.org/10.21437/Interspeech.2018-1349. Four speakers (2 women, 2 men)
speak 15 sentences, each twice in two sessions, in every emotion.

Annotation: the emotion that the speaker was asked for, in the file name: five primary emotions (angry, sad, neutral,
happy, excited) and five secondary ones (anxious, apologetic, assertive, concerned, encouraging). The paper calls
three of the latter confident, worried and enthusiastic; both spellings are read.

Counts: 2,400 recordings, 44.1 kHz; 240 of each of ten emotions. Files of text with the same names lie beside them.

License: CC0 1.0. Get it from https://github.com/tli725/JL-Corpus.

Protocols: none of its own; ``loso`` (leaves one speaker for training), ``pooled`` and ``cross``.
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

NAME = "jl"
SPEAKERS = {name: f"{NAME}-{name}" for name in ("female1", "female2", "male1", "male2")}
PRIMARY = ("angry", "sad", "neutral", "happy", "excited")
SECONDARY = ("anxious", "apologetic", "assertive", "concerned", "encouraging")

LABEL_MAP = {
    **{name: name for name in (*PRIMARY, *SECONDARY)},
    "confident": "assertive",
    "worried": "concerned",
    "enthusiastic": "encouraging",
}

_NAME = re.compile(
    r"(?P<speaker>(?P<gender>female|male)[0-9])_(?P<emotion>[a-z]+)_(?P<sentence>[0-9]{1,2})(?P<take>[ab])_(?P<session>[12])"
)


def parse_name(stem: str) -> Annotation:
    """Reads the annotation in a name such as ``female1_angry_10a_1``: speaker, emotion, sentence, take and session.

    Raises:
        CorpusError: If it is not a name of the corpus; the message says what is wrong.
    """
    match = match_name(NAME, _NAME, stem, "speaker, emotion, sentence, take and session, as in female1_angry_10a_1")
    return Annotation(
        emotion=look_up_code(NAME, "emotion", match["emotion"], LABEL_MAP),
        speaker=look_up_code(NAME, "speaker", match["speaker"], SPEAKERS),
        gender=match["gender"],
        statement=match["sentence"],
        repetition=f"{match['take']}{match['session']}",
    )


CORPUS = Corpus(
    name=NAME,
    title="JL corpus",
    language="English",
    citation=(
        "James J, Tian L, Watson C (2018) An Open Source Emotional Speech Corpus for Human Robot Interaction "
        "Applications. Interspeech 2018, pp. 2768-2772. https://doi.org/10.21437/Interspeech.2018-1349"
    ),
    license="CC0 1.0",
    page="https://github.com/tli725/JL-Corpus",
    label_map=LABEL_MAP,
    label=partial(label_by_name, parse=parse_name),
    counts=dict.fromkeys((*PRIMARY, *SECONDARY), 240),
    speakers=4,
    hours=1.4,
)
