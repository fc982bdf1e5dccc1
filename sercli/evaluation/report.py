"""Report of an evaluation (JSON) and its plots."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sercli.errors import InputError, UsageError
from sercli.evaluation.folds import EvaluationPlan, FoldResult
from sercli.evaluation.predictions import PREDICTIONS_FILE, PredictionRow, Predictions, write_predictions
from sercli.evaluation.scores import ScoreSummary, summarize
from sercli.features.utterance import Failure
from sercli.files import one_line, read_json_object, write_json
from sercli.plots import save_confusion, save_reliability
from sercli.splits.protocols import get_protocol
from sercli.training.recipes import Recipe
from sercli.version import collect_versions

REPORT_FILE = "report.json"
CONFUSION_FILE, RELIABILITY_FILE = "confusion.png", "reliability.png"


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """Content of ``report.json``.

    Attributes:
        folder: Folder of the report; not in the file.
        protocol: Name of the protocol.
        protocol_description: Description of the protocol in one line.
        speaker_independent: Whether the test speakers are unseen in training.
        degradation: Degradation of the test recordings; empty if none.
        recipe: Name of the recipe.
        parameters: Parameters of recipe, preprocessing, segmentation and features.
        corpora: Number of utterances of each corpus.
        excluded: Files of the index that are missing in the store or could not be tested.
        failures: Recordings that could not be tested, with the reason.
        labels: Labels, in the order of the confusion matrix.
        label_selection: Labels to keep and to merge.
        seeds: Seeds of the evaluation.
        folds: How each fold was trained.
        scores: All scores.
        seconds: Duration of this run (s).
        training_seconds: Total duration of training all folds (s), in this run or earlier.
        training_commands: Command lines that trained the folds.
        device: Device of this run.
        versions: Versions of sercli, Python and libraries.
        command: Command line of this run.
    """

    folder: Path
    protocol: str
    protocol_description: str
    speaker_independent: bool
    degradation: str
    recipe: str
    parameters: Mapping[str, Any]
    corpora: Mapping[str, int]
    excluded: tuple[str, ...]
    failures: tuple[Failure, ...]
    labels: tuple[str, ...]
    label_selection: Mapping[str, Any]
    seeds: tuple[int, ...]
    folds: tuple[FoldResult, ...]
    scores: ScoreSummary
    seconds: float
    training_seconds: float
    training_commands: tuple[str, ...]
    device: str
    versions: Mapping[str, str]
    command: str

    @property
    def test_name(self) -> str:
        """Description as by `describe_test`."""
        return describe_test(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as a JSON-ready dict."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        del values["folder"]
        scores = values.pop("scores").to_dict()
        failures = [{"file": failure.file, "reason": failure.reason} for failure in self.failures]
        return {**values, "failures": failures, "folds": [fold.to_dict() for fold in self.folds], **scores}


def write_report(
    folder: Path,
    plan: EvaluationPlan,
    folds: Sequence[FoldResult],
    rows: Sequence[PredictionRow],
    *,
    seconds: float,
    degradation: str = "",
    failures: Sequence[Failure] = (),
) -> EvaluationReport:
    """Writes predictions, plots and, last, the report.

    Args:
        folder: Results folder, or a degradation folder inside it.
        plan: Parameters of the evaluation.
        folds: How each fold was trained.
        rows: All predictions.
        seconds: Duration of this run (s).
        degradation: Degradation of the test recordings; empty if none.
        failures: Recordings that could not be tested.

    Raises:
        OSError: If a file cannot be written.
    """
    protocol, index = get_protocol(plan.protocol), plan.index
    predictions = Predictions(labels=index.labels, rows=tuple(rows))
    report = EvaluationReport(
        folder=folder,
        protocol=plan.protocol,
        protocol_description=protocol.description,
        speaker_independent=protocol.speaker_independent,
        degradation=degradation,
        recipe=plan.recipe.name,
        parameters={**plan.recipe.to_dict(), **plan.parameters.to_dict()},
        corpora={name: sum(u.corpus == name for u in index.utterances) for name in index.corpora},
        excluded=(*plan.missing, *(failure.file for failure in failures)),
        failures=tuple(failures),
        labels=predictions.labels,
        label_selection=plan.selection.to_dict(),
        seeds=plan.seeds,
        folds=tuple(folds),
        scores=summarize(predictions),
        seconds=round(seconds, 1),
        training_seconds=round(sum(fold.seconds for fold in folds), 1),
        training_commands=tuple(sorted({fold.command for fold in folds})),
        device=plan.device,
        versions=collect_versions(),
        command=plan.command,
    )
    write_predictions(folder / PREDICTIONS_FILE, predictions)
    _draw(report)
    write_json(folder / REPORT_FILE, report.to_dict())
    return report


def _draw(report: EvaluationReport) -> None:
    overall, folder = report.scores.overall, report.folder
    title = f"{report.recipe}, protocol {report.test_name}: UAR {overall.uar or 0:.3f}"
    save_confusion(folder / CONFUSION_FILE, overall.confusion, report.labels, title)
    error = f"expected calibration error {overall.expected_calibration_error or 0:.3f}"
    save_reliability(folder / RELIABILITY_FILE, overall.reliability, title=error)


def describe_test(report: Mapping[str, Any]) -> str:
    """Names protocol, degradation and number of networks of a report, as in ``emobox, telephone, 3 members``.

    Args:
        report: Content of ``report.json``.
    """
    members = report["parameters"]["network"].get("members", 1)
    return ", ".join(
        filter(None, (str(report["protocol"]), str(report["degradation"]), f"{members} members" if members > 1 else ""))
    )


@contextlib.contextmanager
def report_errors(folder: Path) -> Iterator[None]:
    """Reports lookup errors in a folder's report as an error that names the file.

    Raises:
        InputError: If the report lacks an entry or has another structure.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError) as reason:
        msg = f"{folder / REPORT_FILE} is damaged ({one_line(reason)}): run 'sercli evaluate' again"
        raise InputError(msg) from None


