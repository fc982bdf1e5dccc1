"""README: what it names exists, and what it shows runs."""

import re
import shutil
from pathlib import Path

import pytest
from typer.main import get_command

from sercli.cli.app import COMMANDS, app
from sercli.prediction.rows import COLUMNS

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
PREDICTOR_EXAMPLE = re.search(r"^    from sercli import Predictor\n(?:(?:    .*)?\n)+", README, re.MULTILINE)


def list_options() -> set[str]:
    root = get_command(app)
    commands = [root, *root.commands.values()]  # type: ignore[attr-defined]
    return {option for command in commands for parameter in command.params for option in parameter.opts}


def test_every_option_that_is_named_exists() -> None:
    others = {"--nthreads", "--nworkers"}  # of dask worker
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) - others
    assert len(named) > 15
    assert named <= list_options()


def test_every_command_is_described() -> None:
    for command in COMMANDS:
        assert f"sercli {command}" in README


def test_the_columns_of_a_report_are_those_that_are_named() -> None:
    shown = ",".join(COLUMNS).replace("p_calm,p_happy,p_sad,p_angry,p_fearful,p_disgust,", "…,")
    assert f"`{shown}`" in README


def test_the_example_in_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert PREDICTOR_EXAMPLE
    code = re.sub(r"^    ", "", PREDICTOR_EXAMPLE[0], flags=re.MULTILINE)
    for name, source in (("call.wav", "calls/stereo.flac"), ("a.mp3", "man-even.wav"), ("b.m4a", "silence.wav")):
        shutil.copy(PROJECT / "samples" / source, tmp_path / name)  # by content, not by name
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102 - our own text
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["a.mp3 ok ", "b.m4a no-speech "]


def test_every_file_that_is_linked_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert link.startswith("http") or (PROJECT / link).exists(), link
