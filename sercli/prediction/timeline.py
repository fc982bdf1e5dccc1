"""Timelines: emotions over time, in formats for tables, players and editors."""

import hashlib
import html
import os
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from sercli.config import MIX
from sercli.errors import UsageError
from sercli.files import find_obstacle, make_csv_writer, write_by_rename
from sercli.prediction.discovery import Recording
from sercli.prediction.report import CsvRows, JsonLinesRows, JsonRows, RowWriter, encodable, to_cell
from sercli.prediction.rows import Prediction, SegmentPrediction, Value

LONGEST_NAME = 240  # bytes; file systems allow 255
MIXED_CHANNEL = "1"  # RTTM's name of a single channel


class TimelineWriter:
    """Base of timeline formats: writes the segments of recordings to a text stream.

    Args:
        stream: Stream to write to.
        labels: Labels of the probabilities.

    Attributes:
        single: Whether the format has no field for the recording, so that a file holds only one.
    """

    single = False

    def __init__(self, stream: IO[str], labels: Sequence[str]) -> None:
        self.stream, self.labels = stream, labels
        self.begin()

    def begin(self) -> None:
        """Writes the header of the format."""

    def write_recording(self, predictions: Sequence[Prediction]) -> None:
        """Writes the segments of a recording's rows, row by row."""
        for prediction in predictions:
            for segment in prediction.segments:
                self.write_segment(prediction, segment)

    def write_segment(self, prediction: Prediction, segment: SegmentPrediction) -> None:
        """Writes one segment."""
        raise NotImplementedError

    def finish(self) -> None:
        """Writes the footer of the format."""


class RowTimeline(TimelineWriter):
    """Base of formats with one row per segment."""

    rows: RowWriter

    def write_segment(self, prediction: Prediction, segment: SegmentPrediction) -> None:
        """Writes one row."""
        self.rows.write({"file": prediction.file, "channel": prediction.channel, **segment.to_row(self.labels)})

    def finish(self) -> None:
        """Writes what follows the last row."""
        self.rows.finish()


class CsvTimeline(RowTimeline):
    """CSV whose first three columns are those of an audformat segmented table; times in seconds."""

    def begin(self) -> None:
        """Chooses the columns."""
        probabilities = (f"p_{label}" for label in self.labels)
        columns = ("file", "start", "end", "channel", "emotion", "confidence", *probabilities)
        self.rows = CsvRows(self.stream, columns)


class TsvTimeline(TimelineWriter):
    """TSV like Whisper's: start and end in whole milliseconds, which have no decimal comma in any language."""

    def begin(self) -> None:
        """Writes the header."""
        self._row = make_csv_writer(self.stream, "\t")
        self._row(["start", "end", "file", "channel", "emotion", "confidence"])

    def write_segment(self, prediction: Prediction, segment: SegmentPrediction) -> None:
        """Writes one row."""
        times = [round(1000 * segment.start), round(1000 * segment.end)]
        cells: list[Value] = [prediction.file, prediction.channel, segment.emotion, segment.confidence]
        self._row([*times, *map(to_cell, cells)])


class JsonLinesTimeline(RowTimeline):
    """JSON Lines with one object per segment."""

    def begin(self) -> None:
        """Starts the rows."""
        self.rows = JsonLinesRows(self.stream)


class JsonTimeline(RowTimeline):
    """JSON list with one object per recording and channel, containing its segments."""

    def begin(self) -> None:
        """Starts the list."""
        self.rows = JsonRows(self.stream)

    def write_recording(self, predictions: Sequence[Prediction]) -> None:
        """Writes one object per row."""
        for prediction in predictions:
            segments = [segment.to_row(self.labels) for segment in prediction.segments]
            self.rows.write({"file": prediction.file, "channel": prediction.channel, "segments": segments})


class RttmTimeline(TimelineWriter):
    """NIST's RTTM, whose fifth field is a duration. Names are percent-encoded, because fields end at blanks."""

    def write_segment(self, prediction: Prediction, segment: SegmentPrediction) -> None:
        """Writes one line."""
        name = urllib.parse.quote(encodable(prediction.file), safe="/")
        channel = MIXED_CHANNEL if prediction.channel == MIX else prediction.channel
        duration, emotion = segment.end - segment.start, "_".join(segment.emotion.split())
        self.stream.write(
            f"SPEAKER {name} {channel} {segment.start:.3f} {duration:.3f} <NA> <NA> {emotion} <NA> <NA>\n"
        )


