"""Predictions for test utterances, and the file that holds them."""

import csv
import gzip
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sercli.corpora.index import Index
from sercli.errors import InputError, UsageError
from sercli.files import make_csv_writer, one_line, write_by_rename
from sercli.labels import EMOTIONS, emotion_index
from sercli.metrics import Probabilities

PREDICTIONS_FILE = "predictions.csv"
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
    """Prediction for one test utterance by the model of one fold and seed.

    Attributes:
        file: File of the utterance, as in the index.
        corpus: Its corpus.
        speaker: Its speaker, or empty.
        gender: Gender of the speaker, or empty.
        seed: Seed of the training.
        fold: Fold that tested it, from 1.
        truth: True label.
        probabilities: Calibrated probabilities of the labels, in order.
    """

    __test__ = False  # for pytest: not a test case, in spite of its name

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
        """Label with the highest probability, the first of equals."""
        return EMOTIONS[int(np.argmax(self.probabilities))]


def make_rows(
    index: Index, members: Sequence[int], probabilities: Probabilities, *, seed: int, fold: int
) -> list[TestRow]:
    """Rows for utterances, given their positions in the index and probabilities of shape ``(n, n_labels)``."""
    return [
        TestRow(
            file=utterance.file,
            corpus=utterance.corpus,
            speaker=utterance.speaker,
            gender=utterance.gender,
            seed=seed,
            fold=fold,
            truth=utterance.emotion,
            probabilities=tuple(row),
        )
        for utterance, row in zip((index.utterances[member] for member in members), probabilities.tolist(), strict=True)
    ]


def write_predictions(path: Path, rows: Iterable[TestRow]) -> None:
    """Writes ``predictions.csv`` by rename; probabilities keep all their digits."""
    with write_by_rename(path) as stream:
        write = make_csv_writer(stream)
        write(COLUMNS)
        for row in rows:
            values = [getattr(row, name) for name in COLUMNS[: len(COLUMNS) - len(EMOTIONS)]]
            write([*values, *map(repr, row.probabilities)])


def read_predictions(path: Path) -> list[TestRow]:
    """Reads what `write_predictions` wrote, or its gzip-compressed copy ``predictions.csv.gz`` if that is missing.

    Raises:
        InputError: if the file is missing or a row is damaged.
    """
    rows: list[TestRow] = []
    packed = path.with_name(f"{path.name}.gz")
    try:
        with (
            gzip.open(packed, "rt", encoding="utf-8", newline="")
            if packed.exists() and not path.exists()
            else path.open(encoding="utf-8", newline="")
        ) as stream:
            for record in csv.DictReader(stream, strict=True):
                rows.append(_parse(record))  # noqa: PERF401 - the count names the damaged row
    except FileNotFoundError:
        msg = f"no predictions at {path}: expected the file that 'sercli evaluate' writes"
        raise InputError(msg) from None
    except (KeyError, TypeError, ValueError, EOFError, gzip.BadGzipFile, zlib.error, UsageError, csv.Error) as reason:
        msg = f"{path}, row {len(rows) + 1}: not a prediction ({one_line(reason)}); run 'sercli evaluate' again"
        raise InputError(msg) from None
    return rows


def _parse(record: dict[str, str]) -> TestRow:
    emotion_index(record["truth"])
    probabilities = tuple(float(record[f"p_{emotion}"]) for emotion in EMOTIONS)
    if not all(0 <= probability <= 1 for probability in probabilities):
        msg = "a probability is not 0 to 1"
        raise ValueError(msg)
    return TestRow(
        **{name: record[name] for name in ("file", "corpus", "speaker", "gender", "truth")},
        seed=int(record["seed"]),
        fold=int(record["fold"]),
        probabilities=probabilities,
    )
