"""What a corpus is: where it comes from, and how a recording of it gets its labels.

A corpus is one small module that holds a `Corpus`; `sercli.corpora.registry` lists it.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sercli.errors import CorpusError
from sercli.files import one_line

SUFFIXES: tuple[str, ...] = (".wav", ".flac", ".ogg")
"""Of the files that are taken for recordings, in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """What a corpus says of a recording; meanings as in `sercli.corpora.index.Utterance`."""

    emotion: str
    speaker: str = ""
    gender: str = ""
    intensity: str = ""
    statement: str = ""
    repetition: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A file that was not indexed, and why."""

    file: str
    reason: str

    def __str__(self) -> str:
        """The problem on one line."""
        return one_line(f"{self.file}: {self.reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What the labels are made from.

    Attributes:
        folder: where the recordings lie, at any depth.
        labels: the user's own table of labels, for the corpus ``csv``.
        label_map: from labels of that table to the eight emotions.
    """

    folder: Path
    labels: Path | None = None
    label_map: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """What a corpus makes of a source.

    Attributes:
        labelled: recordings and their labels, sorted by path.
        problems: files that should have had a label and have none.
        missing: names of recordings that the corpus should hold and the source does not.
        extra: recordings that do not belong to the corpus.
    """

    labelled: tuple[tuple[Path, Fields], ...]
    problems: tuple[Problem, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedFile:
    """A file on the web that is known to the byte.

    Attributes:
        url: where it is fetched from.
        name: of the file here.
        size: in bytes.
        md5: hex digest of its bytes, as its publisher states it.
    """

    url: str
    name: str
    size: int
    md5: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A corpus of emotional speech.

    Attributes:
        name: in the index and on the command line.
        title: for people.
        citation: how its authors want it cited, with a DOI or a URL.
        licence: under which it may be used.
        page: where it can be had.
        label_map: from the corpus's own codes or labels to the eight emotions.
        label: gives the recordings of a source their labels; raises `CorpusError` when nothing can be read.
        counts: utterances of each emotion in the whole corpus; empty if that is open.
        archive: the download, or None if none is known.
    """

    name: str
    title: str
    citation: str
    licence: str
    page: str
    label_map: Mapping[str, str]
    label: Callable[[Source], Labelling]
    counts: Mapping[str, int] = field(default_factory=dict)
    archive: PinnedFile | None = None


def find_files(folder: Path, problems: list[Problem] | None = None) -> Iterator[Path]:
    """Every file below a folder, sorted, hidden ones left out.

    Links to folders are followed, but no folder is entered twice, so that a loop of links ends.

    Args:
        folder: where to begin.
        problems: gets the folders that cannot be read.
    """

    def note(reason: OSError) -> None:
        if problems is not None:
            name = os.path.relpath(reason.filename or folder, folder)
            problems.append(Problem(file=name, reason=f"folder cannot be read ({reason.strerror})"))

    entered = set()
    for place, folders, files in os.walk(folder, onerror=note, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(files) if not name.startswith("."))


def find_recordings(folder: Path, problems: list[Problem] | None = None) -> list[Path]:
    """WAV, FLAC and OGG files below a folder, by suffix in any case, sorted.

    Raises:
        CorpusError: if there is none.
    """
    found = [path for path in find_files(folder, problems) if path.suffix.lower() in SUFFIXES]
    if not found:
        msg = f"no recording under {folder}: expected WAV, FLAC or OGG files at any depth"
        raise CorpusError(msg)
    return sorted(found)


def label_by_name(source: Source, parse: Callable[[str], Fields | None], expected: Collection[str] = ()) -> Labelling:
    """Labels the recordings of a source by their names.

    A name that comes twice, as in an archive that holds the corpus two times, counts once.

    Args:
        source: its folder is searched.
        parse: from a file name without suffix to its labels; None if it belongs to another part of the
            corpus; raises `CorpusError` if it cannot be read.
        expected: names without suffix of the whole corpus.

    Raises:
        CorpusError: if there is no recording.
    """
    problems: list[Problem] = []
    labelled: dict[str, tuple[Path, Fields]] = {}
    extra = []
    for path in find_recordings(source.folder, problems):
        name = str(path.relative_to(source.folder))
        if first := labelled.get(path.stem):
            extra.append(Problem(file=name, reason=f"same name as {first[0].relative_to(source.folder)}"))
            continue
        try:
            fields = parse(path.stem)
        except CorpusError as reason:
            problems.append(Problem(file=name, reason=str(reason)))
            continue
        if fields is None:
            extra.append(Problem(file=name, reason="belongs to another part of the corpus"))
        else:
            labelled[path.stem] = (path, fields)
    return Labelling(
        labelled=tuple(labelled.values()),
        problems=tuple(problems),
        missing=tuple(sorted(set(expected) - labelled.keys())),
        extra=tuple(extra),
    )
