"""Compares the scores of results folders."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sercli.errors import InputError, UsageError
from sercli.evaluation.predictions import PREDICTIONS_FILE, read_predictions
from sercli.evaluation.report import describe_test, read_report, report_errors
from sercli.evaluation.scores import summarize
from sercli.files import write_table


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedResults:
    """Scores of one results folder, 0 to 1; None where undefined.

    Attributes:
        recipe: Name of the recipe.
        protocol: Protocol, degradation and number of networks, if several.
        seeds: Number of seeds.
        utterances: Number of distinct test utterances.
        uar: Unweighted average recall.
        uar_low: Lower end of its 95% interval.
        uar_high: Upper end of its 95% interval.
        uar_std: Its standard deviation over seeds.
        accuracy: Accuracy.
        macro_f1: Mean F1 over the labels.
        expected_calibration_error: Mean gap between confidence and accuracy.
        uar_female: UAR for female speakers.
        uar_male: UAR for male speakers.
        training_seconds: Duration of the training of all folds (s).
        folder: Results folder.
    """

    recipe: str
    protocol: str
    seeds: int
    utterances: int
    uar: float | None
    uar_low: float | None
    uar_high: float | None
    uar_std: float | None
    accuracy: float | None
    macro_f1: float | None
    expected_calibration_error: float | None
    uar_female: float | None
    uar_male: float | None
    training_seconds: float
    folder: str


COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(ComparedResults))
"""Columns of the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Results folders sorted by UAR, best first.

    Attributes:
        rows: One row per folder.
        comparable: Whether all tested the same utterances with the same labels, protocol and degradation.
    """

    rows: tuple[ComparedResults, ...]
    comparable: bool


def compare(results: Iterable[Path | str] | Path | str, out: Path | str | None = None) -> Comparison:
    """Compares results folders by scores recomputed from their predictions.

    Example:
        ``compare(["results/emobox-default", "results/emobox-svm"]).rows[0].recipe``

    Args:
        results: Results folders, or degradation folders inside them.
        out: Table to write (CSV); None to write none.

    Raises:
        UsageError: If the name of the table does not end in ``.csv``.
        InputError: If a folder is missing or damaged, or none is given.
        OSError: If the table cannot be written.
    """
    if out is not None and Path(out).suffix.lower() != ".csv":
        msg = f"--out takes a name ending in .csv, found {str(out)!r}"
        raise UsageError(msg)
    folders = [results] if isinstance(results, Path | str) else results
    pairs = [_read(Path(folder)) for folder in folders]
    if not pairs:
        msg = "nothing to compare: give results folders, as 'sercli evaluate' writes them"
        raise InputError(msg)
    rows = sorted((row for row, _ in pairs), key=lambda row: (-(row.uar or 0.0), row.folder))
    if out is not None:
        write_table(Path(out), [asdict(row) for row in rows])
    return Comparison(rows=tuple(rows), comparable=len({test for _, test in pairs}) == 1)


def _read(folder: Path) -> tuple[ComparedResults, tuple[object, ...]]:
    """Reads a results folder; two folders are comparable if the second values are equal."""
    if not folder.is_dir():
        msg = f"{folder} is not a folder: expected results, as 'sercli evaluate' writes them"
        raise InputError(msg)
    report = read_report(folder)
    predictions = read_predictions(folder / PREDICTIONS_FILE)
    scores = summarize(predictions)
    overall = scores.overall
    with report_errors(folder):
        expected = report["overall"]["utterances"]
        if len(predictions.rows) != expected:
            msg = f"{folder} has {len(predictions.rows)} predictions, expected {expected} by its report: evaluate again"
            raise InputError(msg)
        uar_by_gender = {gender: main.uar for gender, main in overall.per_gender.items()}
        tested = frozenset((row.file, row.truth) for row in predictions.rows)
        compared = ComparedResults(
            recipe=str(report["recipe"]),
            protocol=describe_test(report),
            seeds=len(report["seeds"]),
            utterances=len({row.file for row in predictions.rows}),
            uar=overall.uar,
            uar_low=overall.uar_interval[0],
            uar_high=overall.uar_interval[1],
            uar_std=scores.spread["uar_by_seed_std"],
            accuracy=overall.accuracy,
            macro_f1=overall.macro_f1,
            expected_calibration_error=overall.expected_calibration_error,
            uar_female=uar_by_gender.get("female"),
            uar_male=uar_by_gender.get("male"),
            training_seconds=report["training_seconds"],
            folder=str(folder),
        )
        return compared, (str(report["protocol"]), str(report["degradation"]), tested)