class CaptionTimeline(TimelineWriter):
    """Base of captions for players: segments of all channels, ordered by start time."""

    single = True

    def write_recording(self, predictions: Sequence[Prediction]) -> None:
        """Writes the segments of a recording."""
        pairs = [(prediction, segment) for prediction in predictions for segment in prediction.segments]
        for prediction, segment in sorted(pairs, key=lambda pair: pair[1].start):
            self.write_segment(prediction, segment)


class AudacityTimeline(CaptionTimeline):
    """Audacity labels: start, end and text, tab-separated."""

    def write_segment(self, prediction: Prediction, segment: SegmentPrediction) -> None:
        """Writes one line."""
        self.stream.write(f"{segment.start:.6f}\t{segment.end:.6f}\t{_caption(prediction, segment)}\n")


class SrtTimeline(CaptionTimeline):
    """SubRip subtitles."""

    mark = ","

    def begin(self) -> None:
        """Starts counting at 1."""
        self._count = 0

    def write_segment(self, prediction: Prediction, segment: SegmentPrediction) -> None:
        """Writes one subtitle."""
        self._count += 1
        times = f"{_clock(segment.start, self.mark)} --> {_clock(segment.end, self.mark)}"
        self.stream.write(f"{self._count}\n{times}\n{self._escape(_caption(prediction, segment))}\n\n")

    def _escape(self, caption: str) -> str:
        return caption.replace("<", "‹").replace(">", "›")  # SubRip has tags but no escapes


class VttTimeline(SrtTimeline):
    """WebVTT subtitles."""

    mark = "."

    def begin(self) -> None:
        """Writes the signature."""
        super().begin()
        self.stream.write("WEBVTT\n\n")

    def _escape(self, caption: str) -> str:
        return html.escape(caption, quote=False)


