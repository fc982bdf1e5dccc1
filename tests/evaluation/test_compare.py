import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sercli.cli.app import main
from sercli.errors import InputError
from sercli.evaluation.compare import COLUMNS, compare
from sercli.evaluation.predictions import MAX_UNPACKED, PredictionRow, Predictions, write_predictions
from sercli.evaluation.report import read_scores
from sercli.evaluation.scores import summarize
from sercli.files import read_json_object, write_json
from sercli.labels import EMOTIONS
from sercli.training.recipe_files import RECIPES


def write_results(folder: Path, recipe: str, share: float, *, files: Sequence[str], protocol: str = "loso") -> Path:
    """A results folder whose predictions are right in that share of the utterances."""
    rng = np.random.default_rng(0)
    rows = []
    for number, file in enumerate(files):
        right = number % 8
        chosen = right if rng.random() < share else (right + 3) % 8
        probabilities = tuple(0.65 if n == chosen else 0.05 for n in range(8))
        rows.append(
            PredictionRow(
                file=file,
                corpus="toy",
                speaker=f"toy-{number // 16}",
                gender="female" if number // 16 % 2 else "male",
                seed=0,
                fold=1,
                truth=EMOTIONS[right],
                prediction=EMOTIONS[chosen],
                probabilities=probabilities,
            )
        )
    predictions = Predictions(labels=EMOTIONS, rows=tuple(rows))
    write_predictions(folder / "predictions.csv", predictions)
    report = {
        "recipe": recipe,
        "protocol": protocol,
        "degradation": "",
        "parameters": {"network": {"members": 1}},
        "seeds": [0],
        "training_seconds": 1.5,
        **summarize(predictions).to_dict(),
    }
    write_json(folder / "report.json", report)
    return folder


FILES = [f"{number}.wav" for number in range(96)]


def test_the_best_comes_first_with_the_figures_of_its_predictions(tmp_path: Path) -> None:
    worse = write_results(tmp_path / "a", "svm", 0.4, files=FILES)
    better = write_results(tmp_path / "b", "paper", 0.8, files=FILES)
    comparison = compare([worse, better])
    assert [row.recipe for row in comparison.rows] == ["paper", "svm"]
    assert comparison.comparable
    for row in comparison.rows:
        assert row.uar_low is not None
        assert row.uar is not None
        assert row.uar_high is not None
        assert row.uar_low <= row.uar <= row.uar_high
        assert row.utterances == 96


def test_different_tests_are_told_apart(tmp_path: Path) -> None:
    one = write_results(tmp_path / "a", "svm", 0.4, files=FILES)
    fewer = write_results(tmp_path / "b", "paper", 0.8, files=FILES[:48])
    other = write_results(tmp_path / "c", "paper", 0.8, files=FILES, protocol="random10")
    assert not compare([one, fewer]).comparable
    assert not compare([one, other]).comparable


def test_tests_on_degraded_recordings_are_not_comparable_with_clean_ones(tmp_path: Path) -> None:
    clean, telephone, again = (write_results(tmp_path / name, "paper", 0.8, files=FILES) for name in "abc")
    report = read_json_object(clean / "report.json")
    for folder in (telephone, again):
        write_json(folder / "report.json", {**report, "degradation": "telephone"})
    assert not compare([clean, telephone]).comparable
    assert compare([telephone, again]).comparable
    assert compare([telephone]).rows[0].protocol == "loso, telephone"


def test_packed_predictions_are_read(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "a", "svm", 0.4, files=FILES)
    (before,) = compare([folder]).rows
    plain = folder / "predictions.csv"
    packed = gzip.compress(plain.read_bytes())
    (folder / "predictions.csv.gz").write_bytes(packed)
    plain.unlink()
    assert compare([folder]).rows == (before,)
    (folder / "predictions.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match="not a prediction"):
        compare([folder])


def test_packed_predictions_of_gigabytes_are_refused(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "a", "svm", 0.4, files=FILES)
    (folder / "predictions.csv").unlink()
    (folder / "predictions.csv.gz").write_bytes(gzip.compress(bytes(MAX_UNPACKED + 1), 1))
    with pytest.raises(InputError, match=r"predictions.csv.gz unpacks to more than 256 MB"):
        compare([folder])


def test_the_table_can_be_saved(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "a", "svm", 0.4, files=FILES)
    comparison = compare(str(folder), tmp_path / "t.csv")
    assert comparison == compare([folder])
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert tuple(row) == COLUMNS
    assert float(row["uar"]) == comparison.rows[0].uar


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"report\.json is missing: expected a results folder, as 'sercli evaluate'"):
        compare([tmp_path])
    with pytest.raises(InputError, match=r"report\.json is missing: expected a results folder, as 'sercli evaluate'"):
        read_scores([tmp_path / "none"], RECIPES["svm"])
    with pytest.raises(InputError, match="is not a folder: expected results"):
        compare([tmp_path / "notes.md"])
    with pytest.raises(InputError, match="nothing to compare"):
        compare([])


def test_predictions_that_were_cut_short_are_refused(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "a", "svm", 0.4, files=FILES)
    lines = (folder / "predictions.csv").read_text().splitlines(keepends=True)
    (folder / "predictions.csv").write_text("".join(lines[:50]))
    with pytest.raises(InputError, match="has 49 predictions, expected 96 by its report"):
        compare([folder])


@pytest.mark.parametrize("probability", ["nan", "-1.0", "1e400", "lots"])
def test_what_is_no_probability_is_refused(tmp_path: Path, probability: str) -> None:
    folder = write_results(tmp_path / "a", "svm", 0.4, files=FILES)
    text = (folder / "predictions.csv").read_text()
    (folder / "predictions.csv").write_text(text.replace("0.65", probability, 1))
    with pytest.raises(InputError, match=r"row 1: not a prediction"):
        compare([folder])


@pytest.mark.parametrize(("name", "value"), [("network", []), ("overall", [1]), ("seeds", 3)])
def test_a_report_of_another_shape_is_refused(tmp_path: Path, name: str, value: object) -> None:
    folder = write_results(tmp_path / "a", "svm", 0.4, files=FILES)
    report = json.loads((folder / "report.json").read_text())
    (report["parameters"] if name == "network" else report)[name] = value
    write_json(folder / "report.json", report)
    with pytest.raises(InputError, match=r"report\.json is damaged"):
        compare([folder])


def test_names_in_brackets_are_shown_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_results(tmp_path / "a", "my[v2]net[/x]", 0.4, files=FILES)
    monkeypatch.setattr("sys.argv", ["sercli", "compare", str(folder)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert (stopped.value.code, "my[v2]net[/x]" in capsys.readouterr().out) == (0, True)


def test_an_utterance_of_nobody_known_is_drawn_once_with_all_its_seeds() -> None:
    rows = [
        PredictionRow(
            file=f"{n}.wav",
            corpus="toy",
            speaker="",
            gender="",
            seed=seed,
            fold=1,
            truth=EMOTIONS[n % 8],
            prediction=EMOTIONS[(n + n // 8 % 2) % 8],
            probabilities=tuple(np.eye(8)[(n + n // 8 % 2) % 8].tolist()),
        )
        for seed in range(4)
        for n in range(64)
    ]
    one, four = (
        summarize(Predictions(labels=EMOTIONS, rows=tuple(row for row in rows if row.seed < seeds))).overall
        for seeds in (1, 4)
    )
    assert one.uar_interval == four.uar_interval
    low, high = one.uar_interval
    assert low is not None
    assert high is not None
    assert low < 0.45 < 0.55 < high


def test_comparing_does_not_load_torch() -> None:
    code = "import sercli.evaluation.compare, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
