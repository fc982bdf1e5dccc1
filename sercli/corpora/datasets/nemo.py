"""nEMO, acted emotional speech in Polish.

Origin: Christop 2024, https://aclanthology.org/2024.lrec-main.1059. Nine actors (4 women, 5 men) speak up to 90
sentences each.

Annotation: the emotion that the actor was asked for, one of six, in ``data.tsv``. The names in that table end in
``.wav`` whatever the format of the files.

Counts: 4,481 recordings; 809 neutral, 749 happy, 769 sad, 749 angry, 736 fearful, 669 surprised.

License: CC BY-NC-SA 4.0. Get it from https://github.com/amu-cai/nEMO; sercli cannot download it.

Protocols: none of its own; ``loso``, ``k`` folds, ``pooled`` and ``cross``.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from sercli.corpora.corpus import (
    Annotation,
    Corpus,
    LabeledRecordings,
    Problem,
    Source,
    add_copy,
    find_files,
    list_sound_files,
)
from sercli.corpora.csv_tables import read_rows
from sercli.errors import CorpusError

NAME = "nemo"
TABLE = "data.tsv"
COLUMNS = ("file_id", "emotion", "speaker_id", "gender")

LABEL_MAP = {
    "anger": "angry",
    "fear": "fearful",
    "happiness": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprised": "surprised",
}


def parse_row(row: Mapping[str, str]) -> Annotation:
    """Reads the annotation in a row of ``data.tsv``; the number that ends `file_id` is that of the sentence.

    Raises:
        CorpusError: If the emotion is unknown or the speaker is missing.
    """
    if row["emotion"] not in LABEL_MAP:
        msg = f"unknown emotion {row['emotion']!r}, expected one of {', '.join(LABEL_MAP)}"
        raise CorpusError(msg)
    if not row["speaker_id"]:
        msg = "no speaker_id"
        raise CorpusError(msg)
    return Annotation(
        emotion=LABEL_MAP[row["emotion"]],
        speaker=f"nemo-{row['speaker_id']}",
        gender=row["gender"],
        statement=PurePosixPath(row["file_id"]).stem.rpartition("_")[2],
    )


def label(source: Source) -> LabeledRecordings:
    """Labels recordings by ``data.tsv``, at any depth.

    Raises:
        CorpusError: If there are no recordings, or the table is missing or unreadable.
    """
    tables = [path for path in find_files(source.folder) if path.name == TABLE]
    if not tables:
        msg = f"no {TABLE} under {source.folder}: expected the table of labels that comes with nEMO"
        raise CorpusError(msg)
    problems: list[Problem] = []
    recordings: dict[str, Path] = {}
    copies: list[Problem] = []
    for path in list_sound_files(source.folder, problems):
        first = recordings.setdefault(path.stem, path)
        if first is not path:
            add_copy(path, first, source.folder, copies, problems)
    # A sentence may hold a stray quote, which would swallow the rows after it if quotes meant anything.
    rows = read_rows(tables[0], COLUMNS, delimiter="\t", quoted=False)
    labeled: dict[str, tuple[Path, Annotation]] = {}
    missing = []
    for line, row in rows:
        stem = PurePosixPath(row["file_id"]).stem
        try:
            annotation = parse_row(row)
        except CorpusError as reason:
            problems.append(Problem(file=f"{tables[0]}, line {line}", reason=str(reason)))
            recordings.pop(stem, None)
            continue
        if stem in labeled:
            problems.append(Problem(file=f"{tables[0]}, line {line}", reason=f"{stem} appears twice"))
        elif recording := recordings.pop(stem, None):
            labeled[stem] = (recording, annotation)
        else:
            missing.append(stem)
    return LabeledRecordings(
        recordings=tuple(sorted(labeled.values(), key=lambda pair: pair[0])),
        problems=tuple(problems),
        missing=tuple(sorted(missing)),
        copies=tuple(copies),
        extra=tuple(
            Problem(file=str(path.relative_to(source.folder)), reason=f"not in {TABLE}") for path in recordings.values()
        ),
    )


CORPUS = Corpus(
    name=NAME,
    title="nEMO",
    language="Polish",
    citation=(
        "Christop I (2024) nEMO: Dataset of Emotional Speech in Polish. LREC-COLING 2024, pp. 12111-12116. "
        "https://aclanthology.org/2024.lrec-main.1059"
    ),
    license="CC BY-NC-SA 4.0",
    page="https://github.com/amu-cai/nEMO",
    label_map=LABEL_MAP,
    label=label,
    counts={"neutral": 809, "happy": 749, "sad": 769, "angry": 749, "fearful": 736, "surprised": 669},
    speakers=9,
    hours=3.1,
)
