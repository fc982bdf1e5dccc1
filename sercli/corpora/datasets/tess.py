"""TESS, the Toronto emotional speech set.

Origin: Pichora-Fuller & Dupuis 2020, https://doi.org/10.5683/SP2/E8H2MF. Two actresses, 26 (YAF) and 64 (OAF) years
old, speak 200 words in the sentence "Say the word ..." in North American English.

Annotation: the emotion that the actress was asked for, in the file name; ``ps`` is pleasant surprise.

Counts: 2,800 recordings, 24 kHz; 400 of each of seven emotions. Kaggle's archive holds everything twice, and one
recording of OAF is named ``OA_bite_neutral``. With two speakers, never use it alone to judge how well a model does
on unknown speakers.

License: CC BY-NC-ND 4.0. Get it from https://doi.org/10.5683/SP2/E8H2MF.

Protocols: ``tess-speakers``, which trains on one speaker and tests on the other; a random ninth of the training
speaker's utterances is for development; ``cross``, to test on. ``loso``, folds by speaker and training for ``cross``
need more speakers.
"""

import re
from functools import partial
from pathlib import Path

from sercli.corpora.corpus import (
    Annotation,
    Corpus,
    SpeakerFolds,
    label_by_name,
    look_up_code,
    match_name,
)

NAME = "tess"
SPEAKERS = {"OAF": "tess-OAF", "YAF": "tess-YAF"}

LABEL_MAP = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fearful",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprised",
    "sad": "sad",
}

_NAME = re.compile(r"(?P<speaker>[A-Z]{3})_(?P<word>.+)_(?P<emotion>[a-z]+)")


def parse_name(stem: str) -> Annotation:
    """Reads the annotation in a name such as ``OAF_back_angry``: speaker, word and emotion.

    Raises:
        CorpusError: If it is not a name of the corpus; the message says what is wrong.
    """
    match = match_name(NAME, _NAME, stem, "speaker, word and emotion, as in OAF_back_angry")
    return Annotation(
        emotion=look_up_code(NAME, "emotion", match["emotion"], LABEL_MAP),
        speaker=look_up_code(NAME, "speaker", match["speaker"], SPEAKERS),
        gender="female",
        statement=match["word"],
    )


def _name_recording(path: Path) -> str:
    return re.sub("^OA_", "OAF_", path.stem)


CORPUS = Corpus(
    name=NAME,
    title="TESS",
    language="English",
    citation=(
        "Pichora-Fuller MK, Dupuis K (2020) Toronto emotional speech set (TESS). Borealis. "
        "https://doi.org/10.5683/SP2/E8H2MF"
    ),
    license="CC BY-NC-ND 4.0",
    page="https://doi.org/10.5683/SP2/E8H2MF",
    label_map=LABEL_MAP,
    label=partial(label_by_name, parse=parse_name, name_of=_name_recording),
    counts=dict.fromkeys(LABEL_MAP.values(), 400),
    speakers=2,
    hours=1.6,
    protocols=(
        SpeakerFolds(
            name="tess-speakers",
            description="train on one speaker, test on the other",
            test_speakers=tuple((speaker,) for speaker in SPEAKERS.values()),
            dev_by_speaker=False,
        ),
    ),
)
