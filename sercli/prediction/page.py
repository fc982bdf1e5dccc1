"""The report as one self-contained HTML page."""

import base64
import datetime as dt
import gzip
import mimetypes
import os
import posixpath
import sys
import urllib.parse
from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sercli.audio.envelope import LEVELS, POINTS
from sercli.audio.sniff import identify
from sercli.errors import UsageError
from sercli.files import write_by_rename
from sercli.labels import UNCERTAIN
from sercli.models.card import USE, is_published, list_limits
from sercli.page.render import render_page
from sercli.prediction.discovery import STDIN, Recording
from sercli.prediction.report import encodable
from sercli.prediction.rows import Prediction
from sercli.prediction.settings import MAX_EMBEDDED
from sercli.prediction.summary import BatchSummary, name_kind, share_of_speech
from sercli.version import __version__

if TYPE_CHECKING:
    from sercli.prediction.truth import Scores

UNSURE = -1
NO_ANSWER = {"no-speech": -2, "failed": -3}
"""Results besides labels, which are numbered from 0; these numbers are also in report.js and report.html."""
_MEDIA_TYPES = {  # of formats that browsers play, by FFmpeg's names
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mp3": "audio/mpeg",
    "aac": "audio/aac",
    "mov": "audio/mp4",
    "matroska": "audio/webm",
}
_LEVELS = {character: level for level, character in enumerate(LEVELS)}


