"""The results that are kept here: every figure follows from the predictions beside it, and FIGURES.md quotes them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sercli.evaluation.predictions import read_predictions
from sercli.evaluation.report import describe_test, read_scores
from sercli.evaluation.scores import summarize
from sercli.models.folder import DEFAULT_MODEL
from sercli.models.model import load_model
from sercli.training.recipes import Recipe

RESULTS = Path(__file__).parent / "results"
FOLDERS = sorted(path.parent for path in RESULTS.glob("*/report.json"))
FIGURES = (Path(__file__).parent / "FIGURES.md").read_text(encoding="utf-8")


def read_report(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_figures_follow_from_the_predictions(folder: Path) -> None:
    predictions = read_predictions(folder / "predictions.csv")
    assert all(not row.file.startswith("/") for row in predictions.rows)
    report = read_report(folder)
    found = summarize(predictions).to_dict()
    for name in ("uar", "accuracy", "macro_f1", "expected_calibration_error", "uar_interval"):
        assert found["overall"][name] == pytest.approx(report["overall"][name], abs=1e-9), name
    assert [list(row) for row in found["overall"]["confusion"]] == report["overall"]["confusion"]
    assert len(found["per_seed"]) == len(report["seeds"])
    for fold in report["folds"]:
        assert not set(fold["test_speakers"]) & {*fold["train_speakers"], *fold["dev_speakers"]} or (
            not report["speaker_independent"]
        )


def write_cells(report: dict[str, Any]) -> str:
    """UAR without its deviation, interval, accuracy and calibration error, as the tables have them."""
    overall = report["overall"]
    low, high = overall["uar_interval"]
    cells = [f"{overall['uar']:.3f}", f"{low:.3f} to {high:.3f}"]
    if not report["protocol"].startswith(("cross", "pooled")):
        cells += [f"{overall[name]:.3f}" for name in ("accuracy", "expected_calibration_error")]
    return f"| {' | '.join(cells)} |"


def test_every_row_is_that_of_a_report_and_every_report_has_one() -> None:
    rows = [line for line in FIGURES.splitlines() if line.startswith("|") and re.search(r"0\.\d{3} to 0\.\d{3}", line)]
    plain = [re.sub(r" ± [0-9.]+", "", row) for row in rows]
    reports = {folder.name: read_report(folder) for folder in FOLDERS}
    for name, report in reports.items():
        found = [row for row in plain if write_cells(report) in row]
        assert found, f"{name}: {write_cells(report)}"
        assert any(
            f"`{report['recipe']}`" in row or report["protocol"].startswith(("cross", "pooled")) for row in found
        )
        std = report["overall"]["uar_by_seed_std"]
        if std is not None and report["recipe"] in {"default", "paper"}:
            assert any(f"± {std:.3f} |" in row for row in rows), name
    known = [write_cells(report) for report in reports.values()]
    assert [row for row in plain if not any(cells in row for cells in known)] == []


@pytest.mark.parametrize(
    "folder", [folder for folder in FOLDERS if re.fullmatch("emobox-[a-z]+(-lstm)?", folder.name)], ids=lambda f: f.name
)
def test_each_method_is_quoted(folder: Path) -> None:
    report = read_report(folder)
    genders = (report["overall"]["per_gender"][gender]["uar"] for gender in ("female", "male"))
    cells = write_cells(report) + "".join(f" {uar:.3f} |" for uar in genders)
    assert f"| `{report['recipe']}` | {len(report['seeds'])} {cells}" in FIGURES


def test_the_card_quotes_the_reports() -> None:
    facts = load_model(DEFAULT_MODEL).facts
    quoted, recipe = facts["figures"], Recipe.from_dict(facts["recipe"])
    named = {
        describe_test(read_report(folder)): folder for folder in FOLDERS if read_report(folder)["recipe"] == recipe.name
    }
    assert set(quoted) <= set(named)
    for name, figures in quoted.items():
        kept = read_scores([named[name]], recipe)[name]
        assert {**kept, "command": ""} == {**figures, "command": ""}, name


def test_the_readme_quotes_the_reports() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:unseen|known) \| `(\S+)`, recipe `(\S+)` \| (.*) \|$", readme, re.MULTILINE)
    assert len(rows) == 3
    for protocol, recipe, cells in rows:
        overall = read_report(RESULTS / f"{protocol}-{recipe}")["overall"]
        low, high = overall["uar_interval"]
        assert cells.split(" | ") == [
            f"{overall['uar']:.3f} ± {overall['uar_by_seed_std']:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{overall['accuracy']:.3f}",
        ]
    pooled = read_report(RESULTS / "pooled-student")["overall"]
    low, high = pooled["uar_interval"]
    assert f"a UAR of {pooled['uar']:.3f} on both corpora together\n  ({low:.3f} to {high:.3f}, one seed)" in readme
    corpora = (f"{pooled['per_corpus'][name]['uar']:.3f}" for name in ("ravdess", "nemo"))
    assert "{} on RAVDESS, {} on nEMO".format(*corpora) in readme
    genders = read_report(RESULTS / "emobox-student")["overall"]["per_gender"]
    women, men = (f"{genders[gender]['uar']:.3f}" for gender in ("female", "male"))
    assert f"Women are recognized better ({women} with `student`) than men ({men})." in readme
