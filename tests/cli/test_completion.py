"""Names that the shell completes in options of train, evaluate and tune."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import typer

from sercli.audio.degradation import DEGRADATIONS
from sercli.cli.app import app
from sercli.splits.protocols import PROTOCOLS
from sercli.training.recipe_files import list_recipes


@pytest.mark.parametrize(
    ("command", "name", "choices"),
    [
        ("evaluate", "degrade", DEGRADATIONS),
        ("evaluate", "protocol", [*PROTOCOLS, "cross"]),
        ("tune", "protocol", [name for name in PROTOCOLS if name not in {"paper", "random10", "split"}]),
        *((command, "recipe_name", list_recipes()) for command in ("train", "evaluate", "tune")),
    ],
)
def test_the_shell_completes_choices(command: str, name: str, choices: Iterable[str]) -> None:
    root = typer.main.get_command(app)
    parameters = root.commands[command].params  # type: ignore[attr-defined]
    parameter = next(parameter for parameter in parameters if parameter.name == name)
    assert [item.value for item in parameter.shell_complete(typer.Context(root), "")] == list(choices)


@pytest.mark.parametrize(
    ("words", "completed"), [("sercli pre", ["prepare", "predict"]), ("sercli train --recipe stu", ["student"])]
)
def test_completion_is_on_in_the_shell(words: str, completed: list[str]) -> None:
    """Calls the installed command as the script does that ``sercli --install-completion`` writes for bash."""
    done = subprocess.run(
        [Path(sys.executable).with_name("sercli")],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "_SERCLI_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == completed
