"""The user's own recordings, labelled in a CSV file: the corpus ``csv``.

The columns ``file`` and ``emotion`` are needed; ``speaker``, ``gender``, ``intensity``, ``statement`` and
``repetition`` are taken when there; all others are kept behind those of the index.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from sercli.corpora.base import Corpus, Fields, Labelling, Problem, Source
from sercli.corpora.index import COLUMNS
from sercli.corpora.rows import read_rows
from sercli.errors import CorpusError, UsageError
from sercli.labels import EMOTIONS, to_emotion

NAME = "csv"
REQUIRED = ("file", "emotion")
SHOWN = 5  # offending rows that a message names

_GENDERS = {"f": "female", "m": "male"}


def parse_row(row: Mapping[str, str], label_map: Mapping[str, str]) -> Fields | None:
    """Labels in a row of the user's table, or None if its emotion is not among the eight."""
    emotion = to_emotion(row["emotion"], label_map) or to_emotion(row["emotion"].lower(), label_map)
    if emotion is None:
        return None
    speaker, gender = row.get("speaker", ""), row.get("gender", "").lower()
    return Fields(
        emotion=emotion,
        speaker=f"{NAME}-{speaker}" if speaker else "",
        gender=_GENDERS.get(gender, gender),
        intensity=row.get("intensity", ""),
        statement=row.get("statement", ""),
        repetition=row.get("repetition", ""),
        extra={name: value for name, value in row.items() if name not in COLUMNS},
    )


def label(source: Source) -> Labelling:
    """Labels the recordings that the table names, relative to the source's folder.

    Raises:
        UsageError: if the source has no table.
        CorpusError: if the table cannot be read, names a file twice, or holds labels that are not among the
            eight and not mapped.
    """
    if source.labels is None:
        msg = "the corpus csv needs a table of labels: give it with --labels FILE"
        raise UsageError(msg)
    unknown: list[tuple[int, str]] = []
    lines: dict[Path, int] = {}
    labelled: list[tuple[Path, Fields]] = []
    problems = []
    for line, row in read_rows(source.labels, REQUIRED):
        where = f"{source.labels}, line {line}"
        if not row["file"]:
            msg = f"{where}: the cell 'file' is empty"
            raise CorpusError(msg)
        path = Path(os.path.abspath(source.folder / row["file"]))  # noqa: PTH100 - keeps links
        if path in lines:
            msg = f"{where}: {row['file']} is already on line {lines[path]}; a recording has one label"
            raise CorpusError(msg)
        lines[path] = line
        fields = parse_row(row, source.label_map)
        if fields is None:
            unknown.append((line, row["emotion"]))
        elif not os.path.exists(path):  # noqa: PTH110 - False also where the name is too long
            problems.append(Problem(file=where, reason=f"no such file: {path}"))
        else:
            labelled.append((path, fields))
    if unknown:
        raise CorpusError(_describe_unknown(source.labels, unknown))
    return Labelling(
        labelled=tuple(sorted(labelled, key=lambda pair: pair[0])),
        problems=tuple(problems),
    )


def _describe_unknown(table: Path, unknown: list[tuple[int, str]]) -> str:
    shown = "; ".join(f"line {line}: {text[:40]!r}" for line, text in unknown[:SHOWN])
    more = f"; and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    return (
        f"{table} holds labels that are no emotion ({shown}{more}): expected {', '.join(EMOTIONS)}; "
        f"map others with --map, as in --map surprise=surprised"
    )


CORPUS = Corpus(
    name=NAME,
    title="the user's own recordings",
    citation="none",
    licence="that of the recordings",
    page="",
    label_map={emotion: emotion for emotion in EMOTIONS},
    label=label,
)
"""Recordings that a CSV file labels."""
