"""CREMA-D, the Crowd-sourced Emotional Multimodal Actors Dataset.

Origin: Cao et al. 2014, https://doi.org/10.1109/TAFFC.2014.2336244. 91 actors (43 women, 48 men, 20 to 74 years old)
speak twelve sentences in American English.

Annotation: the emotion that the actor was asked for, in the file name; the first sentence also in three levels. What
raters perceived, in ``summaryTable.csv``, differs often and is not used. Genders are those of
``VideoDemographics.csv``, which many copies lack, so they are listed here.

Counts: 7,442 recordings, 16 kHz; 1,271 angry, disgust, fearful, happy and sad each, 1,087 neutral.
``1076_MTI_SAD_XX`` has no speech in the published corpus, and ``1040_ITH_SAD_X`` lacks a letter of its level. In a
clone without Git LFS, recordings are pointers of 130 bytes and are reported as such.

License: ODbL 1.0, contents DbCL 1.0. Get it from https://github.com/CheyneyComputerScience/CREMA-D (folder
``AudioWAV``).

Protocols: ``crema-d-folds``; ``loso``, ``k`` folds, ``pooled`` and ``cross`` too. No speaker-independent folds are
agreed on: those here put the actors of each gender, in ascending order, into five folds in turn.
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

NAME = "crema-d"
ACTORS = tuple(range(1001, 1092))
FEMALE = frozenset(
    {
        *(1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025, 1028, 1029, 1030),
        *(1037, 1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060, 1061, 1063, 1072, 1073, 1074, 1075),
        *(1076, 1078, 1079, 1082, 1084, 1089, 1091),
    }
)
FOLDS = 5

LABEL_MAP = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fearful",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "", "X": ""}
SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")

_NAME = re.compile(r"(?P<actor>[0-9]{4})_(?P<sentence>[A-Z]{3})_(?P<emotion>[A-Z]{3})_(?P<level>[A-Z]{1,2})")


def parse_name(stem: str) -> Annotation:
    """Reads the annotation in a name such as ``1001_DFA_ANG_XX``: actor, sentence, emotion and level.

    Raises:
        CorpusError: If it is not a name of the corpus; the message says what is wrong.
    """
    match = match_name(NAME, _NAME, stem, "actor, sentence, emotion and level, as in 1001_DFA_ANG_XX")
    return Annotation(
        emotion=look_up_code(NAME, "emotion", match["emotion"], LABEL_MAP),
        speaker=look_up_code(NAME, "actor", match["actor"], {str(actor): f"{NAME}-{actor}" for actor in ACTORS}),
        gender="female" if int(match["actor"]) in FEMALE else "male",
        intensity=look_up_code(NAME, "level", match["level"], LEVELS),
        statement=look_up_code(NAME, "sentence", match["sentence"], dict(zip(SENTENCES, SENTENCES, strict=True))),
    )


def _draw_folds() -> tuple[tuple[str, ...], ...]:
    folds: tuple[list[str], ...] = tuple([] for _ in range(FOLDS))
    for number, actor in enumerate(sorted(ACTORS, key=lambda actor: (actor in FEMALE, actor))):
        folds[number % FOLDS].append(f"{NAME}-{actor}")
    return tuple(map(tuple, folds))


CORPUS = Corpus(
    name=NAME,
    title="CREMA-D",
    language="English",
    citation=(
        "Cao H, Cooper DG, Keutmann MK, Gur RC, Nenkova A, Verma R (2014) CREMA-D: Crowd-sourced Emotional "
        "Multimodal Actors Dataset. IEEE Transactions on Affective Computing 5(4): 377-390. "
        "https://doi.org/10.1109/TAFFC.2014.2336244"
    ),
    license="ODbL 1.0, DbCL 1.0",
    page="https://github.com/CheyneyComputerScience/CREMA-D",
    label_map=LABEL_MAP,
    label=partial(label_by_name, parse=parse_name),
    counts={emotion: 1087 if emotion == "neutral" else 1271 for emotion in LABEL_MAP.values()},
    speakers=91,
    hours=5.3,
    defects={"1076_MTI_SAD_XX": "has no speech in the published corpus"},
    protocols=(
        SpeakerFolds(
            name="crema-d-folds",
            description="five speaker-independent folds, balanced by gender",
            test_speakers=_draw_folds(),
        ),
    ),
)