class ReportPage:
    """Collects the rows of a report, and writes them as a page.

    Args:
        path: HTML file to write; links to recordings are relative to its folder.
        labels: Labels in the order of the probabilities.
        negative: Labels that count as negative.
        description: Content of ``model.json``.
        truth: Known emotions by name of the recording.
        embed: Whether to put the recordings themselves into the page.
    """

    def __init__(
        self,
        path: Path,
        *,
        labels: Sequence[str],
        negative: Sequence[str],
        description: Mapping[str, Any],
        truth: Mapping[str, str],
        embed: bool = False,
    ) -> None:
        self.path = path
        self._labels, self._description, self._truth, self._embed = tuple(labels), description, truth, embed
        self._numbers = {**{label: number for number, label in enumerate(labels)}, UNCERTAIN: UNSURE}
        self._negative = [self._numbers[label] for label in negative]
        self._folder = os.path.realpath(path.parent)
        self._links: dict[Path, str] = {}  # addresses of folders of recordings
        self._folders: dict[tuple[str, str], int] = {}  # positions by name and address
        self._kinds: dict[str, int] = {}
        self._rows: list[list[Any]] = []
        self._details = _Details(self._negative)

    def add_recording(self, recording: Recording, predictions: Sequence[Prediction]) -> None:
        """Adds the rows of the next recording."""
        folder, name = posixpath.split(recording.name)
        first, link = predictions[0], self._find_link(recording.path.parent)
        truth = self._truth.get(recording.name, "")
        self._rows.append(
            [
                self._folders.setdefault((encodable(folder), link), len(self._folders)),
                encodable(name),
                round(first.duration or 0.0, 2),
                self._link(recording),
                self._labels.index(truth) if truth in self._labels else -1,
                [self._describe(prediction) for prediction in predictions],
                self._classify(first.error) if first.error else 0,
            ]
        )
        for prediction in predictions:
            self._details.add(prediction, self._numbers)

    def _describe(self, row: Prediction) -> list[Any]:
        negative = sum(row.probabilities[number] for number in self._negative) if row.probabilities else 0.0
        return [
            row.channel,
            self._numbers[row.emotion] if row.emotion else NO_ANSWER[row.status],
            round(row.confidence or 0.0, 6),  # as in the report, so that both show the same percentage
            round(negative, 6),
            round(row.speech or 0.0, 1),
            [self._classify(warning) for warning in row.warnings],
            -1 if row.typicality is None else int(1000 * row.typicality),
        ]

    def _classify(self, reason: str) -> list[Any]:
        """Returns the kind of a reason, and its text if that differs."""
        kind, text = (encodable(part).removeprefix("is ") for part in (name_kind(reason), reason))
        return [self._kinds.setdefault(kind, len(self._kinds)), 0 if text == kind else text]

    def _count(self) -> "dict[str, defaultdict[str | int, Count]]":
        """Counts recordings and channels by number of the result, failure reason and warning.

        Under ``all``, counts those with any emotion, and with any warning.
        """
        kinds = list(self._kinds)
        channels, recordings = Counter[tuple[str, str | int]](), Counter[tuple[str, str | int]]()
        for *_, sides, error in self._rows:
            in_recording: list[set[tuple[str, str | int]]] = [{("failed", kinds[error[0]])}] if error else []
            for _, result, *_, warnings, _ in sides:
                groups = {("result", result), *(("warning", kinds[kind]) for kind, _ in warnings)}
                groups.update([("all", "emotion")] if result >= UNSURE else [])
                groups.update([("all", "doubt")] if warnings else [])
                in_recording.append(groups)
            channels.update(chain(*in_recording))
            recordings.update(set().union(*in_recording))
        counts: dict[str, defaultdict[str | int, Count]] = {
            name: defaultdict(Count) for name in ("result", "failed", "warning", "all")
        }
        for (group, name), count in recordings.items():
            counts[group][name] = Count(count, channels[group, name])
        return counts

    def _link(self, recording: Recording) -> str | int:
        """Returns a data URL or relative URL; 0 if that equals the shown name, -1 if the recording cannot be linked."""
        if self._embed:
            return _embed(recording.path)
        if recording.name == STDIN and recording.path != Path(STDIN):
            return -1  # it was in a temporary file
        name = recording.path.name
        return 0 if encodable(name) == encodable(posixpath.basename(recording.name)) == name else _quote(name)

    def _find_link(self, folder: Path) -> str:
        """Returns the address of a folder relative to the page."""
        if folder not in self._links:
            real = os.path.realpath(folder)
            try:
                self._links[folder] = _quote(os.path.relpath(real, self._folder).replace(os.sep, "/"))
            except ValueError:  # another drive of Windows
                self._links[folder] = Path(real).as_uri()
        return self._links[folder]

    def save(self, summary: BatchSummary, scores: "Scores | None") -> None:
        """Writes the page by rename.

        Args:
            summary: Counts of all rows.
            scores: Scores against known labels; None if there are none.

        Raises:
            OSError: If it cannot be written.
        """
        minimum = (self._description.get("typicality") or {}).get("minimum")
        training_data = self._description.get("training_data") or {}
        data = {
            "labels": list(self._labels),
            "negative": self._negative,
            "minimum": minimum,
            "folders": list(self._folders),
            "kinds": list(self._kinds),
            "rows": self._rows,
            "details": self._details.pack(),
        }

        page = render_page(
            "report.html",
            scripts=("table.js", "report.js"),
            data=data,
            labels=self._labels,
            summary=summary,
            shares=_tabulate_shares(summary, [*self._labels, UNCERTAIN]),
            confidence=sum(share.confidence for share in summary.total().values()),
            counts=self._count(),
            minimum=minimum,
            negative=[self._labels[number] for number in self._negative],
            scores=scores.to_dict() if scores and scores.scored else None,
            description=self._description,
            tested=_choose_figures(self._description.get("figures") or {}, self._description["labels"]),
            acted=is_published(training_data),
            use=USE,
            limits=list_limits(self._description),
            version=__version__,
            today=dt.datetime.now(tz=dt.UTC).astimezone().strftime("%Y-%m-%d %H:%M"),
        )
        with write_by_rename(self.path) as stream:
            stream.write(page)


class Count(NamedTuple):
    """Number of recordings and channels affected."""

    recordings: int = 0
    channels: int = 0


