"""Compares results folders, and checks whether they are comparable."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sercli.errors import InputError
from sercli.evaluation.predictions import PREDICTIONS_FILE, TestRow, read_predictions
from sercli.evaluation.report import REPORT_FILE, check_report, name_test
from sercli.evaluation.scores import summarize
from sercli.files import read_json_object, write_table


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedResults:
    """Scores of one results folder, 0 to 1; None where undefined.

    Attributes:
        recipe: Name of the recipe.
        protocol: Protocol, degradation and number of members.
        seeds: Number of seeds.
        utterances: Number of different test utterances.
        uar: Unweighted average recall.
        uar_low: Lower end of its 95 % interval.
        uar_high: Upper end of its 95 % interval.
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


def compare_results(folders: Sequence[Path]) -> Comparison:
    """Reads results folders and recomputes all scores from their predictions.

    Args:
        folders: Results folders, or degradation folders inside them.

    Raises:
        InputError: If a folder is missing or damaged, or none is given.
    """
    if not folders:
        msg = "nothing to compare: give results folders, as 'sercli evaluate' writes them"
        raise InputError(msg)
    results = [_read(folder) for folder in folders]
    rows = sorted((row for row, _ in results), key=lambda row: (-(row.uar or 0.0), row.folder))
    return Comparison(rows=tuple(rows), comparable=len({tested for _, tested in results}) == 1)


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Writes the table as CSV, atomically.

    Raises:
        OSError: If the file cannot be written.
    """
    write_table(path, [asdict(row) for row in comparison.rows])


def _read(folder: Path) -> tuple[ComparedResults, tuple[object, ...]]:
    """Returns the row of a folder, and what it tested."""
    if not folder.is_dir():
        msg = f"{folder} is not a folder: expected results, as 'sercli evaluate' writes them"
        raise InputError(msg)
    report = read_json_object(folder / REPORT_FILE)
    predictions = read_predictions(folder / PREDICTIONS_FILE)
    overall = summarize(predictions).overall
    with check_report(folder):
        expected = report["overall"]["utterances"]
        if len(predictions.rows) != expected:
            msg = f"{folder} has {len(predictions.rows)} predictions, expected {expected} by its report: evaluate again"
            raise InputError(msg)
        genders = {gender: scores.uar for gender, scores in overall.per_gender.items()}
        row = ComparedResults(
            recipe=str(report["recipe"]),
            protocol=name_test(report),
            seeds=len(report["seeds"]),
            utterances=len({row.file for row in predictions.rows}),
            uar=overall.uar,
            uar_low=overall.uar_interval[0],
            uar_high=overall.uar_interval[1],
            uar_std=overall.uar_by_seed_std,
            accuracy=overall.accuracy,
            macro_f1=overall.macro_f1,
            expected_calibration_error=overall.expected_calibration_error,
            uar_female=genders.get("female"),
            uar_male=genders.get("male"),
            training_seconds=report["training_seconds"],
            folder=str(folder),
        )
        return row, (report["protocol"], report["degradation"], _list_tests(predictions.rows))


def _list_tests(predictions: Sequence[TestRow]) -> frozenset[tuple[str, str]]:
    return frozenset((prediction.file, prediction.truth) for prediction in predictions)
