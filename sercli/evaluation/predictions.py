"""Predictions of test utterances, and their CSV file."""

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sercli.corpora.index import Index
from sercli.errors import InputError, UsageError
from sercli.files import make_csv_writer, one_line, write_by_rename
from sercli.labels import check_labels, require_known
from sercli.metrics import Probabilities

PREDICTIONS_FILE = "predictions.csv"
MAX_UNPACKED = 256 << 20  # bytes of a packed file's content; over a million rows
COLUMNS: tuple[str, ...] = (
    "file",
    "corpus",
    "speaker",
    "gender",
    "seed",
    "fold",
    "truth",
    "prediction",
)
"""Columns of ``predictions.csv``, followed by the probability of each label, ``p_<label>``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRow:
    """Prediction of one test utterance by the model of one fold and seed.

    Attributes:
        file: File of the utterance, as in the index.
        corpus: Corpus of the utterance.
        speaker: Speaker; empty if unknown.
        gender: Gender of the speaker; empty if unknown.
        seed: Seed of the training.
        fold: Number of the fold, from 1.
        truth: True label.
        prediction: Label with the highest probability; ties go to the first.
        probabilities: Calibrated probability of each label.
    """

    file: str
    corpus: str
    speaker: str
    gender: str
    seed: int
    fold: int
    truth: str
    prediction: str
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Content of ``predictions.csv``.

    Attributes:
        labels: Labels, in the order of the probabilities.
        rows: One row per test utterance and seed.
    """

    labels: tuple[str, ...]
    rows: tuple[PredictionRow, ...]


def make_rows(
    index: Index, positions: Sequence[int], probabilities: Probabilities, *, seed: int, fold: int
) -> list[PredictionRow]:
    """Makes one row per utterance.

    Args:
        index: Index of the utterances.
        positions: Positions of the utterances in the index.
        probabilities: Probabilities of the index's labels, shape ``(n_positions, n_labels)``.
        seed: Seed of the training.
        fold: Number of the fold, from 1.
    """
    labels, utterances = index.labels, [index.utterances[position] for position in positions]
    return [
        PredictionRow(
            file=utterance.file,
            corpus=utterance.corpus,
            speaker=utterance.speaker,
            gender=utterance.gender,
            seed=seed,
            fold=fold,
            truth=utterance.emotion,
            prediction=labels[int(np.argmax(row))],
            probabilities=tuple(row),
        )
        for utterance, row in zip(utterances, probabilities.tolist(), strict=True)
    ]


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Writes ``predictions.csv`` atomically, with full precision."""
    with write_by_rename(path) as stream:
        write = make_csv_writer(stream)
        write([*COLUMNS, *(f"p_{label}" for label in predictions.labels)])
        for row in predictions.rows:
            values = [getattr(row, name) for name in COLUMNS]
            write([*values, *map(repr, row.probabilities)])


def read_predictions(path: Path) -> Predictions:
    """Reads ``predictions.csv``, or ``predictions.csv.gz`` if that is missing.

    Raises:
        InputError: If the file is missing, a row is damaged, or it unpacks to more than `MAX_UNPACKED`.
    """
    rows: list[PredictionRow] = []
    packed = path.with_name(f"{path.name}.gz")
    try:
        with (
            _unpack(packed) if packed.exists() and not path.exists() else path.open(encoding="utf-8", newline="")
        ) as stream:
            reader = csv.DictReader(stream, restval="", strict=True)
            labels = tuple(name.removeprefix("p_") for name in reader.fieldnames or () if name.startswith("p_"))
            check_labels(labels)
            for record in reader:
                rows.append(_parse(record, labels))  # noqa: PERF401 - the count names the damaged row
    except FileNotFoundError:
        msg = f"no predictions at {path}: expected the file that 'sercli evaluate' writes"
        raise InputError(msg) from None
    except (KeyError, TypeError, ValueError, EOFError, gzip.BadGzipFile, zlib.error, UsageError, csv.Error) as reason:
        msg = f"{path}, row {len(rows) + 1}: not a prediction ({one_line(reason)}); run 'sercli evaluate' again"
        raise InputError(msg) from None
    return Predictions(labels=labels, rows=tuple(rows))


def _unpack(path: Path) -> io.StringIO:
    with gzip.open(path) as stream:
        content = stream.read(MAX_UNPACKED + 1)
    if len(content) > MAX_UNPACKED:
        msg = f"{path} unpacks to more than {MAX_UNPACKED >> 20} MB: it is not what 'sercli evaluate' writes"
        raise InputError(msg)
    return io.StringIO(content.decode("utf-8"), newline="")


def _parse(record: dict[str, str], labels: Sequence[str]) -> PredictionRow:
    require_known([record["truth"], record["prediction"]], labels)
    probabilities = tuple(float(record[f"p_{label}"]) for label in labels)
    if not all(0 <= probability <= 1 for probability in probabilities):
        msg = "a probability is outside 0 to 1"
        raise ValueError(msg)
    return PredictionRow(
        **{name: record[name] for name in ("file", "corpus", "speaker", "gender", "truth", "prediction")},
        seed=int(record["seed"]),
        fold=int(record["fold"]),
        probabilities=probabilities,
    )
