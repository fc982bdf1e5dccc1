"""EMOVO, acted emotional speech in Italian.

Origin: Costantini et al. 2014, https://aclanthology.org/L14-1478. Six actors (3 women, 3 men) speak 14 sentences.

Annotation: the emotion that the actor was asked for, in the file name, as the first letters of its Italian name.

Counts: 588 recordings, 48 kHz, two channels; 84 of each of seven emotions.

License: for research. Get it from http://voice.fub.it/activities/corpora/emovo.

Protocols: none of its own; ``loso``, ``k`` folds, ``pooled`` and ``cross``.
"""

import itertools
import re

from sercli.corpora.corpus import (
    Annotation,
    Corpus,
    LabeledRecordings,
    Source,
    label_by_name,
    look_up_code,
    match_name,
)

NAME = "emovo"
SPEAKERS = {name: f"{NAME}-{name}" for name in ("f1", "f2", "f3", "m1", "m2", "m3")}
SENTENCES = ("b1", "b2", "b3", "d1", "d2", "l1", "l2", "l3", "l4", "n1", "n2", "n3", "n4", "n5")

LABEL_MAP = {
    "dis": "disgust",  # disgusto
    "gio": "happy",  # gioia
    "neu": "neutral",
    "pau": "fearful",  # paura
    "rab": "angry",  # rabbia
    "sor": "surprised",  # sorpresa
    "tri": "sad",  # tristezza
}

_NAME = re.compile(r"(?P<emotion>[a-z]{3})-(?P<speaker>[fm][0-9])-(?P<sentence>[a-z][0-9])")


def parse_name(stem: str) -> Annotation:
    """Reads the annotation in a name such as ``dis-f1-b1``: emotion, speaker and sentence.

    Raises:
        CorpusError: If it is not a name of the corpus; the message says what is wrong.
    """
    match = match_name(NAME, _NAME, stem, "emotion, speaker and sentence, as in dis-f1-b1")
    return Annotation(
        emotion=look_up_code(NAME, "emotion", match["emotion"], LABEL_MAP),
        speaker=look_up_code(NAME, "speaker", match["speaker"], SPEAKERS),
        gender="female" if match["speaker"].startswith("f") else "male",
        statement=match["sentence"],
    )


def label(source: Source) -> LabeledRecordings:
    """Labels recordings by their names and lists which of the 588 are missing."""
    return label_by_name(source, parse_name, ["-".join(x) for x in itertools.product(LABEL_MAP, SPEAKERS, SENTENCES)])


CORPUS = Corpus(
    name=NAME,
    title="EMOVO",
    language="Italian",
    citation=(
        "Costantini G, Iaderola I, Paoloni A, Todisco M (2014) EMOVO Corpus: an Italian Emotional Speech Database. "
        "LREC 2014, pp. 3501-3504. https://aclanthology.org/L14-1478"
    ),
    license="research",
    page="http://voice.fub.it/activities/corpora/emovo",
    label_map=LABEL_MAP,
    label=label,
    counts=dict.fromkeys(LABEL_MAP.values(), 84),
    speakers=6,
    hours=0.5,
)
