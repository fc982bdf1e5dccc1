"""Tables that say something of recordings: rows by path, matched with the recordings of a run."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from sercli.corpora.rows import read_rows
from sercli.errors import CorpusError
from sercli.files import one_line
from sercli.prediction.discovery import Recording


def read_column(path: Path, column: str) -> dict[str, tuple[int, str]]:
    """Line and value of each recording in a column, by real path.

    Args:
        path: a CSV table with the columns ``file`` and `column`; files are taken from the table's folder unless
            absolute.
        column: the other one.

    Raises:
        CorpusError: if the table cannot be read, or says two things of one file.
    """
    values: dict[str, tuple[int, str]] = {}
    for line, row in read_rows(path, ("file", column)):
        place = os.path.realpath(path.parent / row["file"])
        first, value = values.setdefault(place, (line, row[column]))
        if value != row[column]:
            name = one_line(row["file"])
            msg = f"{path}, line {line}: {name} is {value!r} in line {first} and {row[column]!r} here"
            raise CorpusError(msg)
    return values


def match_recordings(table: Mapping[str, str], recordings: Sequence[Recording]) -> dict[str, str]:
    """What a table says of each recording, by the recording's name.

    Args:
        table: values by real path. A row stands for the file at its path; failing that, for the recording of the
            same file name, if both are the only ones of that name.
        recordings: those of the run.
    """
    in_table = Counter(os.path.basename(place) for place in table)  # noqa: PTH119 - plain text, thousands of it
    in_list = Counter(recording.path.name for recording in recordings)
    by_name = {os.path.basename(place): value for place, value in table.items()}  # noqa: PTH119
    values = {}
    for recording in recordings:
        name = recording.path.name
        value = table.get(os.path.realpath(recording.path))
        if value is None and in_table[name] == in_list[name] == 1:
            value = by_name[name]
        if value is not None:
            values[recording.name] = value
    return values
