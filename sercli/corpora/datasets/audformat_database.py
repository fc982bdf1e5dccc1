"""A database in audformat, such as those that audb downloads: the corpus ``audformat``.

Annotation: the scheme ``emotion`` of all tables, files or segments that span whole files; ``--map`` merges labels.
The schemes ``speaker`` and ``gender`` are used if they are there, also where the labels of ``speaker`` hold the
gender. The type of a table's split (train, dev, test or other) becomes the column ``split`` of the index.

Needs the package audformat (``pip install 'sercli[audformat]'``). Pickled tables are not read, since they can run
code: the database must have its tables as CSV or Parquet.

Protocols: ``split``, the database's own; with speakers, ``loso``, ``k`` folds, ``pooled`` and ``cross``.
"""

import math
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sercli.corpora.corpus import Annotation, Corpus, LabeledRecordings, Problem, Source, find_files
from sercli.corpora.label_tables import GENDERS, TOLERANCE, measure_recording
from sercli.errors import CorpusError, UsageError
from sercli.files import one_line
from sercli.labels import check_labels, clean_text, order_labels, read_label

if TYPE_CHECKING:
    import audformat
    import pandas as pd

NAME = "audformat"
HEADER = "db.yaml"
SUFFIXES = (".csv", ".parquet")  # of tables
MAX_GROWTH = 100  # factor by which aliases may make a header larger
_TABLE_NAME = re.compile(r"[\w-][\w. -]*")


def label(source: Source) -> LabeledRecordings:
    """Labels the recordings of a database.

    Raises:
        CorpusError: If there is no database or several, it cannot be read or has no scheme ``emotion``, or the package
            audformat is missing.
        UsageError: If labels differ only by case, spaces, hyphens or underscores.
    """
    headers = [path for path in find_files(source.folder) if path.name == HEADER]
    if len(headers) != 1:
        found = f"{len(headers)} databases" if headers else f"no {HEADER}"
        msg = f"{found} under {source.folder}: expected the folder of one audformat database"
        raise CorpusError(msg)
    (header,) = headers
    problems: list[Problem] = []
    labeled: dict[Path, Annotation] = {}
    for name, row in _read_rows(header):
        path = header.parent / name
        if reason := _find_problem(path, row, known=path in labeled):
            problems.append(Problem(file=name, reason=reason))
            continue
        try:
            labeled[path] = _make_annotation(row, source)
        except UsageError as reason_of_label:
            problems.append(Problem(file=name, reason=str(reason_of_label)))
    check_labels(order_labels(annotation.emotion for annotation in labeled.values()), least=0)
    return LabeledRecordings(
        recordings=tuple(sorted(labeled.items(), key=lambda pair: pair[0])), problems=tuple(problems)
    )


def _find_problem(path: Path, row: dict[str, Any], *, known: bool) -> str:
    if not path.is_file():
        return "no such file"
    if (
        known
        or row["start"] > TOLERANCE
        or (row["end"] and row["end"] < measure_recording(path, row["end"]) - TOLERANCE)
    ):
        return "has labels of segments: expected one for the whole recording"
    return "" if row["emotion"] else "has no label"


def _make_annotation(row: dict[str, Any], source: Source) -> Annotation:
    speaker, gender = clean_text(row["speaker"]), row["gender"].lower()
    return Annotation(
        emotion=source.merge(read_label(row["emotion"])),
        speaker=f"{NAME}-{speaker}" if speaker else "",
        gender=GENDERS.get(gender, gender),
        extra={"split": row["split"]} if row["split"] else {},
    )


def _read_rows(header: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields file and cells of each row of the scheme ``emotion``; start and end in seconds, end 0 for the file's."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of audformat about its own use of pandas
            table = _get_table(_load(header))
    except ImportError:
        msg = "an audformat database needs the package audformat: pip install 'sercli[audformat]'"
        raise CorpusError(msg) from None
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, OSError) as reason:
        msg = f"{header} cannot be read as an audformat database ({one_line(reason)})"
        raise CorpusError(msg) from None
    if table.empty:
        msg = f"{header} has no labels of a scheme 'emotion'"
        raise CorpusError(msg)
    texts = table.astype(object).where(table.notna(), "").astype(str)
    for (name, start, end), row in zip(table.index, texts.to_dict("records"), strict=True):
        seconds = (start.total_seconds(), end.total_seconds())
        yield name, {**row, "start": seconds[0], "end": 0.0 if math.isnan(seconds[1]) else seconds[1]}


def _get_table(database: "audformat.Database") -> "pd.DataFrame":
    """Returns labels, speakers, genders and splits, indexed by file, start and end."""
    import audformat

    table = database.get("emotion", ["speaker", "gender"])
    splits: dict[Any, str] = {}
    for name, split in database.splits.items():
        splits |= dict.fromkeys(database.get("emotion", splits=[name]).index, str(split.type))
    table["split"] = [splits.get(key, "") for key in table.index]
    table.index = audformat.utils.to_segmented_index(table.index)
    return table


def _limit_aliases(text: str) -> None:
    """Refuses YAML whose aliases make it grow beyond `MAX_GROWTH`, which a few nested ones can do.

    Raises:
        ValueError: If it would.
    """
    import yaml

    if "*" not in text:
        return
    count = 0  # nodes as written
    sizes: dict[str | None, int] = {}  # nodes in each anchored one, with its aliases replaced
    open_nodes: list[tuple[str | None, list[int]]] = [(None, [])]  # anchors, and sizes of their content
    for event in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, [1]))
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, content = open_nodes.pop()
            size = sum(content)
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1
        elif isinstance(event, yaml.AliasEvent):
            anchor, size = None, sizes.get(event.anchor, 1)
        else:
            continue
        count += 1
        sizes[anchor] = size
        open_nodes[-1][1].append(size)
    if sum(open_nodes[0][1]) > MAX_GROWTH * count:
        msg = "its YAML aliases are nested too deeply"
        raise ValueError(msg)


def _load(header: Path) -> "audformat.Database":
    """Loads a database with its tables, without what could run code: tags in the header, and pickled tables."""
    import audformat
    import yaml

    try:
        text = header.read_text(encoding="utf-8")
        _limit_aliases(text)
        content = yaml.safe_load(text)
    except yaml.YAMLError as reason:
        raise ValueError(one_line(reason)) from None
    database = audformat.Database.load_header_from_yaml(content)
    present = {path.name: path for path in header.parent.iterdir() if path.suffix in SUFFIXES}
    with tempfile.TemporaryDirectory() as folder:
        # Of the tables' copies, since audformat prefers a pickle where there is one.
        for name in [*database.misc_tables, *database.tables]:
            if not _TABLE_NAME.fullmatch(name):
                msg = f"the table name {name[:80]!r} is not a file name"  # it could lead to a pickle elsewhere
                raise ValueError(msg)
            for path in (present[f"db.{name}{s}"] for s in SUFFIXES if f"db.{name}{s}" in present):
                shutil.copyfile(path, Path(folder, path.name))
            database[name].load(str(Path(folder, f"db.{name}")))
    return database


CORPUS = Corpus(
    name=NAME,
    title="your own recordings, in an audformat database",
    citation="that of the database",
    license="that of the database",
    page="",
    label=label,
)
