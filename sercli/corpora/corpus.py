"""The description of a corpus, and how its recordings get their labels.

A corpus is one module of `sercli.corpora.datasets` that defines a `Corpus`.
"""

import contextlib
import filecmp
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from sercli.audio.sniff import SUFFIXES
from sercli.errors import CorpusError
from sercli.files import one_line
from sercli.labels import LabelMerger

LOSSLESS = (".wav", ".flac")  # of several recordings of one name, these count

# What file managers append to the name of a copy: "x (1)", "x - Copy", "x - Copy (2)", "x copy 2".
_COPY = re.compile(r"(?: \(\d+\)| - Copy(?: \(\d+\))?| copy(?: \d+)?)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """What a corpus states about a recording; fields as in `sercli.corpora.index.Utterance`."""

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
    """Recordings on disk that are to be labeled.

    Attributes:
        folder: Folder of the recordings, at any depth.
        labels: The user's table of labels, for a corpus that needs one.
        merge: Merges labels of the user into others.
        archives: Names of archives in the folder that were not unpacked.
        limit: Number of recordings to look at, the first by path; None for all.
    """

    folder: Path
    labels: Path | None = None
    merge: LabelMerger = field(default_factory=LabelMerger)
    archives: tuple[str, ...] = ()
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledRecordings:
    """The recordings of a source that have labels, and those that do not.

    Attributes:
        recordings: Recordings with their annotations, sorted by path.
        problems: Files that should have a label and do not.
        missing: Names of recordings that belong to the corpus and are not in the source.
        copies: Further copies of recordings; only the first copy is in `recordings`.
        extra: Recordings that do not belong to the corpus.
    """

    recordings: tuple[tuple[Path, Annotation], ...]
    problems: tuple[Problem, ...] = ()
    missing: tuple[str, ...] = ()
    copies: tuple[Problem, ...] = ()
    extra: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedFile:
    """A file on the web with a known size and checksum.

    Attributes:
        url: Its address.
        name: Its name on disk.
        size: Its size in bytes.
        md5: MD5 of its content in hexadecimal, as published.
    """

    url: str
    name: str
    size: int
    md5: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerFolds:
    """A protocol made for one corpus: which of its speakers test each fold.

    Attributes:
        name: Name in ``--protocol``.
        description: Description in one line, with its source.
        test_speakers: Names of the speakers that test each fold; together all speakers of the corpus.
        labels: Labels to keep, mapped to the label to merge into; empty keeps all unchanged.
        dev_by_speaker: Whether whole speakers are held out for development; False for a corpus with too few.
    """

    name: str
    description: str
    test_speakers: tuple[tuple[str, ...], ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    dev_by_speaker: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A corpus of emotional speech.

    Attributes:
        name: Name in the index and on the command line.
        title: Name in tables and messages.
        citation: How its authors want it cited, with a DOI or a URL.
        license: License of the recordings.
        language: Language of the recordings; empty if unknown.
        page: Web page of the corpus.
        label: Labels the recordings of a source; raises `CorpusError` if it cannot label any.
        label_map: Emotion for each of the corpus's own codes or labels; empty for the user's own recordings.
        counts: Number of utterances per emotion in the complete corpus; empty if unknown.
        speakers: Number of speakers in the complete corpus; 0 if unknown.
        hours: Length of the complete corpus in hours; 0 if unknown.
        defects: What is wrong with recordings of the published corpus, by file name without suffix.
        protocols: Protocols made for this corpus.
        archive: The archive to download, or None if sercli cannot download the corpus.
        needs_labels: Whether the user has to give a table of labels.
    """

    name: str
    title: str
    citation: str
    license: str
    page: str
    label: Callable[[Source], LabeledRecordings]
    language: str = ""
    label_map: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    speakers: int = 0
    hours: float = 0
    defects: Mapping[str, str] = field(default_factory=dict)
    protocols: tuple[SpeakerFolds, ...] = ()
    archive: PinnedFile | None = None
    needs_labels: bool = False

    @property
    def takes_any(self) -> bool:
        """Whether it takes the user's own recordings, with labels of any kind."""
        return not self.label_map


def find_files(folder: Path, problems: list[Problem] | None = None) -> Iterator[Path]:
    """Yields every file below a folder in sorted order, except hidden files and what macOS adds to archives.

    Follows links to folders but enters no folder twice, so that loops of links end.

    Args:
        folder: Where to start.
        problems: Gets the folders that cannot be read.
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
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        yield from (Path(place, name) for name in sorted(files) if not name.startswith("."))


def list_sound_files(folder: Path, problems: list[Problem] | None = None) -> list[Path]:
    """Returns the sound files below a folder, by suffix in any case, sorted.

    Raises:
        CorpusError: If there are none.
    """
    recordings = [path for path in find_files(folder, problems) if path.suffix.lower() in SUFFIXES]
    if not recordings:
        msg = f"no recording under {folder}: expected sound files such as WAV, FLAC, Ogg or MP3, at any depth"
        raise CorpusError(msg)
    return sorted(recordings)


def match_name(corpus: str, pattern: re.Pattern[str], name: str, expected: str) -> re.Match[str]:
    """Matches the name of a recording without suffix.

    Args:
        corpus: Corpus, for the message.
        pattern: Pattern of the whole name.
        name: Name.
        expected: Form of a name, for the message.

    Raises:
        CorpusError: If it does not match.
    """
    if match := pattern.fullmatch(name):
        return match
    case = ", in the same upper and lower case" if re.fullmatch(pattern.pattern, name, re.IGNORECASE) else ""
    msg = f"not a file name of {corpus}: expected {expected}{case}"
    raise CorpusError(msg)


def look_up_code(corpus: str, part: str, code: str, meanings: Mapping[str, str]) -> str:
    """Returns what a code in a name means.

    Raises:
        CorpusError: If the code is unknown; the message lists the known ones.
    """
    if code in meanings:
        return meanings[code]
    codes = list(meanings)
    known = f"{codes[0]} to {codes[-1]}" if codes[0].isdecimal() else ", ".join(codes)
    msg = f"not a file name of {corpus}: {part} {code}, expected {known}"
    raise CorpusError(msg)


def add_copy(path: Path, first: Path, folder: Path, copies: list[Problem], problems: list[Problem]) -> None:
    """Adds a recording with the name of another one to the copies, or to the problems if they differ.

    Args:
        path: The recording.
        first: The recording with that name that counts.
        folder: Folder that both are under.
        copies: Copies so far.
        problems: Problems so far.
    """
    name, other = (str(each.relative_to(folder)) for each in (path, first))
    same_format = path.suffix.lower() == first.suffix.lower()
    with contextlib.suppress(OSError):  # an unreadable one fails when it is decoded
        if same_format and not filecmp.cmp(path, first, shallow=False):
            problems.append(Problem(file=name, reason=f"has the name of {other} but another content"))
            return
    copies.append(Problem(file=name, reason=f"copy of {other}"))


def label_by_name(
    source: Source,
    parse: Callable[[str], Annotation | None],
    expected: Collection[str] = (),
    *,
    name_of: Callable[[Path], str] = attrgetter("stem"),
    left_out: str = "belongs to another part of the corpus",
) -> LabeledRecordings:
    """Labels the recordings of a source by their file names.

    Of several recordings with one name, such as those of an archive that holds the corpus twice, the first
    counts and the others are copies. So are files named like copies, such as ``x (1).wav`` beside ``x.wav``. A copy
    of the same format with another content is a problem.

    Args:
        source: Where to look for recordings.
        parse: Turns a file name without suffix into an annotation; returns None if it is to be
            left out, and raises `CorpusError` if the name is not one of the corpus.
        expected: Names without suffix of the complete corpus.
        name_of: Returns the name of a recording in the corpus, for corpora whose folders are a part of it or whose
            published names have faults.
        left_out: Why recordings are left out for which `parse` returns None.

    Raises:
        CorpusError: If there are no recordings.
    """
    problems: list[Problem] = []
    labeled: dict[str, tuple[Path, Annotation]] = {}
    copies: list[Problem] = []
    extra: list[Problem] = []
    # Files named like copies come last, so that originals count, and so does MP3 beside WAV of one recording.
    paths = sorted(
        list_sound_files(source.folder, problems)[: source.limit],
        key=lambda path: (bool(_COPY.search(path.stem)), path.suffix.lower() not in LOSSLESS),
    )
    for path in paths:
        name = str(path.relative_to(source.folder))
        stem = name_of(path.with_stem(_COPY.sub("", path.stem)))
        if first := labeled.get(stem):
            add_copy(path, first[0], source.folder, copies, problems)
            continue
        try:
            annotation = parse(stem)
        except CorpusError as reason:
            problems.append(Problem(file=name, reason=str(reason)))
            continue
        if annotation is None:
            extra.append(Problem(file=name, reason=left_out))
        else:
            labeled[stem] = (path, annotation)
    return LabeledRecordings(
        recordings=tuple(sorted(labeled.values(), key=lambda pair: pair[0])),
        problems=tuple(problems),
        missing=tuple(sorted(set(expected) - labeled.keys())),
        copies=tuple(copies),
        extra=tuple(extra),
    )
