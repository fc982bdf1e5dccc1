"""Results folders side by side: what each reached, with its interval, and whether they may be compared at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sercli.errors import InputError
from sercli.evaluation.results import name_test, read_predictions, refuse_odd_report, summarise
from sercli.files import read_json_object, write_table

COLUMNS: tuple[str, ...] = (
    "recipe",
    "protocol",
    "seeds",
    "utterances",
    "uar",
    "uar_low",
    "uar_high",
    "uar_deviation",
    "accuracy",
    "macro_f1",
    "expected_calibration_error",
    "uar_female",
    "uar_male",
    "training_seconds",
    "folder",
)
"""Of the table; scores are 0 to 1, None where undefined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Results folders in order of their UAR, the best first.

    Attributes:
        rows: one dict of `COLUMNS` a folder.
        alike: whether all tested the same utterances by the same protocol, through the same channel and equally
            enrolled, so that their figures may be compared.
    """

    rows: tuple[dict[str, Any], ...]
    alike: bool


def compare_results(folders: Sequence[Path]) -> Comparison:
    """Reads results folders; every score is computed anew from their predictions.

    Raises:
        InputError: if a folder is missing or damaged, or none is given.
    """
    if not folders:
        msg = "nothing to compare: give results folders, as 'sercli evaluate' makes"
        raise InputError(msg)
    read = [_read(folder) for folder in folders]
    rows = sorted((row for row, _ in read), key=lambda row: (-(row["uar"] or 0.0), row["folder"]))
    return Comparison(rows=tuple(rows), alike=len({tested for _, tested in read}) == 1)


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Writes the table as CSV, by rename.

    Raises:
        OSError: if it cannot be written.
    """
    write_table(path, comparison.rows)


def _read(folder: Path) -> tuple[dict[str, Any], tuple[object, ...]]:
    if not folder.is_dir():
        msg = f"{folder} is no folder: expected results, as 'sercli evaluate' makes"
        raise InputError(msg)
    report = read_json_object(folder / "report.json")
    predictions = read_predictions(folder / "predictions.csv")
    overall = summarise(predictions)["overall"]
    with refuse_odd_report(folder):
        told = report["overall"]["utterances"]
        if len(predictions) != told:
            msg = f"{folder} holds {len(predictions)} predictions, its report tells of {told}: evaluate again"
            raise InputError(msg)
        low, high = overall["uar_interval"]
        row = {
            "recipe": report["recipe"],
            "protocol": name_test(report),
            "seeds": len(report.get("ensemble") or report["seeds"]),
            "utterances": len({prediction.file for prediction in predictions}),
            "uar": overall["uar"],
            "uar_low": low,
            "uar_high": high,
            "uar_deviation": overall["uar_by_seed_deviation"],
            **{name: overall[name] for name in ("accuracy", "macro_f1", "expected_calibration_error")},
            **{f"uar_{g}": overall["per_gender"].get(g, {}).get("uar") for g in ("female", "male")},
            "training_seconds": report["training_seconds"],
            "folder": str(folder),
        }
    condition = (report["protocol"], report.get("channel") or "", bool(report.get("enrolled")))
    return row, (*condition, frozenset(prediction.file for prediction in predictions))
