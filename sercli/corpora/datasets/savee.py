"""SAVEE, the Surrey Audio-Visual Expressed Emotion database.

Origin: Haq & Jackson 2009, http://kahlan.eps.surrey.ac.uk/savee. Four men, postgraduates and researchers, speak 15
sentences for each emotion, 30 for neutral, in British English.

Annotation: the emotion that the speaker was asked for, in the file name. In the original, only the folder names the
speaker (``DC/a01.wav``); Kaggle's copy has ``DC_a01.wav``.

Counts: 480 recordings, 44.1 kHz; 120 neutral, 60 of each of six other emotions.

License: free for research, after registration at http://kahlan.eps.surrey.ac.uk/savee.

Protocols: none of its own; ``loso`` (leaves one speaker for training), ``pooled`` and ``cross``.
"""

import re
from pathlib import Path

from sercli.corpora.corpus import (
    Annotation,
    Corpus,
    LabeledRecordings,
    Source,
    label_by_name,
    look_up_code,
    match_name,
)

NAME = "savee"
SPEAKERS = {name: f"{NAME}-{name}" for name in ("DC", "JE", "JK", "KL")}

LABEL_MAP = {
    "a": "angry",
    "d": "disgust",
    "f": "fearful",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprised",
}
TAKES = {code: 30 if code == "n" else 15 for code in LABEL_MAP}

_SENTENCE = re.compile(r"[a-z]{1,2}[0-9]{2}")
_NAME = re.compile(r"(?P<speaker>[A-Z]{2})_(?P<statement>(?P<emotion>[a-z]{1,2})[0-9]{2})")


def parse_name(stem: str) -> Annotation:
    """Reads the annotation in a name such as ``DC_sa01``: speaker, emotion and sentence.

    Raises:
        CorpusError: If it is not a name of the corpus; the message says what is wrong.
    """
    expected = "speaker, emotion and sentence, as in DC_sa01, or sa01 in a folder DC"
    match = match_name(NAME, _NAME, stem, expected)
    return Annotation(
        emotion=look_up_code(NAME, "emotion", match["emotion"], LABEL_MAP),
        speaker=look_up_code(NAME, "speaker", match["speaker"], SPEAKERS),
        gender="male",
        statement=match["statement"],
    )


def _name_recording(path: Path) -> str:
    """Puts the speaker's folder before a name that has the sentence only."""
    return f"{path.parent.name}_{path.stem}" if _SENTENCE.fullmatch(path.stem) else path.stem


def label(source: Source) -> LabeledRecordings:
    """Labels recordings by the names of files and folders, and lists which of the 480 are missing."""
    expected = [f"{s}_{code}{n:02}" for s in SPEAKERS for code, takes in TAKES.items() for n in range(1, takes + 1)]
    return label_by_name(source, parse_name, expected, name_of=_name_recording)


CORPUS = Corpus(
    name=NAME,
    title="SAVEE",
    language="English",
    citation=(
        "Haq S, Jackson PJB (2009) Speaker-dependent audio-visual emotion recognition. Proc. AVSP 2009, pp. 53-58. "
        "http://kahlan.eps.surrey.ac.uk/savee"
    ),
    license="research, registration",
    page="http://kahlan.eps.surrey.ac.uk/savee",
    label_map=LABEL_MAP,
    label=label,
    counts={emotion: 120 if emotion == "neutral" else 60 for emotion in LABEL_MAP.values()},
    speakers=4,
    hours=0.5,
)