class _Details:
    """Timelines, probabilities and envelopes of all rows, packed; report.js unpacks them.

    Little-endian arrays one after the other, each with the lowest bytes of all its numbers first, which compresses
    better: segments of each row (uint32), tenths of a second from the end of the segment before to the start (int32)
    and from there to the end (uint16), emotions (int16), probabilities in percent (uint8, a column for each label),
    what to add to the sum of the negative labels' for their rounded probability together (int8), and the levels of the
    envelopes (uint8).
    """

    def __init__(self, negative: Sequence[int]) -> None:
        self._negative = negative
        self._counts, self._gaps, self._durations = array("I"), array("i"), array("H")
        self._emotions, self._percentages, self._corrections = array("h"), array("B"), array("b")
        self._envelopes = array("B")

    def add(self, row: Prediction, numbers: Mapping[str, int]) -> None:
        self._counts.append(len(row.segments))
        before = 0
        for segment in row.segments:
            start, end = round(10 * segment.start), round(10 * segment.end)
            self._gaps.append(start - before)
            self._durations.append(end - start)
            self._emotions.append(numbers[segment.emotion])
            percentages = [round(100 * share) for share in segment.probabilities]
            negative = sum(segment.probabilities[number] for number in self._negative)
            self._percentages.extend(percentages)
            self._corrections.append(round(100 * negative) - sum(percentages[number] for number in self._negative))
            before = end
        self._envelopes.extend(_LEVELS[level] for level in row.envelope.ljust(POINTS, LEVELS[0]))

    def pack(self) -> dict[str, Any]:
        of_segments = (self._gaps, self._durations, self._emotions, self._percentages, self._corrections)
        content = b"".join(map(_by_significance, (self._counts, *of_segments, self._envelopes)))
        packed = base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
        return {"segments": len(self._gaps), "points": POINTS, "levels": len(LEVELS), "packed": packed}


def _by_significance(values: "array[int]") -> bytes:
    """Returns the bytes of numbers: the lowest byte of each, then the next ones."""
    content = values.tobytes()
    order = range(values.itemsize) if sys.byteorder == "little" else reversed(range(values.itemsize))
    return b"".join(content[start :: values.itemsize] for start in order)


def check_embedded(recordings: Sequence[Recording]) -> None:
    """Checks, before any work, that a browser can take the audio to embed.

    Raises:
        UsageError: If the recordings are larger than `MAX_EMBEDDED` together.
    """
    size = sum(recording.path.stat().st_size for recording in recordings if recording.path.is_file())
    if size > MAX_EMBEDDED:
        msg = (
            f"--embed-audio is for a few recordings: these have {size / 1e6:.0f} MB, expected at most "
            f"{MAX_EMBEDDED / 1e6:.0f} MB; leave it out, and the page plays the recordings where they are"
        )
        raise UsageError(msg)


def _embed(path: Path) -> str | int:
    try:
        kind = _MEDIA_TYPES.get(identify(path).demuxer) or mimetypes.guess_type(path.name)[0] or "audio/wav"
        return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
    except OSError:
        return -1  # its row says why


def _quote(path: str) -> str:
    return urllib.parse.quote(os.fsencode(path))


def _tabulate_shares(summary: BatchSummary, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Tabulates each emotion's share of speech, over all rows first, then by channel if there are several."""
    groups = {"all": summary.total(), **(dict(sorted(summary.emotions.items())) if len(summary.emotions) > 1 else {})}
    shares = []
    for name, emotions in groups.items():
        of_speech = share_of_speech(emotions)
        shares.append(
            {
                "name": name,
                "of": {
                    label: {
                        "speech": of_speech[label],
                        "rows": emotions[label].rows,
                        "confidence": emotions[label].mean_confidence,
                    }
                    for label in labels
                    if label in emotions
                },
            }
        )
    return shares


def _choose_figures(figures: Mapping[str, Any], labels: Sequence[str]) -> Mapping[str, Any] | None:
    """Chooses the first test of all labels on unseen speakers, which says most about new recordings."""
    chosen = (score for score in figures.values() if score.get("labels", labels) == labels)
    return next((score for score in chosen if score.get("speaker_independent") and score.get("uar") is not None), None)
