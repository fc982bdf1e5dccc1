"""README: what it names exists, and what it shows runs."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.main import get_command

from sercli.cli.app import COMMANDS, app
from sercli.labels import EMOTIONS
from sercli.prediction.rows import list_columns
from tests.command import run_sercli
from tests.toy import make_ravdess

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def list_options() -> set[str]:
    root = get_command(app)
    commands = [root, *root.commands.values()]  # type: ignore[attr-defined]
    return {option for command in commands for parameter in command.params for option in parameter.opts}


def test_every_option_that_is_named_exists() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))
    assert len(named) > 10
    assert named <= {*list_options(), "--help"}


def test_every_command_is_described() -> None:
    for command in COMMANDS:
        assert f"sercli {command}" in README


def test_the_report_of_the_first_example_is_the_one_that_is_shown(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "samples", tmp_path / "samples")
    run_sercli("predict", "samples/calls", "--out", "report.csv", cwd=tmp_path)
    lines = (tmp_path / "report.csv").read_text(encoding="utf-8").splitlines()
    shown = [line.strip() for line in README.splitlines() if re.match(r"    (file,start|samples/)", line)]
    assert len(shown) == len(lines) == 5
    assert shown[0].startswith(",".join(list_columns(EMOTIONS)[:7]))
    for line, written in zip(shown, lines, strict=True):
        begin, _, end = line.partition("…")
        assert (written.startswith(begin), written.endswith(end)) == (True, True), (line, written)


def test_the_example_in_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = re.search(r"^    from sercli import Predictor, .*\n(?:(?:    .*)?\n)+", README, re.MULTILINE)
    assert example
    code = re.sub(r"^    ", "", example[0], flags=re.MULTILINE)
    shutil.copytree(PROJECT / "samples/calls", tmp_path / "calls")
    shutil.copy(PROJECT / "samples/calls/stereo.flac", tmp_path / "call.wav")  # by content, not by name
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102 - our own text
    assert capsys.readouterr().out.splitlines()[-1] == "4 of 4"
    assert len((tmp_path / "report.csv").read_text(encoding="utf-8").splitlines()) == 5


def test_the_example_of_your_own_data_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = README.split("## Your own data\n")[1].split("\n## ")[0]
    assert len(section.splitlines()) <= 25
    commands = re.findall(r"^    sercli (.*)", section, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["prepare", "featurize", "train", "predict"]
    labels = {"03": "very satisfied", "05": "frustrated", "01": "neutral"}
    rows = ["file,emotion,speaker"]
    for number, path in enumerate(
        sorted(make_ravdess(tmp_path / "made", emotions=("neutral", "happy", "angry")).rglob("*.wav"))
    ):
        _, _, emotion, *_, speaker = path.stem.split("-")
        rows.append(f"monday/{number:04}.wav,{labels[emotion]},{speaker}")
        (tmp_path / "calls/monday").mkdir(parents=True, exist_ok=True)
        path.rename(tmp_path / f"calls/monday/{number:04}.wav")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path)
    for command in commands:
        extra = ["--max-epochs", "1", "--device", "cpu"] if command.startswith("train") else []
        assert not app([*shlex.split(command), *extra], standalone_mode=False)
    with (tmp_path / "report.csv").open(newline="") as stream:
        report = list(csv.DictReader(stream))
    assert len(report) == len(rows) - 1
    assert [name for name in report[0] if name.startswith("p_")] == re.findall("`(p_.*?)`", section)
    summary = json.loads((tmp_path / "report.summary.json").read_text())
    assert (summary["negative"], summary["scored"]) == (["frustrated"], len(report))


def test_every_file_that_is_linked_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert link.startswith("http") or (PROJECT / link).exists(), link
