"""README: what it names exists, and every command in it runs as written."""

import csv
import glob
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.main import get_command

from sercli import train
from sercli.cli import console
from sercli.cli.app import COMMANDS, app
from sercli.corpora.corpus import PinnedFile
from sercli.corpora.datasets import ravdess
from sercli.corpora.registry import CORPORA
from sercli.labels import EMOTIONS
from sercli.prediction.rows import list_columns
from sercli.training import recipe_files
from sercli.training.checkpoint import CHECKPOINT_FILE
from tests.corpora.server import open_shop
from tests.toy import TOY_RECIPE, make_ravdess

PROJECT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
README = (PROJECT / "README.md").read_text(encoding="utf-8")
SECTIONS = {text.splitlines()[0].strip("# "): text for text in re.split(r"^(?=##? )", README, flags=re.MULTILINE)[1:]}

_PROGRAM = r"(?:sercli|make|pip|cat)\b"
_IN_BLOCK = re.compile(rf"^    (?:\$ )?({_PROGRAM}.*?)(?:  +#.*)?$", re.MULTILINE)
_INLINE = re.compile(rf"`({_PROGRAM} [^`]+)`")

NOT_RUN = {
    "pip install .": "installs from the internet",
    "pip install '.[tune]'": "installs from the internet",
    "make test": "would run this test again",
}
RUN_INSTEAD = {
    # What would be installed is installed already.
    "make demo": f"make demo BIN={shlex.quote(str(BIN))} --assume-old=.venv/.demo",
    # The other 29 trials would run the same code.
    "sercli tune": "sercli tune --trials 1",
}


def list_commands(text: str) -> list[str]:
    """The commands of a section: those in its blocks, then those in its sentences that no block of README has."""
    inline = (" ".join(command.split()) for command in _INLINE.findall(text))
    in_blocks = _IN_BLOCK.findall(README)
    return list(dict.fromkeys([*_IN_BLOCK.findall(text), *(each for each in inline if each not in in_blocks)]))


