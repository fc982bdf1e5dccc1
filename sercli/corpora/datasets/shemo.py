"""ShEMO, the Sharif Emotional Speech Database, in Persian.

Origin: Mohamad Nezami, Jamshid Lou & Karami 2019, https://doi.org/10.1007/s10579-018-9427-x. 87 speakers (31 women,
56 men) in radio plays.

Annotation: the emotion that most of twelve listeners perceived, in the file name. The letter F is both a gender, at
the beginning, and fear.

Counts: 3,000 recordings, 44.1 kHz; 1,059 angry, 1,028 neutral, 449 sad, 225 surprised, 201 happy, 38 fearful. Many
users leave fearful out, since it is so rare.

License: free for research. Get it from https://github.com/mansourehk/ShEMO.

Protocols: none of its own; ``loso``, ``k`` folds, ``pooled`` and ``cross``.
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

NAME = "shemo"

LABEL_MAP = {
    "A": "angry",
    "N": "neutral",
    "S": "sad",
    "W": "surprised",
    "H": "happy",
    "F": "fearful",
}

_NAME = re.compile(r"(?P<speaker>(?P<gender>[FM])[0-9]{2})(?P<emotion>[A-Z])(?P<number>[0-9]{2,3})")


def parse_name(stem: str) -> Annotation:
    """Reads the annotation in a name such as ``F01A01``: gender and speaker, emotion and number.

    Raises:
        CorpusError: If it is not a name of the corpus; the message says what is wrong.
    """
    match = match_name(NAME, _NAME, stem, "gender, speaker, emotion and number, as in F01A01")
    return Annotation(
        emotion=look_up_code(NAME, "emotion", match["emotion"], LABEL_MAP),
        speaker=f"{NAME}-{match['speaker']}",  # numbers start anew for men
        gender="female" if match["gender"] == "F" else "male",
    )


CORPUS = Corpus(
    name=NAME,
    title="ShEMO",
    language="Persian",
    citation=(
        "Mohamad Nezami O, Jamshid Lou P, Karami M (2019) ShEMO: a large-scale validated database for Persian speech "
        "emotion detection. Language Resources and Evaluation 53: 1-16. https://doi.org/10.1007/s10579-018-9427-x"
    ),
    license="research",
    page="https://github.com/mansourehk/ShEMO",
    label_map=LABEL_MAP,
    label=partial(label_by_name, parse=parse_name),
    counts={"angry": 1059, "neutral": 1028, "sad": 449, "surprised": 225, "happy": 201, "fearful": 38},
    speakers=87,
    hours=3.4,
)
