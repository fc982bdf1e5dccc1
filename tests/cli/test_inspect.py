"""`sercli inspect` as users see it."""

import json
import sys
from pathlib import Path

import pytest

from sercli.cli import main
from tests.toy_index import index_toy


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    index_toy(folder, speakers=4, takes=1, seconds=0.3)
    return folder


def run(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str]:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "argv", ["sercli", "inspect", "--data-dir", str(toy), *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    out, err = capsys.readouterr()
    assert out == ""
    assert isinstance(stopped.value.code, int)
    return stopped.value.code, err


def test_tables_and_figures(toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    status, err = run(toy, monkeypatch, capsys, "--out", str(toy / "figures.json"), "-j", "1", "-v")
    assert status == 0
    assert "16 utterances, 0.00 hours, 4 speakers" in err
    assert "16 at 16000 Hz, 1 ch" in err
    assert "warning: shorter than 0.5 s (16): " in err
    assert "1 neutral, 1 happy, 1 sad, 1 angry" in err
    assert "speaker-independent folds" in err
    figures = json.loads((toy / "figures.json").read_text())
    assert figures["labels"]["happy"] == {"female": 2, "male": 2, "all": 4, "speakers": 4}
    assert figures["label_errors"] is None


def test_likely_label_errors(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sercli.corpora.index import read_index
    from sercli.evaluation.predictions import PredictionRow, Predictions, write_predictions
    from sercli.labels import EMOTIONS

    rows = []
    for number, row in enumerate(read_index(toy / "index.csv").utterances):
        likely = row.emotion if number != 0 else "sad"
        rows.append(
            PredictionRow(
                **{name: getattr(row, name) for name in ("file", "corpus", "speaker", "gender")},
                seed=0,
                fold=1,
                truth=row.emotion,
                prediction=likely,
                probabilities=tuple(0.93 if label == likely else 0.01 for label in EMOTIONS),
            )
        )
    write_predictions(tmp_path / "predictions.csv", Predictions(labels=EMOTIONS, rows=tuple(rows[:-1])))
    status, err = run(toy, monkeypatch, capsys, "--results", str(tmp_path))
    assert status == 0
    assert "likely label errors: 1 of 15 tested recordings" in err
    assert "\nand " not in err
    monkeypatch.setattr("sercli.cli.inspect.MAX_ERRORS", 0)
    assert "\nand 1 more (--verbose shows all)\n" in run(toy, monkeypatch, capsys, "--results", str(tmp_path))[1]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--out", "x.csv"), 2, "--out takes a name ending in .html or .json"),
        (("--results", "gone"), 1, "no predictions at gone/predictions.csv"),
        (("--store", "gone.h5"), 1, "no feature store at gone.h5"),
        (("--index", "gone.csv"), 1, "no index at gone.csv"),
        (("--corpora", "nemo"), 1, "corpus 'nemo' is not in the index"),
    ],
)
def test_errors_are_one_line(
    toy: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    status: int,
    message: str,
) -> None:
    code, err = run(toy, monkeypatch, capsys, *arguments)
    assert (code, err.count("\n")) == (status, 1)
    assert message in err


def test_the_page_is_written(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, err = run(toy, monkeypatch, capsys, "--out", str(tmp_path / "corpus.HTML"))
    assert (status, err.splitlines()[-1]) == (0, f"saved {tmp_path}/corpus.HTML")
    page = (tmp_path / "corpus.HTML").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "16 labeled recordings" in page
