"""``sercli doctor``: well here, and ill where something is broken."""

import importlib.metadata
import json
import os
import shutil
from pathlib import Path

import av
import pytest
from typer.testing import CliRunner

from sercli.cli.app import app
from sercli.models.folder import DEFAULT_MODEL
from sercli.models.model import load_model
from sercli.models.self_test import TOLERANCE, measure_difference
from sercli.prediction import doctor
from sercli.prediction.doctor import Check, examine, hide_home


def run(check: str, model: Path = DEFAULT_MODEL, data_dir: Path = Path("data")) -> Check:
    return next(found for found in examine(model, data_dir) if found.name == check)


def test_nothing_is_wrong_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    checks = list(examine(DEFAULT_MODEL, tmp_path / "data"))
    assert [check for check in checks if not check.ok] == []
    found = {check.name: check.detail for check in checks}
    assert found["data folder"].startswith(f"~{os.sep}data, not created yet")
    assert "output matches the stored output" in found["model"]
    assert "scored by a worker process" in found["recording"]
    assert str(tmp_path) not in "".join(found.values())


def test_the_shipped_model_answers_as_it_did_where_it_was_made() -> None:
    model = load_model(DEFAULT_MODEL)
    assert measure_difference(model, model.facts["self_test"]) < TOLERANCE
    assert measure_difference(model, [1.0, *[0.0] * 7]) > TOLERANCE
    assert measure_difference(model, [1.0]) == 1.0


def test_a_broken_model_is_status_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shutil.copytree(DEFAULT_MODEL, tmp_path / "model")
    (tmp_path / "model/model.onnx").write_bytes(b"cut")
    result = CliRunner().invoke(app, ["doctor", "--model", str(tmp_path / "model"), "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    lines = {line.split("  ")[0]: line for line in result.stdout.splitlines()}
    assert "FAILED" in lines["model"]
    assert "isnotthefilethatmodel.jsonnames" in "".join(result.stdout.split())  # wrapped somewhere
    assert "FAILED" in lines["recording"]
    assert "FAILED" not in lines["codecs"] + lines["libraries"]
    assert "error: failed checks: model, recording" in result.stderr


def test_a_model_that_answers_otherwise_is_wrong(tmp_path: Path) -> None:
    shutil.copytree(DEFAULT_MODEL, tmp_path / "model")
    path = tmp_path / "model/model.json"
    description = json.loads(path.read_text())
    for changed, ok in ({"self_test": [0.125] * 8}, False), ({"self_test": None}, True):
        path.write_text(json.dumps({**description, **changed}))
        check = run("model", tmp_path / "model")
        assert check.ok == ok
        assert ("output differs" in check.detail) != ok


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"amrnb"})
    assert run("codecs").detail.endswith("without amrnb: pip install --only-binary av av")
    version = importlib.metadata.version

    def lack_rich(name: str) -> str:
        if name == "rich":
            raise importlib.metadata.PackageNotFoundError
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", lack_rich)
    assert run("libraries") == Check(name="libraries", detail="missing: rich; install sercli again", ok=False)


def test_a_folder_that_cannot_be_written_is_wrong(without_rights: Path) -> None:
    (without_rights / "closed").mkdir(mode=0o500)
    assert not run("data folder", data_dir=without_rights / "closed/data").ok
    assert run("data folder", data_dir=without_rights / "data").ok
    assert not doctor._check_folder("data folder", Path(__file__) / "data").ok


def test_home_is_hidden_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert hide_home("/home/ann/x: /home/anna/y, '/home/ann'") == "~/x: /home/anna/y, '~'"
    for home in ("/", ""):
        monkeypatch.setenv("HOME", home)
        assert hide_home("/data /tmp") == "/data /tmp"