def run(command: str) -> None:
    """Runs a command in this process, or in a shell if it is more than a call of sercli."""
    if command.startswith("sercli ") and " > " not in command:
        words = (glob.glob(word) or [word] for word in shlex.split(command)[1:])  # noqa: PTH207 - as a shell does
        arguments = [argument for expanded in words for argument in expanded]
        assert not app(arguments, standalone_mode=False), command
        return
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command],
        env={**os.environ, "PATH": path, "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, command


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that README speaks of: samples, calls, and a table of their labels."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(PROJECT / "samples", folder / "samples")
    shutil.copy(PROJECT / "Makefile", folder)
    shutil.copy(PROJECT / "samples/calls/stereo.flac", folder / "call.wav")  # known by content, not by name
    labels = {"03": "very satisfied", "05": "frustrated", "01": "neutral"}
    rows = ["file,emotion,speaker"]
    (folder / "calls/monday").mkdir(parents=True)
    recordings = make_ravdess(folder / "made", speakers=4, emotions=("neutral", "happy", "angry"))
    for number, path in enumerate(sorted(recordings.rglob("*.wav"))):
        _, _, emotion, *_, speaker = path.stem.split("-")
        rows.append(f"monday/{number:04}.wav,{labels[emotion]},{speaker}")
        path.rename(folder / f"calls/monday/{number:04}.wav")
    shutil.rmtree(recordings)
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def toy_ravdess(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PinnedFile]:
    """A server with an archive of as many speakers as RAVDESS has, which all protocols need."""
    folder = make_ravdess(tmp_path_factory.mktemp("ravdess"), speakers=24, takes=1, seconds=0.5)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in sorted(folder.rglob("*.wav")):
            archive.write(path, path.relative_to(folder))
    with open_shop(content.getvalue()) as shop:
        digest = hashlib.md5(shop.content, usedforsecurity=False).hexdigest()
        yield PinnedFile(url=shop.url, name="toy.zip", size=len(shop.content), md5=digest)


@pytest.fixture
def place(tmp_path: Path, files: Path, toy_ravdess: PinnedFile, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a reader.

    Not as readers have it, so that it takes seconds: RAVDESS is a toy corpus that a server on this machine offers, the
    recipe ``default`` has a toy network, and one process does all work.
    """
    folder = shutil.copytree(files, tmp_path / "work")
    recipes = shutil.copytree(recipe_files.FOLDER, tmp_path / "recipes")
    (recipes / "default.toml").write_text(TOY_RECIPE)
    monkeypatch.setattr(recipe_files, "FOLDER", recipes)
    monkeypatch.setitem(CORPORA, "ravdess", replace(ravdess.CORPUS, archive=toy_ravdess))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("COLUMNS", "120")
    for stream in (console.stdout, console.stderr):
        monkeypatch.setattr(stream, "width", 120)  # which they may have taken from the terminal before
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    monkeypatch.delenv("SERCLI_DATA_DIR", raising=False)
    monkeypatch.chdir(folder)
    return folder


def interrupt_training() -> None:
    """Leaves a training that was interrupted in its first epoch."""

    def stop(done: int, *_: object) -> None:
        if done:
            raise KeyboardInterrupt

    assert train("data/index.csv", "data/features.h5", "default", progress=stop).trained.interrupted


def check_first_report(section: str, output: str) -> None:
    lines = Path("report.csv").read_text(encoding="utf-8").splitlines()
    shown = re.findall(r"^    ((?:file,start|samples/).*)", section, re.MULTILINE)
    assert len(shown) == len(lines) == 5
    assert shown[0].startswith(",".join(list_columns(EMOTIONS)[:7]))
    for line, written in zip(shown, lines, strict=True):
        begin, _, end = line.partition("…")
        assert (written.startswith(begin), written.endswith(end)) == (True, True), (line, written)
    printed = re.search(r"^    \$ sercli predict .*\n((?:    .*\n)+)", section, re.MULTILINE)
    assert printed
    texts = (re.sub(r"in [\d.]+ s:", "in N s:", text) for text in (printed[1], output))
    wanted, words = (" ".join(text.split()) for text in texts)
    beginning, rest = wanted.split(" … ")
    assert beginning in words, words
    assert rest in words[words.index(beginning) :], words


def check_call(_section: str, output: str) -> None:
    assert output.count("\nstdin,0.000000,3.208938,") == 2
    assert Path("why.png").stat().st_size > 10_000


def check_model(_section: str, output: str) -> None:
    assert {path.name for path in Path("results").iterdir()} == {"emobox-default"}
    assert {path.name for path in Path("models").iterdir()} == {"mine", "default"}
    assert not Path("models/default", CHECKPOINT_FILE).exists()
    assert len(Path("report.csv").read_text().splitlines()) == 25
    assert "emobox" in output


def check_own_data(section: str, _output: str) -> None:
    with Path("report.csv").open(newline="") as stream:
        report = list(csv.DictReader(stream))
    assert len(report) == 24
    assert [name for name in report[0] if name.startswith("p_")] == re.findall("`(p_.*?)`", section)
    summary = json.loads(Path("report.summary.json").read_text())
    assert summary["negative"] == ["frustrated"]
    table = Path("labels.csv").read_text().splitlines()
    assert f"    {table[0]}\n" in section
    assert recipe_files.get_recipe("mine.toml").training.max_epochs == 40
    assert Path("results/pooled-default/report.json").is_file()
    assert Path("tuning/default/best.toml").is_file()


CHECKS: dict[str, Callable[[str, str], None]] = {
    "sercli": check_first_report,
    "What it handles": check_call,
    "From RAVDESS to a model of your own": check_model,
    "Your own data": check_own_data,
}


@pytest.mark.parametrize("heading", [heading for heading, text in SECTIONS.items() if list_commands(text)])
def test_every_command_runs(heading: str, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for command in list_commands(SECTIONS[heading]):
        if command in NOT_RUN:
            continue
        if command == "sercli train --resume":
            interrupt_training()
        run(RUN_INSTEAD.get(command, command))
    captured = capfd.readouterr()
    if check := CHECKS.get(heading):
        check(SECTIONS[heading], captured.out + captured.err)


def test_every_command_is_found() -> None:
    commands = [command for text in SECTIONS.values() for command in list_commands(text)]
    assert {*NOT_RUN, *RUN_INSTEAD, "cat call.wav | sercli predict -"} <= set(commands)
    assert CHECKS.keys() <= SECTIONS.keys()
    assert set(COMMANDS) == {name for command in commands for name in re.findall(r"\bsercli ([a-z]+)", command)}
    mention = rf"\bsercli\s+(?:{'|'.join(COMMANDS)})\b"
    found = "\n".join([*_IN_BLOCK.findall(README), *_INLINE.findall(README)])
    assert len(re.findall(mention, found)) == len(re.findall(mention, README)), "a command is not set as code"


@pytest.mark.parametrize("command", NOT_RUN)
def test_what_is_not_run_exists(command: str) -> None:
    if command.startswith("make "):
        subprocess.run([*shlex.split(command), "--dry-run"], cwd=PROJECT, check=True, capture_output=True)
    else:
        extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert set(re.findall(r"\[(.*)\]", command)) <= set(extras)


def test_every_option_that_is_named_exists() -> None:
    root = get_command(app)
    commands = [root, *root.commands.values()]  # type: ignore[attr-defined]
    options = {option for command in commands for parameter in command.params for option in parameter.opts}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))
    assert len(named) > 10
    assert named <= {*options, "--help"}


def test_the_example_in_python_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = re.search(r"^    from sercli import Predictor, .*\n(?:(?:    .*)?\n)+", README, re.MULTILINE)
    assert example
    code = re.sub(r"^    ", "", example[0], flags=re.MULTILINE)
    shutil.rmtree("calls")
    shutil.copytree("samples/calls", "calls")
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102 - our own text
    assert capsys.readouterr().out.splitlines()[-1] == "4 answers"
    assert len((place / "report.csv").read_text(encoding="utf-8").splitlines()) == 5


def test_every_file_that_is_linked_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert link.startswith("http") or (PROJECT / link).exists(), link
