"""The results that are kept here: every figure follows from the predictions beside it, and README quotes them."""

import json
from pathlib import Path
from typing import Any

import pytest

from sercli.evaluation.results import read_predictions, summarise

RESULTS = Path(__file__).parent / "results"
FOLDERS = sorted(path.parent for path in RESULTS.glob("*/report.json"))
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def read_report(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_figures_follow_from_the_predictions(folder: Path) -> None:
    rows = read_predictions(folder / "predictions.csv")
    assert all(not row.file.startswith("/") for row in rows)
    report = read_report(folder)
    found = summarise(rows)
    for name in ("uar", "accuracy", "macro_f1", "expected_calibration_error", "uar_interval"):
        assert found["overall"][name] == pytest.approx(report["overall"][name], abs=1e-9), name
    assert found["overall"]["confusion"] == report["overall"]["confusion"]
    assert len(found["per_seed"]) == len(report["seeds"])
    for fold in report["folds"]:
        assert not set(fold["test_speakers"]) & {*fold["train_speakers"], *fold["dev_speakers"]} or (
            not report["speaker_independent"]
        )


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_readme_quotes_recipe_and_figure(folder: Path) -> None:
    report = read_report(folder)
    assert f"`{report['recipe']}`" in README
    assert f"{report['overall']['uar']:.3f}" in README
