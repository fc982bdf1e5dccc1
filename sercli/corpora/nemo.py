"""nEMO, acted emotional speech in Polish.

4,481 recordings: nine actors, five of them men, say up to 90 sentences in six emotions. The labels are in
``data.tsv``, whose names end in ``.wav`` whatever the format of the files. See
https://github.com/amu-cai/nEMO.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from sercli.corpora.base import Corpus, Fields, Labelling, Problem, Source, find_files, find_recordings
from sercli.corpora.rows import read_rows
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


def parse_row(row: Mapping[str, str]) -> Fields:
    """Labels in a row of ``data.tsv``; the number that ends `file_id` is that of the sentence.

    Raises:
        CorpusError: if the emotion is unknown, or there is no speaker.
    """
    if row["emotion"] not in LABEL_MAP:
        msg = f"unknown emotion {row['emotion']!r}, expected one of {', '.join(LABEL_MAP)}"
        raise CorpusError(msg)
    if not row["speaker_id"]:
        msg = "no speaker_id"
        raise CorpusError(msg)
    return Fields(
        emotion=LABEL_MAP[row["emotion"]],
        speaker=f"nemo-{row['speaker_id']}",
        gender=row["gender"],
        statement=PurePosixPath(row["file_id"]).stem.rpartition("_")[2],
    )


def label(source: Source) -> Labelling:
    """Labels recordings by ``data.tsv``, which may lie at any depth.

    Raises:
        CorpusError: if there is no recording, or no table that can be read.
    """
    tables = [path for path in find_files(source.folder) if path.name == TABLE]
    if not tables:
        msg = f"no {TABLE} under {source.folder}: expected the table of labels that comes with nEMO"
        raise CorpusError(msg)
    problems: list[Problem] = []
    recordings: dict[str, Path] = {}
    for path in find_recordings(source.folder, problems):
        recordings.setdefault(path.stem, path)
    # A sentence may hold a stray quote, which would swallow the rows after it if quotes meant anything.
    rows = read_rows(tables[0], COLUMNS, delimiter="\t", quoted=False)
    labelled: dict[str, tuple[Path, Fields]] = {}
    missing = []
    for line, row in rows:
        stem = PurePosixPath(row["file_id"]).stem
        try:
            fields = parse_row(row)
        except CorpusError as reason:
            problems.append(Problem(file=f"{tables[0]}, line {line}", reason=str(reason)))
            recordings.pop(stem, None)
            continue
        if stem in labelled:
            problems.append(Problem(file=f"{tables[0]}, line {line}", reason=f"{stem} is there twice"))
        elif path_of := recordings.pop(stem, None):
            labelled[stem] = (path_of, fields)
        else:
            missing.append(stem)
    return Labelling(
        labelled=tuple(sorted(labelled.values(), key=lambda pair: pair[0])),
        problems=tuple(problems),
        missing=tuple(sorted(missing)),
        extra=tuple(
            Problem(file=str(path.relative_to(source.folder)), reason=f"not in {TABLE}") for path in recordings.values()
        ),
    )


CORPUS = Corpus(
    name=NAME,
    title="nEMO",
    citation=(
        "Christop I (2024) nEMO: Dataset of Emotional Speech in Polish. LREC-COLING 2024, pp. 12111-12116. "
        "https://aclanthology.org/2024.lrec-main.1059"
    ),
    licence="CC BY-NC-SA 4.0",
    page="https://github.com/amu-cai/nEMO",
    label_map=LABEL_MAP,
    label=label,
    counts={"neutral": 809, "happy": 749, "sad": 769, "angry": 749, "fearful": 736, "surprised": 669},
)
"""nEMO; sercli knows no pinned download of it."""
