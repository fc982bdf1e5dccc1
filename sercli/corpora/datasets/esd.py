"""ESD, the Emotional Speech Database, in English and Mandarin.

Origin: Zhou et al. 2022, https://doi.org/10.1016/j.specom.2021.11.006, made for voice conversion. Ten speakers of
Mandarin (0001 to 0010) and ten of English (0011 to 0020), 5 women and 5 men each, speak 350 sentences in every
emotion.

Annotation: the emotion that the speaker was asked for. The number in the file name states it: 1 to 350 neutral, then
350 each of angry, happy, sad and surprise; so flattened copies need no folders. The folders ``train``, ``evaluation``
and ``test`` below an emotion divide sentences, not speakers, and are not used.

Counts: 35,000 recordings, 16 kHz; 7,000 of each of five emotions. All speakers of a language say the same sentences in
all emotions, so a random split has every test sentence in training.

License: for research, by request. Get it from https://github.com/HLTSingapore/Emotional-Speech-Data.

Protocols: none of its own; ``loso``, ``k`` folds, ``pooled`` and ``cross``.
"""

import re

from sercli.corpora.corpus import Annotation, Corpus, LabeledRecordings, Source, label_by_name, match_name
from sercli.errors import CorpusError

NAME = "esd"
SPEAKERS = tuple(f"{number:04}" for number in range(1, 21))
MALE = {"0004", "0005", "0006", "0008", "0010", "0011", "0012", "0013", "0014", "0020"}
SENTENCES = 350  # of each emotion

LABEL_MAP = {"Neutral": "neutral", "Angry": "angry", "Happy": "happy", "Sad": "sad", "Surprise": "surprised"}
"""Emotion for each folder, in the order of the numbers in file names."""

_NAME = re.compile(r"(?P<speaker>[0-9]{4})_(?P<number>[0-9]{6})")


def parse_name(stem: str) -> Annotation:
    """Reads the annotation in a name such as ``0011_000351``: speaker, and a number that states emotion and sentence.

    Raises:
        CorpusError: If it is not a name of the corpus; the message says what is wrong.
    """
    match = match_name(NAME, _NAME, stem, "speaker and number, as in 0011_000351")
    speaker, number = match["speaker"], int(match["number"])
    last = SENTENCES * len(LABEL_MAP)
    if speaker not in SPEAKERS or not 1 <= number <= last:
        msg = f"not a file name of {NAME}: expected speaker 0001 to 0020 and number 000001 to {last:06}"
        raise CorpusError(msg)
    emotion, sentence = divmod(number - 1, SENTENCES)
    language = "zh" if speaker <= "0010" else "en"
    return Annotation(
        emotion=list(LABEL_MAP.values())[emotion],
        speaker=f"{NAME}-{speaker}",
        gender="male" if speaker in MALE else "female",
        statement=f"{language}-{sentence + 1:03}",
    )


def label(source: Source) -> LabeledRecordings:
    """Labels recordings by their names and lists which of the 35,000 are missing."""
    numbers = range(1, SENTENCES * len(LABEL_MAP) + 1)
    return label_by_name(source, parse_name, [f"{speaker}_{number:06}" for speaker in SPEAKERS for number in numbers])


CORPUS = Corpus(
    name=NAME,
    title="ESD",
    language="English and Chinese",
    citation=(
        "Zhou K, Sisman B, Liu R, Li H (2022) Emotional voice conversion: Theory, databases and ESD. Speech "
        "Communication 137: 1-18. https://doi.org/10.1016/j.specom.2021.11.006"
    ),
    license="research, by request",
    page="https://github.com/HLTSingapore/Emotional-Speech-Data",
    label_map=LABEL_MAP,
    label=label,
    counts=dict.fromkeys(LABEL_MAP.values(), len(SPEAKERS) * SENTENCES),
    speakers=len(SPEAKERS),
    hours=29.1,
)
