"""Predictions of a protocol as rows, and every figure that follows from them."""

import contextlib
import csv
import gzip
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from sercli.errors import InputError, UsageError
from sercli.files import make_csv_writer, one_line, read_json_object, write_by_rename, write_table
from sercli.labels import EMOTIONS, emotion_index
from sercli.metrics import (
    Labels,
    accuracy,
    accuracy_of_confusions,
    bootstrap_by_speaker,
    count_confusions,
    expected_calibration_error,
    macro_f1,
    measure_reliability,
    per_class,
    uar_of_confusions,
    unweighted_average_recall,
)
from sercli.training.loop import EpochRecord

COLUMNS: tuple[str, ...] = (
    "file",
    "corpus",
    "speaker",
    "gender",
    "seed",
    "fold",
    "truth",
    "prediction",
    *(f"p_{emotion}" for emotion in EMOTIONS),
)
"""Columns of ``predictions.csv``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRow:
    """The prediction for one test utterance by the network of one fold and seed.

    Attributes:
        file: as in the index.
        corpus: of the utterance.
        speaker: of the utterance.
        gender: of the speaker, or empty.
        seed: of the training.
        fold: that tested it, from 1.
        truth: the emotion it is labelled with.
        probabilities: calibrated, of the eight emotions in order.
    """

    __test__ = False  # no test case, whatever its name begins with

    file: str
    corpus: str
    speaker: str
    gender: str
    seed: int
    fold: int
    truth: str
    probabilities: tuple[float, ...]

    @property
    def prediction(self) -> str:
        """The emotion with the highest probability, the first of equals."""
        return EMOTIONS[int(np.argmax(self.probabilities))]


def write_predictions(path: Path, rows: Iterable[TestRow]) -> None:
    """Writes ``predictions.csv`` by rename; probabilities keep all their digits."""
    with write_by_rename(path) as stream:
        write = make_csv_writer(stream)
        write(COLUMNS)
        for row in rows:
            values = [getattr(row, name) for name in COLUMNS[: len(COLUMNS) - len(EMOTIONS)]]
            write([*values, *map(repr, row.probabilities)])


def read_predictions(path: Path) -> list[TestRow]:
    """Reads what `write_predictions` wrote, also where gzip has packed it since, as ``predictions.csv.gz``.

    Raises:
        InputError: if the file is missing, or a row is not whole.
    """
    rows = []
    packed = path.with_name(f"{path.name}.gz")
    try:
        with (
            gzip.open(packed, "rt", encoding="utf-8", newline="")
            if packed.exists() and not path.exists()
            else path.open(encoding="utf-8", newline="")
        ) as stream:
            for record in csv.DictReader(stream, strict=True):
                emotion_index(record["truth"])
                probabilities = tuple(float(record[f"p_{emotion}"]) for emotion in EMOTIONS)
                if not all(0 <= probability <= 1 for probability in probabilities):
                    msg = "a probability is not 0 to 1"
                    raise ValueError(msg)
                rows.append(
                    TestRow(
                        **{name: record[name] for name in ("file", "corpus", "speaker", "gender", "truth")},
                        seed=int(record["seed"]),
                        fold=int(record["fold"]),
                        probabilities=probabilities,
                    )
                )
    except FileNotFoundError:
        msg = f"no predictions at {path}: expected the file that 'sercli evaluate' writes"
        raise InputError(msg) from None
    except (KeyError, TypeError, ValueError, EOFError, gzip.BadGzipFile, zlib.error, UsageError, csv.Error) as reason:
        msg = f"{path}, row {len(rows) + 1}: not a prediction ({one_line(reason)}); run 'sercli evaluate' again"
        raise InputError(msg) from None
    return rows


def summarise(rows: Sequence[TestRow]) -> dict[str, Any]:
    """Every figure of a results folder: overall, of each seed and of each fold.

    Overall figures pool the utterances of all folds and seeds; the interval draws speakers, each with all
    their utterances. Figures that are undefined are None.

    Args:
        rows: of all folds and seeds.
    """
    seeds = sorted({row.seed for row in rows})
    folds = sorted({(row.seed, row.fold) for row in rows})
    overall = _scores(rows)
    per_seed = [{"seed": seed, **_main_scores([r for r in rows if r.seed == seed])} for seed in seeds]
    for name in ("uar", "accuracy", "macro_f1"):
        values = [scores[name] for scores in per_seed if scores[name] is not None]
        overall[f"{name}_by_seed_mean"] = float(np.mean(values)) if values else None
        overall[f"{name}_by_seed_deviation"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {
        "overall": overall,
        "per_seed": per_seed,
        "per_fold": [
            {"seed": s, "fold": f, **_scores([r for r in rows if (r.seed, r.fold) == (s, f)])} for s, f in folds
        ],
    }


def _arrays(rows: Sequence[TestRow]) -> tuple[Labels, Labels]:
    truth = np.asarray([emotion_index(row.truth) for row in rows], dtype=np.int64)
    prediction = np.asarray([emotion_index(row.prediction) for row in rows], dtype=np.int64)
    return truth, prediction


def _main_scores(rows: Sequence[TestRow]) -> dict[str, Any]:
    truth, prediction = _arrays(rows)
    return {
        "utterances": len(rows),
        "uar": _defined(unweighted_average_recall(truth, prediction)),
        "accuracy": _defined(accuracy(truth, prediction)),
        "macro_f1": _defined(macro_f1(truth, prediction)),
    }


def _scores(rows: Sequence[TestRow]) -> dict[str, Any]:
    truth, prediction = _arrays(rows)
    probabilities = np.asarray([row.probabilities for row in rows])
    # An utterance of nobody known is one speaker, however many seeds have tested it.
    speakers = [row.speaker or f"#{row.corpus}/{row.file}" for row in rows]
    intervals = {
        name: [_defined(end) for end in bootstrap_by_speaker(score, truth, prediction, speakers)]
        for name, score in (("uar", uar_of_confusions), ("accuracy", accuracy_of_confusions))
    }
    corpora = sorted({row.corpus for row in rows})
    genders = sorted({row.gender for row in rows} - {""})
    return {
        **_main_scores(rows),
        "uar_interval": intervals["uar"],
        "accuracy_interval": intervals["accuracy"],
        "expected_calibration_error": _defined(expected_calibration_error(truth, probabilities)),
        "reliability": [asdict(found) for found in measure_reliability(truth, probabilities)],
        "per_class": per_class(truth, prediction),
        "per_corpus": {name: _main_scores([row for row in rows if row.corpus == name]) for name in corpora},
        "per_gender": {gender: _main_scores([row for row in rows if row.gender == gender]) for gender in genders},
        "confusion": count_confusions(truth, prediction).tolist(),
    }


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def write_history(path: Path, histories: Mapping[tuple[int, int], Sequence[Mapping[str, Any]]]) -> None:
    """Writes ``history.csv``: a row for each epoch of each network, with seed and fold before its record."""
    rows = [{"seed": seed, "fold": fold, **record} for (seed, fold), records in histories.items() for record in records]
    write_table(path, rows, columns=("seed", "fold", *(field.name for field in fields(EpochRecord))))


def name_test(report: Mapping[str, Any]) -> str:
    """Protocol of a report, and what was done to its test recordings or tested them, as in ``emobox, telephone``."""
    members = report["parameters"]["network"].get("members", 1)
    together = f"{members} networks as one" if members > 1 else ""
    enrolled = "enrolled speakers" if report.get("enrolled") else ""
    ensemble = f"ensemble of {len(report['ensemble'])}" if report.get("ensemble") else ""
    return ", ".join(filter(None, (report["protocol"], report.get("channel"), enrolled, together, ensemble)))


@contextlib.contextmanager
def refuse_odd_report(folder: Path) -> Iterator[None]:
    """Says what is wrong with the report of a results folder, in which something is looked up.

    Raises:
        InputError: if it lacks something, or is of another shape.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError) as reason:
        msg = f"{folder / 'report.json'} is no whole report ({one_line(reason)}): run 'sercli evaluate' again"
        raise InputError(msg) from None


def read_figures(folders: Iterable[Path], recipe: str) -> dict[str, dict[str, Any]]:
    """The main figures of results folders, by protocol, for a model card.

    Args:
        folders: results folders of this recipe.
        recipe: that the model is made by.

    Raises:
        InputError: if a folder holds no report, or that of another recipe.
    """
    figures = {}
    for folder in folders:
        report = read_json_object(folder / "report.json")
        with refuse_odd_report(folder):
            if report["recipe"] != recipe:
                msg = f"{folder} is of recipe {report['recipe']!r}, expected {recipe!r}"
                raise InputError(msg)
            overall = report["overall"]
            figures[name_test(report)] = {
                "seeds": len(report.get("ensemble") or report["seeds"]),
                "max_epochs": report["parameters"]["training"]["max_epochs"],
                **{name: overall[name] for name in ("uar", "uar_interval", "accuracy")},
                "ece": overall["expected_calibration_error"],
                "command": report["command"],
            }
    return figures