def read_report(folder: Path) -> dict[str, Any]:
    """Reads the report of a results folder.

    Raises:
        InputError: If the folder has no report, or a damaged one.
    """
    return read_json_object(folder / REPORT_FILE, expected="a results folder, as 'sercli evaluate' writes it")


def read_scores(folders: Iterable[Path], recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Reads the main scores of results folders by protocol, for a model card.

    Args:
        folders: Results folders of the recipe; the number of epochs and of networks may differ.
        recipe: Recipe of the model.

    Raises:
        InputError: If a folder has no report or one of another recipe, or two are of one protocol.
    """
    scores = {}
    for folder in folders:
        report = read_report(folder)
        with report_errors(folder):
            _require_recipe(folder, report, recipe)
            overall, test = report["overall"], describe_test(report)
            if test in scores:
                msg = f"{folder} is a second report of {test}: give one results folder per protocol"
                raise InputError(msg)
            scores[test] = {
                "corpora": sorted(report["corpora"]),
                "labels": list(report["labels"]),
                "speaker_independent": report["speaker_independent"],
                "seeds": len(report["seeds"]),
                "max_epochs": report["parameters"]["training"]["max_epochs"],
                **{name: overall[name] for name in ("uar", "uar_interval", "accuracy")},
                "ece": overall["expected_calibration_error"],
                "command": report["command"],
            }
    return scores


def _require_recipe(folder: Path, report: Mapping[str, Any], recipe: Recipe) -> None:
    """Refuses a report of a recipe with another name or other parameters, except epochs and the number of networks.

    Parameters that the report lacks, because they are newer, have their defaults.
    """
    if report["recipe"] != recipe.name:
        msg = f"{folder} was made with recipe {report['recipe']!r}, expected {recipe.name!r}"
        raise InputError(msg)
    known = {field.name for field in fields(Recipe)}
    values = {name: value for name, value in report["parameters"].items() if name in known}
    values["features"] = values["features"]["names"]
    expected = Recipe.from_dict(recipe.to_dict())
    try:
        found = Recipe.from_dict(values)
        if found.baseline == expected.baseline == "":
            found, expected = (one.with_max_epochs(1).with_members(1) for one in (found, expected))
    except UsageError as reason:
        msg = f"{folder} was made with a recipe that is no longer valid ({reason}): evaluate again"
        raise InputError(msg) from None
    names = [name for name in sorted(known) if getattr(found, name) != getattr(expected, name)]
    if names:
        msg = f"{folder} was made with other parameters of recipe {recipe.name} ({', '.join(names)}): evaluate again"
        raise InputError(msg)
