"""The user's own recordings, labeled in a table: the corpus ``csv``.

Annotation: a table with a header (CSV, TSV or separated by semicolons) with the columns ``file`` and
``emotion``, which holds labels of any kind. The columns ``speaker``, ``gender``, ``intensity``, ``statement``,
``repetition`` and ``split`` are used if they are there; other columns are appended to the index.

Protocols: with speakers, ``loso``, ``k`` folds, ``pooled`` and ``cross``; without them, ``paper``, ``random10`` and, to
test on, ``cross``; ``split`` if there is a column of this name.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from sercli.corpora.corpus import Annotation, Corpus, LabeledRecordings, Problem, Source, list_sound_files
from sercli.corpora.csv_tables import Row, read_rows
from sercli.corpora.index import COLUMNS
from sercli.corpora.label_tables import GENDERS, SPAN, match_files, refuse_segments
from sercli.errors import CorpusError, UsageError
from sercli.labels import LabelMerger, check_labels, clean_text, read_label

NAME = "csv"
REQUIRED = ("file", "emotion")
OPTIONAL = ("speaker", "gender", "intensity", "statement", "repetition", "split")


def parse_row(row: Mapping[str, str], merge: LabelMerger) -> Annotation:
    """Reads the annotation in a row of the table, and merges its label.

    Raises:
        UsageError: If the label cannot be one.
    """
    emotion = merge(read_label(row["emotion"]))
    speaker, gender = clean_text(row.get("speaker", "")), row.get("gender", "").lower()
    return Annotation(
        emotion=emotion,
        speaker=f"{NAME}-{speaker}" if speaker else "",
        gender=GENDERS.get(gender, gender),
        intensity=row.get("intensity", ""),
        statement=row.get("statement", ""),
        repetition=row.get("repetition", ""),
        extra={name: value for name, value in row.items() if name not in COLUMNS},
    )


def label(source: Source) -> LabeledRecordings:
    """Labels the recordings that the table names.

    Paths in the table start from the source's folder. A row whose path is not there, such as one from another
    machine, belongs to the recording below the folder that `match_files` finds for it.

    Raises:
        UsageError: If the source has no table.
        CorpusError: If the table cannot be read, names a file twice, labels segments, or holds labels that cannot be
            labels or differ only by case, spaces, hyphens or underscores.
    """
    if source.labels is None:
        msg = f"the corpus {NAME} needs a table of labels: give it with --labels FILE"
        raise UsageError(msg)
    rows = read_rows(source.labels, REQUIRED, optional=(*OPTIONAL, *SPAN))
    _refuse_empty_names(source.labels, rows)
    paths = _locate_recordings(rows, source.folder)
    refuse_segments(source.labels, [(row, paths[row[1]["file"]]) for row in rows])
    lines: dict[Path, int] = {}
    emotions: dict[str, None] = {}
    labeled: list[tuple[Path, Annotation]] = []
    problems = []
    for line, row in rows:
        where = f"{source.labels}, line {line}"
        path = paths[row["file"]]
        if path in lines:
            msg = f"{where}: {row['file']} is already on line {lines[path]}: a recording has one label, keep one row"
            raise CorpusError(msg)
        lines[path] = line
        if not row["emotion"]:
            problems.append(Problem(file=where, reason=f"{row['file']} has no label"))
            continue
        with _name_place(where):
            annotation = parse_row(row, source.merge)
        emotions[annotation.emotion] = None
        if not os.path.exists(path):  # noqa: PTH110 - False also where the name is too long
            problems.append(Problem(file=where, reason=f"no such file: {path}"))
        else:
            labeled.append((path, annotation))
    with _name_place(str(source.labels)):
        check_labels(list(emotions), least=0)
    return LabeledRecordings(
        recordings=tuple(sorted(labeled, key=lambda pair: pair[0])),
        problems=tuple(problems),
    )


@contextlib.contextmanager
def _name_place(where: str) -> Iterator[None]:
    """Makes invalid labels an error of the table."""
    try:
        yield
    except UsageError as reason:
        msg = f"{where}: {reason}"
        raise CorpusError(msg) from None


def _refuse_empty_names(table: Path, rows: list[Row]) -> None:
    for line, row in rows:
        if not row["file"]:
            msg = f"{table}, line {line}: the cell 'file' is empty"
            raise CorpusError(msg)


def _locate_recordings(rows: list[Row], folder: Path) -> dict[str, Path]:
    """Maps each path in the table to its recording, or to a missing file if there is none."""
    paths = {row["file"]: Path(os.path.abspath(folder / row["file"])) for _, row in rows}  # noqa: PTH100 - keeps links
    if all(os.path.lexists(path) for path in paths.values()):
        return paths
    try:
        recordings = list_sound_files(folder)
    except CorpusError:
        return paths
    matches = {name: recording for recording, name in match_files(list(paths), recordings, folder).items()}
    return {name: path if os.path.lexists(path) else matches.get(name, path) for name, path in paths.items()}


CORPUS = Corpus(
    name=NAME,
    title="your own recordings, labeled in a table",
    citation="none",
    license="that of the recordings",
    page="",
    label=label,
    needs_labels=True,
)
