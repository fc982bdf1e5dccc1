"""Chooses, checks and writes the output files of a batch."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict

from sercli.caches import is_writable
from sercli.errors import InputError, UsageError
from sercli.files import read_json_object, remove_leftovers, write_json
from sercli.prediction.discovery import Recording
from sercli.prediction.report import PAGE, check_report_path, encodable, name_confusions, name_summary
from sercli.prediction.summary import BatchSummary
from sercli.prediction.timeline import TimelinePlan, plan_timelines

if TYPE_CHECKING:
    from sercli.prediction.truth import Scores


class OutputOptions(TypedDict, total=False):
    """What `predict_folder` writes beside its report.

    Attributes:
        html: Page to write in addition to a report in another format.
        embed_audio: Whether to embed the recordings in the page instead of linking them.
        segments: Timeline of all recordings, or a folder for one timeline per recording: one that exists, or text
            ending in ``/``.
        segments_format: Format of the timelines in a folder; None for csv.
    """

    html: Path | str | None
    embed_audio: bool
    segments: Path | str | None
    segments_format: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Files that a batch writes.

    Attributes:
        report: Report; None to stream or collect the rows.
        page: HTML page; the same as `report` if that is one; None for no page.
        timelines: Timelines; None if there are none.
    """

    report: Path | None = None
    page: Path | None = None
    timelines: TimelinePlan | None = None

    @classmethod
    def choose(cls, out: Path | str | None, html: Path | str | None, *, embed_audio: bool) -> Self:
        """Checks the paths of report and page, before recordings are searched.

        Raises:
            UsageError: If a path cannot be written, or the arguments contradict each other.
        """
        report = None if out is None else Path(out)
        if report:
            check_report_path(report)
        return cls(report=report, page=_choose_page(report, html, embed=embed_audio))

    def add_timelines(self, segments: str, kind: str | None, recordings: Sequence[Recording]) -> Self:
        """Returns the outputs with the timelines of the recordings.

        Args:
            segments: Timeline of all recordings, or a folder, ending in ``/``, for one each; empty for none.
            kind: Format of the timelines in a folder; None for csv.
            recordings: Recordings to be scored.

        Raises:
            UsageError: If the format is unknown, or is given for a single file.
        """
        return replace(self, timelines=_plan_timelines(segments, kind, recordings))

    def check_paths(self, inputs: Sequence[Path]) -> None:
        """Checks, before any work, that outputs can be written and none would overwrite another or an input.

        Raises:
            UsageError: If one would, or cannot be written; the message names it.
        """
        taken = {os.path.realpath(path) for path in inputs}
        for path in self._list_written():
            real = os.path.realpath(path)
            if real in taken:
                msg = f"{path} is read or written already: give another name for the report or the timelines"
                raise UsageError(msg)
            taken.add(real)
        for file in (self.report, self.page):
            if file and self.timelines and _lies_in(self.timelines.target, file):
                msg = f"{self.timelines.target} would lie inside the report, which is a file: give another folder"
                raise UsageError(msg)
        for folder in dict.fromkeys(path.absolute().parent for path in self._list_written()):
            if not is_writable(folder):
                msg = f"cannot write into {folder}: it is read-only, or its permissions forbid it"
                raise UsageError(msg)

    def _list_written(self) -> Iterator[Path]:
        if self.report:
            yield from (self.report, name_summary(self.report), name_confusions(self.report))
        if self.page and self.page != self.report:
            yield self.page
        if self.timelines:
            yield from list(self.timelines.sidecars.values()) or [self.timelines.target]

    def remove_leftovers(self) -> None:
        """Removes the temporary files of killed runs."""
        remove_leftovers(self._list_written())

    def save_summary(self, summary: BatchSummary, scores: "Scores | None", seconds: float) -> tuple[Path, ...]:
        """Writes the files that accompany a report; returns all outputs.

        Raises:
            OSError: If one cannot be written.
        """
        saved: list[Path] = []
        if self.report:
            outdated = _drew_confusions(self.report)
            facts: dict[str, Any] = {"report": encodable(self.report.name), "seconds": round(seconds, 3)}
            facts.update(scores.to_dict() if scores else {})
            write_json(name_summary(self.report), {**summary.to_dict(), **facts})
            saved += [self.report, name_summary(self.report)]
            if scores and scores.scored:
                from sercli.prediction.truth import save_confusions

                saved.append(save_confusions(self.report, scores))
            elif outdated:
                name_confusions(self.report).unlink(missing_ok=True)
        if self.page and self.page != self.report:
            saved.append(self.page)
        return (*saved, *([self.timelines.target] if self.timelines else []))


def _drew_confusions(report: Path) -> bool:
    """Whether an earlier run of this report, not of another with the same stem, drew the confusion matrix beside it."""
    try:
        earlier = read_json_object(name_summary(report))
    except InputError:
        return False
    return earlier.get("report") == encodable(report.name) and bool(earlier.get("scored"))


def _choose_page(report: Path | None, html: Path | str | None, *, embed: bool) -> Path | None:
    if report and report.suffix.lower() == PAGE:
        if html is not None:
            msg = f"{report} is an HTML page already: give --html only beside a report of another format"
            raise UsageError(msg)
        return report
    if html is None:
        if embed:
            msg = "--embed-audio requires an HTML page: give --html FILE, or --out with a name ending in .html"
            raise UsageError(msg)
        return None
    page = Path(html)
    if page.suffix.lower() != PAGE:
        msg = f"--html expects a name ending in {PAGE}, found {page.name!r}"
        raise UsageError(msg)
    check_report_path(page)
    return page


def _plan_timelines(segments: str, kind: str | None, recordings: Sequence[Recording]) -> TimelinePlan | None:
    if not segments:
        if kind is not None:
            msg = "--segments-format requires --segments with a folder for the timelines, ending in /"
            raise UsageError(msg)
        return None
    folder = segments.endswith(("/", os.sep))
    timelines = plan_timelines(Path(segments), kind or "csv", recordings, folder=folder)
    if kind is not None and not timelines.sidecars:
        msg = f"--segments-format is for a folder of timelines: the suffix of {segments} names its format"
        raise UsageError(msg)
    return timelines


def _lies_in(path: Path, folder: Path) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep)