TIMELINES: dict[str, type[TimelineWriter]] = {
    ".csv": CsvTimeline,
    ".tsv": TsvTimeline,
    ".json": JsonTimeline,
    ".jsonl": JsonLinesTimeline,
    ".rttm": RttmTimeline,
    ".txt": AudacityTimeline,
    ".srt": SrtTimeline,
    ".vtt": VttTimeline,
}
"""Formats by suffix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelinePlan:
    """Files that timelines are written to.

    Attributes:
        target: File for all recordings, or a folder.
        suffix: Suffix of the format, a key of `TIMELINES`.
        sidecars: File of each recording, by its name; empty if there is one file for all.
    """

    target: Path
    suffix: str
    sidecars: dict[str, Path]


def plan_timelines(target: Path, kind: str, recordings: Sequence[Recording], *, folder: bool) -> TimelinePlan:
    """Plans, before any work, which files timelines are written to.

    Args:
        target: File whose suffix names the format, or a folder.
        kind: Format of the files in a folder, without the dot.
        recordings: Recordings of the run.
        folder: Whether `target` is a folder, even if it does not exist yet.

    Raises:
        UsageError: If the format is unknown or cannot hold several recordings, or if a file is in the way.
    """
    if folder or target.is_dir():
        suffix = f".{kind.lstrip('.').lower()}"
        _check_format(suffix)
        _refuse_file(target)
        sidecars = _name_sidecars(target, suffix, recordings)
        for parent in dict.fromkeys(path.parent for path in sidecars.values()):
            _refuse_file(parent)
        if blocked := next((path for path in sidecars.values() if path.is_dir()), None):
            msg = f"cannot write the timeline {blocked}: it is a folder; give another folder to --segments"
            raise UsageError(msg)
        return TimelinePlan(target=target, suffix=suffix, sidecars=sidecars)
    suffix = target.suffix.lower()
    if not suffix:
        names = ", ".join(TIMELINES)
        msg = f"{target} has no suffix that names a format: expected one of {names}, or a / at the end for a folder"
        raise UsageError(msg)
    _check_format(suffix)
    if TIMELINES[suffix].single and len(recordings) > 1:
        msg = (
            f"{target.name} cannot tell {len(recordings)} recordings apart: give a folder, as "
            f"--segments {target.stem}/ --segments-format {suffix[1:]}"
        )
        raise UsageError(msg)
    _refuse_file(target.parent)
    return TimelinePlan(target=target, suffix=suffix, sidecars={})


def write_timelines(
    plan: TimelinePlan, rows: Iterator[Sequence[Prediction]], labels: Sequence[str]
) -> Iterator[Sequence[Prediction]]:
    """Writes timelines while passing rows on; a sidecar appears at once, a common file at the end.

    Args:
        plan: Files to write.
        rows: Rows of one recording after another.
        labels: Labels of the probabilities.

    Yields:
        The same rows.
    """
    make = TIMELINES[plan.suffix]
    if plan.sidecars:
        for predictions in rows:
            # Not synced to disk one by one, because the next run can write them again.
            with write_by_rename(plan.sidecars[predictions[0].file], durable=False) as stream:
                writer = make(stream, labels)
                writer.write_recording(predictions)
                writer.finish()
            yield predictions
        return
    with write_by_rename(plan.target) as stream:
        writer = make(stream, labels)
        for predictions in rows:
            writer.write_recording(predictions)
            yield predictions
        writer.finish()


def _refuse_file(folder: Path) -> None:
    """Raises an error if a file is in the way of a folder."""
    obstacle = find_obstacle(folder)
    if obstacle:
        msg = f"cannot write timelines into {folder}: {obstacle} is not a folder"
        raise UsageError(msg)


def _check_format(suffix: str) -> None:
    if suffix not in TIMELINES:
        msg = f"unknown format of timelines {suffix[1:]!r}: expected one of {', '.join(TIMELINES)}"
        raise UsageError(msg)


def _name_sidecars(folder: Path, suffix: str, recordings: Sequence[Recording]) -> dict[str, Path]:
    """Names a file for each recording, in the tree it was found in, with its whole name to avoid collisions."""
    taken: set[str] = set()
    folders: set[str] = set()
    tries: Counter[str] = Counter()
    sidecars = {}
    for recording in recordings:
        inner, outer = _inside(recording.relative or recording.name), _inside(recording.name)
        paths = (_shorten(PurePosixPath(f"{name}{suffix}")) for name in _candidates(inner, outer, tries))
        path = next(path for path in paths if _is_free(path, taken, folders))
        taken.add(str(path).casefold())
        folders |= _folders_of(path)
        sidecars[recording.name] = folder / path
    return sidecars


def _shorten(path: PurePosixPath) -> PurePosixPath:
    """Shortens names in a path to what file systems allow; a digest replaces the removed part."""
    return PurePosixPath(*(_shorten_name(part) for part in path.parts))


def _shorten_name(name: str) -> str:
    content = os.fsencode(name)
    if len(content) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(content).hexdigest()[:12]
    stem = content[: LONGEST_NAME - 40].decode(errors="ignore")
    return f"{stem}~{digest}{PurePosixPath(name).suffix[:10]}"


def _is_free(path: PurePosixPath, taken: set[str], folders: set[str]) -> bool:
    """Whether no file or folder is in the way, also on case-insensitive file systems."""
    name = str(path).casefold()
    return name not in taken and name not in folders and not _folders_of(path) & taken


def _folders_of(path: PurePosixPath) -> set[str]:
    return {str(parent).casefold() for parent in path.parents}


def _candidates(inner: str, outer: str, tries: Counter[str]) -> Iterator[str]:
    """Yields names below the folder; `tries` counts those given before, by name without regard to case."""
    yield inner
    yield outer
    while True:
        tries[outer.casefold()] += 1
        yield f"~{tries[outer.casefold()] + 1}/{outer}"


def _inside(name: str) -> str:
    """Makes a relative path that cannot leave its folder."""
    parts = [part.replace(":", "_") for part in PurePosixPath(name).parts if part not in {"/", "//"}]
    return "/".join("_" if part == ".." else part for part in parts)


def _caption(prediction: Prediction, segment: SegmentPrediction) -> str:
    channel = "" if prediction.channel == MIX else f"[{prediction.channel}] "
    return f"{channel}{segment.emotion} {segment.confidence:.0%}"


def _clock(seconds: float, mark: str) -> str:
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{mark}{rest % 1000:03d}"
