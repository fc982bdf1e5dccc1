"""IEMOCAP, the Interactive Emotional Dyadic Motion Capture database.

Origin: Busso et al. 2008, https://doi.org/10.1007/s10579-008-9076-6. Ten actors in five sessions, each of a woman and
a man, play scripted and improvised dialogs in American English.

Annotation: the emotion that most of three listeners perceived in a turn, in the tables of ``EmoEvaluation``. Turns
without agreement (``xxx``) have no label and are not indexed, nor are recordings of whole dialogs. In a turn's name,
the last letter before its number says who speaks; the one after ``Ses01`` says who wears the markers.

Counts: 10,039 turns, 16 kHz; 1,103 angry, 595 happy, 1,041 excited, 1,084 sad, 1,708 neutral, 1,849 frustrated, 107
surprised, 40 fearful, 2 disgust, 3 other, and 2,507 without agreement. Scripted dialogs repeat the same sentences.

License: by agreement with USC. Get it from https://sail.usc.edu/iemocap.

Protocols: ``iemocap-sessions``, leave one session out over four classes (5,531 utterances: angry, sad, neutral, and
happy, which excited is merged into), the one most papers report; ``loso``, ``k`` folds, ``pooled`` and ``cross`` too.
"""

import re
from pathlib import Path

from sercli.corpora.corpus import (
    Annotation,
    Corpus,
    LabeledRecordings,
    Source,
    SpeakerFolds,
    find_files,
    label_by_name,
    look_up_code,
    match_name,
)
from sercli.errors import CorpusError

NAME = "iemocap"
SESSIONS = ("01", "02", "03", "04", "05")
NO_AGREEMENT = "xxx"
MAX_BYTES = 1 << 20  # of a table of one dialog

LABEL_MAP = {
    "ang": "angry",
    "hap": "happy",
    "exc": "excited",
    "sad": "sad",
    "neu": "neutral",
    "fru": "frustrated",
    "sur": "surprised",
    "fea": "fearful",
    "dis": "disgust",
    "oth": "other",
}

_TURN = re.compile(r"Ses(?P<session>[0-9]{2})[FM]_(?P<dialog>\w+)_(?P<gender>[FM])[0-9X]+")
_DIALOG = re.compile(r"Ses[0-9]{2}[FM]_(?:impro|script)[0-9a-z_]+")
_EVALUATION = re.compile(r"^\[[0-9.]+ - [0-9.]+\]\t(\S+)\t(\w+)\t\[", re.MULTILINE)


def parse_name(turn: str, labels: dict[str, str]) -> Annotation | None:
    """Annotates a turn, such as ``Ses01F_impro01_F000``.

    Args:
        turn: Name of a recording.
        labels: The corpus's label of each turn.

    Returns:
        The annotation, or None for a whole dialog and for a turn without agreement.

    Raises:
        CorpusError: If it is not a name of the corpus, or no table of ``EmoEvaluation`` has it.
    """
    if _DIALOG.fullmatch(turn) or labels.get(turn) == NO_AGREEMENT:
        return None
    match = match_name(NAME, _TURN, turn, "session, dialog and turn, as in Ses01F_impro01_F000")
    if turn not in labels:
        msg = "no table of EmoEvaluation has this turn"
        raise CorpusError(msg)
    return Annotation(
        emotion=look_up_code(NAME, "label", labels[turn], LABEL_MAP),
        speaker=f"{NAME}-{match['session']}{match['gender']}",
        gender="female" if match["gender"] == "F" else "male",
        statement=match["dialog"],
    )


def read_labels(folder: Path) -> dict[str, str]:
    """Reads the label of each turn from the tables of ``EmoEvaluation`` below a folder.

    Raises:
        CorpusError: If there are none.
    """
    labels: dict[str, str] = {}
    for path in find_files(folder):
        if path.suffix.lower() == ".txt" and path.is_file() and path.stat().st_size <= MAX_BYTES:
            labels.update(_EVALUATION.findall(path.read_text(encoding="latin-1")))
    if not labels:
        msg = f"no labels under {folder}: expected the tables SessionN/dialog/EmoEvaluation/*.txt of IEMOCAP"
        raise CorpusError(msg)
    return labels


def label(source: Source) -> LabeledRecordings:
    """Labels turns by the tables of ``EmoEvaluation``, and lists which labeled ones are missing.

    Raises:
        CorpusError: If there are no recordings or no tables.
    """
    labels = read_labels(source.folder)
    expected = [turn for turn, code in labels.items() if code in LABEL_MAP]
    left_out = "a whole dialog, or a turn without agreement"
    return label_by_name(source, lambda turn: parse_name(turn, labels), expected, left_out=left_out)


CORPUS = Corpus(
    name=NAME,
    title="IEMOCAP",
    language="English",
    citation=(
        "Busso C, Bulut M, Lee CC, Kazemzadeh A, Mower E, Kim S, Chang JN, Lee S, Narayanan SS (2008) IEMOCAP: "
        "interactive emotional dyadic motion capture database. Language Resources and Evaluation 42: 335-359. "
        "https://doi.org/10.1007/s10579-008-9076-6"
    ),
    license="by agreement with USC",
    page="https://sail.usc.edu/iemocap",
    label_map=LABEL_MAP,
    label=label,
    counts={
        "angry": 1103,
        "happy": 595,
        "excited": 1041,
        "sad": 1084,
        "neutral": 1708,
        "frustrated": 1849,
        "surprised": 107,
        "fearful": 40,
        "disgust": 2,
        "other": 3,
    },
    speakers=10,
    hours=12.0,
    protocols=(
        SpeakerFolds(
            name="iemocap-sessions",
            description="leave one session out; four classes: angry, sad, neutral, happy (with excited)",
            test_speakers=tuple((f"{NAME}-{session}F", f"{NAME}-{session}M") for session in SESSIONS),
            labels={"angry": "angry", "happy": "happy", "excited": "happy", "sad": "sad", "neutral": "neutral"},
        ),
    ),
)
