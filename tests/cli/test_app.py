"""The command line as a whole: quick help, documented options, clean exits."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from sercli.cli.app import COMMANDS, app
from sercli.version import __version__
from tests.command import run_sercli
from tests.toy import make_ravdess

FULL = Path("/dev/full")
HEAVY = ("torch", "librosa", "h5py", "numpy", "scipy", "sklearn", "soundfile", "matplotlib", "httpx", "joblib")


def test_help_loads_nothing_heavy() -> None:
    code = f"""
import sys
from sercli.cli.app import app
try:
    app(["--help"])
except SystemExit:
    pass
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "predict" in done.stdout
    assert done.stderr.strip() == "[]"


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sercli, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version(tmp_path: Path) -> None:
    assert run_sercli("--version", cwd=tmp_path) == (0, f"sercli {__version__}\n", "")


def test_no_command_shows_the_help_and_is_wrong_usage(tmp_path: Path) -> None:
    status, out, err = run_sercli(cwd=tmp_path)
    assert status == 2
    assert all(command in out + err for command in COMMANDS)


@pytest.mark.parametrize("arguments", [("frobnicate",), ("predict",), ("predict", "--frobnicate", ".")])
def test_wrong_usage_is_one_line_and_status_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    status, out, err = run_sercli(*arguments, cwd=tmp_path)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("option", ["--verbose", "-v", "-vj2", "-qv", "-vq"])
def test_a_traceback_shows_only_when_asked_for(tmp_path: Path, option: str) -> None:
    _, _, brief = run_sercli("featurize", cwd=tmp_path)
    _, _, verbose = run_sercli("featurize", option, cwd=tmp_path)
    assert brief == "error: no index at data/index.csv: make it with 'sercli prepare'\n"
    assert "Traceback" in verbose
    assert verbose.endswith(brief)


def test_verbose_and_quiet_may_stand_before_the_command(tmp_path: Path) -> None:
    assert "Traceback" in run_sercli("-v", "featurize", cwd=tmp_path)[2]
    assert run_sercli("--quiet", "prepare", "--list", cwd=tmp_path)[2] == ""
    assert run_sercli("prepare", "--list", cwd=tmp_path)[2] != ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain",),
        ("compare",),
        ("predict",),
        ("featurize", "--index"),
        ("train", "--recipe"),
        ("prepare", "--from"),
        ("explain", "x", "--out"),
        ("doctor",),
    ],
)
def test_a_strange_name_leaves_an_error_in_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    status, out, err = run_sercli(*arguments, "line\nbreak\x1b[31m", cwd=tmp_path)
    assert status in {1, 2}
    assert out == ""
    assert err.startswith("error: ")
    assert (err.count("\n"), err.count("\x1b")) == (1, 0)


def list_parameters() -> list[tuple[str, object]]:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return [(name, parameter) for name, command in commands.items() for parameter in command.params]


@pytest.mark.parametrize(
    ("command", "parameter"), [pytest.param(c, p, id=f"{c} {p.name}") for c, p in list_parameters()]  # type: ignore[attr-defined]
)  # fmt: skip
def test_every_option_has_help(command: str, parameter: object) -> None:
    assert command in COMMANDS
    text = getattr(parameter, "help", None) or ""
    assert len(text) > 10, f"{parameter} has no help"
    assert text.rstrip().endswith("."), f"help of {parameter} is no sentence"
    takes_value = not (getattr(parameter, "is_flag", False) or getattr(parameter, "required", False))
    if takes_value and getattr(parameter, "default", None) is None:
        assert getattr(parameter, "show_default", None) is not True, f"{parameter} does not say what it defaults to"


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("option", ["--version", "--help"])
def test_a_full_disk_behind_stdout_is_named(option: str) -> None:
    with FULL.open("w") as full:
        done = subprocess.run([sys.executable, "-m", "sercli", option], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert (
        done.stderr == "error: No space left on device (standard output): free some space, or write to another disk\n"
    )


def test_a_full_disk_is_named_by_the_file_that_has_no_room(tmp_path: Path) -> None:
    make_ravdess(tmp_path / "recordings", speakers=1)
    small = tmp_path / "small"
    small.mkdir()
    prepare = f"{sys.executable} -m sercli prepare ravdess --from recordings --data-dir small"
    mount = f"mount -t tmpfs -o size=4k none {small} && exec {prepare} --jobs 1 -q"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", mount], cwd=tmp_path, capture_output=True, text=True)
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    assert done.returncode == 1
    expected = r"error: No space left on device \(small/\S+\): free some space, or write to another disk\n"
    assert re.fullmatch(expected, done.stderr)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--index", "Is a directory (folder): expected a file, found a folder"),
        ("--data-dir", "Not a directory (file/index.csv): a part of this path is a file, expected a folder"),
    ],
)
def test_a_folder_for_a_file_and_a_file_for_a_folder_are_named(tmp_path: Path, option: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    status, _, err = run_sercli("featurize", option, "folder" if option == "--index" else "file", cwd=tmp_path)
    assert (status, err) == (1, f"error: {message}\n")
