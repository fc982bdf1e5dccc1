"""The five commands one after the other on a toy corpus, and what happens when each is disturbed."""

import io
import json
import re
import shutil
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from sercli.cli import console
from sercli.cli.app import app
from sercli.corpora.index import read_index
from sercli.features.frontend import FEATURES
from sercli.features.store import FeatureStore
from sercli.features.writer import journal_path
from sercli.models.model import load_model
from sercli.training.recipe_files import RECIPES
from tests.command import interrupt_sercli, run_sercli
from tests.toy_index import index_toy

SMALL_NETWORK = """base = "paper"
[network]
channels = [16, 16]
lstm_size = 16
attention_size = 8
dense_size = 16
"""


@pytest.mark.parametrize("width", [10, 40, 80])
def test_a_narrow_terminal_cuts_no_number(width: int) -> None:
    table = Table("name", box=None)
    for heading in ("UAR", "95% interval"):
        table.add_column(heading, justify="right")
    table.add_row(Text("a recipe with a long name"), "0.6331", "0.5921–0.6771")
    shown = Console(file=io.StringIO(), width=width, soft_wrap=True)
    console.print_table(table, shown)
    text = shown.file.getvalue()  # type: ignore[attr-defined]
    assert "0.6331" in text
    assert "0.5921–0.6771" in text


def test_no_text_is_a_command_to_the_terminal_or_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Console(file=io.StringIO(), width=80)
    monkeypatch.setattr(console, "stderr", shown)
    console.say("a\x1b[31m[/b]\nb")
    console.warn("c\x9b")
    table = Table(box=None)
    table.add_column(console.as_text("[/b]\x07"))
    console.print_table(table, shown)
    assert shown.file.getvalue().splitlines() == ["a?[31m[/b]", "b", "warning: c?", " [/b]? "]  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which prepare and featurize have run."""
    folder = tmp_path_factory.mktemp("work")
    index_toy(folder / "data", speakers=6, takes=2)
    status, out, err = run_sercli("featurize", "--recipe", "paper", "--jobs", "8", cwd=folder)
    assert (status, out) == (0, "")
    assert "144 extracted, 0 reused, 0 of 48 utterances failed" in err
    (folder / "data" / "small.toml").write_text(SMALL_NETWORK)
    return folder


@pytest.fixture
def copy(work: Path, tmp_path: Path) -> Path:
    shutil.copytree(work / "data", tmp_path / "data")
    return tmp_path


def test_train_evaluate_and_predict_follow_featurize(copy: Path) -> None:
    asked = ("--protocol", "loso", "--recipe", "data/small.toml", "--max-epochs", "1", "--out", "r", "--jobs", "1")
    status, out, err = run_sercli("evaluate", *asked, cwd=copy)
    assert (status, out) == (0, ""), err
    assert "6 of 6" in err
    assert "UAR" in err
    assert json.loads((copy / "r/report.json").read_text())["command"] == f"sercli evaluate {' '.join(asked)}"

    status, out, err = run_sercli(
        "train", "--recipe", "data/small.toml", "--max-epochs", "2", "--figures", "r", "--corpora", "ravdess", cwd=copy
    )
    assert (status, out) == (0, ""), err
    assert "epoch 2: loss" in err
    assert "| loso | ravdess | 4 | unseen | 1 | 1 |" in (copy / "models/small/MODEL_CARD.md").read_text()
    assert sum(json.loads((copy / "models/small/model.json").read_text())["self_test"]) == pytest.approx(1, abs=1e-4)

    recordings = copy / "data/recordings"
    status, out, err = run_sercli(
        "predict", recordings, "--model", "models/small", "--labels", "names", "--out", "r.csv", cwd=copy
    )
    assert (status, out) == (0, ""), err
    assert len((copy / "r.csv").read_text().splitlines()) == 49
    assert json.loads((copy / "r.summary.json").read_text())
    assert (copy / "r.confusion.png").stat().st_size > 1_000


@pytest.mark.parametrize("arguments", [(), ("--recipe", "paper")])
def test_a_second_featurize_reuses_everything(copy: Path, arguments: tuple[str, ...]) -> None:
    status, _, err = run_sercli("featurize", *arguments, cwd=copy)
    assert status == 0
    assert ": 0 extracted, 144 reused" in err


def test_featurize_adds_what_is_asked_for(copy: Path) -> None:
    (copy / "data/features.h5").unlink()
    for arguments, names, rows, extracted in (
        ((), ("logmel",), 48, 48),
        (("--features", "rms, zcr"), ("logmel", "rms", "zcr"), 48, 48),
        (("--recipe", "svm"), (*RECIPES["svm"].features, "rms", "zcr"), 144, 144),
        (("--features", "all"), tuple(FEATURES), 144, 0),
    ):
        status, _, err = run_sercli("featurize", "--jobs", "1", *arguments, cwd=copy)
        assert status == 0
        assert f": {extracted} extracted, {rows - extracted} reused, 0 of 48" in err
        with FeatureStore(copy / "data/features.h5") as store:
            assert (store.parameters.names, len(store)) == (names, rows)


def test_train_and_evaluate_say_what_adds_what_a_store_lacks(copy: Path) -> None:
    (copy / "data/features.h5").unlink()
    assert run_sercli("featurize", cwd=copy)[0] == 0
    for command in (("train",), ("evaluate", "--protocol", "loso")):
        status, _, err = run_sercli(*command, "--recipe", "paper", cwd=copy)
        assert status == 1
        assert "lacks mfcc of 48 of 48 utterances: add it with 'sercli featurize --recipe paper'" in err
    names = ",".join(RECIPES["paper"].features)
    assert run_sercli("featurize", "--features", names, cwd=copy)[0] == 0
    for command in (("train",), ("evaluate", "--protocol", "loso")):
        status, _, err = run_sercli(*command, "--recipe", "paper", cwd=copy)
        assert status == 1
        assert "has 0 of 2 augmented copies" in err
        assert "'sercli featurize --recipe paper'" in err


def test_a_recording_that_fails_is_named_and_the_status_is_1(copy: Path) -> None:
    gone = min((copy / "data/recordings").rglob("*.wav"))
    gone.unlink()
    status, _, err = run_sercli("featurize", "--restart", cwd=copy)
    assert status == 1
    assert f"error: recordings/{gone.parent.name}/{gone.name}: no such file" in err
    with FeatureStore(copy / "data/features.h5") as store:
        assert len(store) == 47


def test_a_store_of_other_parameters_is_refused_with_both(copy: Path) -> None:
    status, out, err = run_sercli("featurize", "--denoise", cwd=copy)
    assert (status, out) == (1, "")
    assert "made with other parameters" in err
    assert "denoise: found False, expected True" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("featurize", "--index", "none.csv"), "error: no index at none.csv: make it with 'sercli prepare'"),
        (("train", "--store", "none.h5"), "error: no feature store at none.h5: make it with 'sercli featurize'"),
        (("evaluate", "--store", "cut.h5"), "error: cut.h5 is not a complete HDF5 file"),
        (("train", "--resume"), "error: nothing to resume in models/default"),
        (("train", "--corpora", "nemo"), "error: corpus 'nemo' is not in the index: it has ravdess"),
        (("evaluate", "--protocol", "emobox"), "error: protocol emobox needs exactly the 24 speakers of ravdess"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_is_missing_or_damaged_gives_one_line_and_status_1(
    copy: Path, arguments: tuple[str, ...], message: str
) -> None:
    (copy / "cut.h5").write_bytes((copy / "data/features.h5").read_bytes()[:5_000])
    status, out, err = run_sercli(*arguments, cwd=copy)
    assert (status, out) == (1, "")
    assert message in err
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--recipe", "best"), "unknown recipe 'best': expected one of default, paper, cnn"),
        (("train", "--device", "tpu"), "unknown device 'tpu'"),
        (("train", "--device", "cuda"), "this machine has no cuda device"),
        (("evaluate", "--protocol", "best", "--store", "none.h5"), "unknown protocol 'best'"),
        (("evaluate", "--protocol", "cross", "--train", "ravdess"), "--protocol cross requires --train and --test"),
        (("evaluate", "--train", "ravdess", "--test", "nemo"), "--protocol cross requires --train and --test"),
        (
            ("evaluate", "--protocol", "cross", "--train", "a", "--test", "a"),
            "expected different corpora to train and to test on",
        ),
        (
            ("evaluate", "--protocol", "loso", "--degrade", "fax"),
            "unknown degradation 'fax': expected one of telephone",
        ),
        (("featurize", "--jobs", "0"), "greater than or equal to 1"),
        (("featurize", "--recipe", "best"), "unknown recipe 'best': expected one of default, "),
        (("featurize", "--features", "pitch"), "unknown feature 'pitch': expected one of mfcc, delta"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_usage_gives_status_2(copy: Path, arguments: tuple[str, ...], message: str) -> None:
    import torch

    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    status, out, err = run_sercli(*arguments, cwd=copy)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("disk", [10, 1_000_000], ids=["full from the start", "full later"])
def test_featurize_on_a_full_disk_keeps_the_old_store(copy: Path, disk: int, jobs: str) -> None:
    before = (copy / "data/features.h5").read_bytes()
    status, _, err = run_sercli("featurize", "--restart", "--features", "all", "--jobs", jobs, cwd=copy, disk=disk)
    assert status == 1
    assert "error: File too large (data/features.h5.part): " in err
    assert len(err.splitlines()) == 1
    assert (copy / "data/features.h5").read_bytes() == before
    assert not list((copy / "data").glob(".*.tmp"))


@pytest.mark.parametrize(
    ("command", "first"),
    [
        (("train", "--max-epochs", "1"), "epoch 1: "),
        (("tune", "--trials", "1", "--folds", "2", "--set", "training.max_epochs=1"), "1 of 1: UAR 0."),
        (("evaluate", "--protocol", "loso", "--max-epochs", "1"), "1 of "),
    ],
)
def test_what_is_not_used_is_said_before_the_first_epoch(copy: Path, command: tuple[str, ...], first: str) -> None:
    header, one, two, *rest = (copy / "data/index.csv").read_text().splitlines()
    marked = [f"{header},split", f"{one},test", f"{two},test", *(f"{row}," for row in rest)]
    absent = re.sub("[0-9a-f]{64}", "0" * 64, f"{rest[-1]},").replace(rest[-1].split(",")[0], "gone.wav")
    (copy / "data/index.csv").write_text("\n".join([*marked, absent]) + "\n")
    status, _, err = run_sercli(*command, "--recipe", "data/small.toml", cwd=copy)
    assert status == 0, err
    skipped, *lines = err.splitlines()
    assert skipped.startswith("warning: 1 indexed utterance is not in the store and skipped: gone.wav; ")
    if command[0] != "evaluate":  # which tests these too
        assert lines.pop(0) == "left out 2 utterances that the index marks as test, and their duplicates"
    assert lines[0].startswith(first)


def test_train_on_a_full_disk_leaves_no_half_model(copy: Path) -> None:
    status, _, err = run_sercli("train", "--max-epochs", "1", cwd=copy, disk=500_000)
    assert status == 1
    assert "error: File too large (models/default/" in err
    assert not (copy / "models/default").exists()


def test_evaluate_on_a_full_disk_leaves_no_half_file(copy: Path) -> None:
    status, _, err = run_sercli(
        "evaluate", "--protocol", "paper", "--recipe", "paper", "--jobs", "1", cwd=copy, disk=500_000
    )
    assert status == 1
    assert "error: File too large (results/paper-paper/" in err
    assert not [path for path in (copy / "results").rglob("*") if path.is_file()]


def test_tune_on_a_full_disk_does_not_blame_the_study(copy: Path) -> None:
    status, _, err = run_sercli("tune", "--trials", "1", "--folds", "2", cwd=copy, disk=10)
    assert status == 1
    assert "error: File too large" in err
    assert "damaged" not in err


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_in_featurize_keeps_what_was_committed_and_the_old_store(copy: Path, jobs: str) -> None:
    store = copy / "data/features.h5"
    before = store.read_bytes()
    index_toy(copy / "data", speakers=8, takes=4, seconds=2.0)
    journal = journal_path(store)
    status, out, err = interrupt_sercli(
        "featurize", "--jobs", jobs, cwd=copy, when=lambda: journal.exists() and journal.stat().st_size > 200_000
    )
    assert (status, out) == (1, "")
    assert err == "error: interrupted; finished work is kept: repeat the command to resume\n"
    assert store.read_bytes() == before
    status, _, err = run_sercli("featurize", cwd=copy)
    assert status == 0
    assert f"of {len(read_index(copy / 'data/index.csv'))} utterances failed" in err
    assert " 0 reused" not in err
    assert not journal.exists()


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_in_evaluate_keeps_finished_folds(copy: Path, jobs: str) -> None:
    folds = copy / "r/folds"
    asked = ("evaluate", "--protocol=loso", "--recipe=data/small.toml", "--max-epochs=2", "--out=r")
    status, out, err = interrupt_sercli(*asked, f"--jobs={jobs}", cwd=copy, when=lambda: any(folds.glob("seed*")))
    assert (status, out) == (1, "")
    assert err.splitlines()[-1] == "error: interrupted; finished work is kept: repeat the command to resume"
    assert "Traceback" not in err
    finished = {path: path.stat().st_mtime_ns for path in folds.glob("seed*/fold.json")}
    assert 1 <= len(finished) < 6
    assert not (copy / "r/report.json").exists()
    status, _, err = run_sercli(*asked, "--jobs=1", cwd=copy)
    assert status == 0, err
    assert err.count("development UAR") == 6 - len(finished)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_a_terminal_shows_what_train_is_doing(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(console, "stderr", Console(file=screen, force_terminal=True, width=120, color_system=None))
    asked = ("train", "--recipe", "data/small.toml", "--max-epochs", "2")
    monkeypatch.chdir(copy)
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert "reading features and training the first epoch" in screen.getvalue()
    assert "epoch 1 of at most 2, at most 0 min left" in screen.getvalue()
    assert "epoch 2 of at most 2, calibrating the model" in screen.getvalue()


def test_ctrl_c_in_train_leaves_a_model(copy: Path) -> None:
    checkpoint = copy / "models/small/checkpoint.safetensors"
    status, out, err = interrupt_sercli("train", "--recipe", "data/small.toml", cwd=copy, when=checkpoint.exists)
    assert (status, out) == (1, "")
    assert "error: interrupted: models/small has the model trained so far; continue with --resume" in err
    assert "Traceback" not in err
    load_model(copy / "models/small")
    status, _, err = run_sercli("train", "--recipe", "data/small.toml", "--resume", "--max-epochs", "3", cwd=copy)
    assert status == 0, err
    assert not checkpoint.exists()


@pytest.mark.parametrize(
    ("more", "folder"), [((), "paper-paper"), (("--members", "2"), "paper-paper-members2")], ids=["one", "members"]
)
def test_results_are_named_by_protocol_recipe_and_members(copy: Path, more: tuple[str, ...], folder: str) -> None:
    asked = ("--protocol", "paper", "--recipe", "paper", "--max-epochs", "1", "--jobs", "1", *more)
    status, out, err = run_sercli("evaluate", *asked, cwd=copy)
    assert (status, out) == (0, ""), err
    assert [path.name for path in (copy / "results").iterdir()] == [folder]


def test_the_models_of_an_evaluation_are_tested_on_telephone_audio(copy: Path) -> None:
    asked = ("evaluate", "--protocol=paper", "--recipe=data/small.toml", "--max-epochs=1", "--jobs=1")
    assert run_sercli(*asked, cwd=copy)[0] == 0
    before = (copy / "results/paper-small/report.json").read_bytes()
    status, out, err = run_sercli(*asked, "--degrade", "telephone", cwd=copy)
    assert (status, out) == (0, ""), err
    assert "protocol paper, telephone: random 80/10/10" in err
    assert "development UAR" not in err, "nothing is trained again"
    clean = json.loads(before)["overall"]
    assert f"without degradation: UAR {clean['uar']:.3f}, accuracy {clean['accuracy']:.3f}" in err
    assert (copy / "results/paper-small/report.json").read_bytes() == before
    status, out, err = run_sercli("compare", "results/paper-small", "results/paper-small/telephone", cwd=copy)
    assert status == 0
    assert "telephone" in out
    assert "not comparable" in err


def test_baselines_are_evaluated_and_compared(copy: Path) -> None:
    for recipe in ("logistic", "knn"):
        status, out, err = run_sercli("evaluate", "--protocol", "loso", "--recipe", recipe, "--jobs", "1", cwd=copy)
        assert (status, out) == (0, ""), err
    status, out, err = run_sercli(
        "compare", "results/loso-logistic", "results/loso-knn", "--out", "table.csv", cwd=copy
    )
    assert (status, out) == (0, "")
    *table, saved = err.splitlines()
    assert saved == "saved table.csv"
    names = [line.split()[0] for line in table]
    assert names[0] == "recipe"
    assert sorted(names[1:]) == ["knn", "logistic"]
    status, out, err = run_sercli("compare", "results/loso-logistic", "results/loso-knn", cwd=copy)
    assert (status, out.splitlines(), err) == (0, table, "")
    assert len((copy / "table.csv").read_text().splitlines()) == 3
    status, out, err = run_sercli("compare", "results/none", cwd=copy)
    assert (status, out) == (1, "")
    assert "results/none is not a folder: expected results" in err
    assert (copy / "results" / "loso-knn" / "history.csv").read_text().startswith("seed,fold,network,epoch,train_loss,")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("compare", "results", "--out", "table.json"), "--out takes a name ending in .csv, found 'table.json'"),
        (("evaluate", "--recipe", "knn", "--max-epochs", "3"), "recipe knn has no epochs"),
        (("evaluate", "--degrade", "radio"), "unknown degradation 'radio'"),
        (("evaluate", "--recipe", "svm", "--degrade", "gsm"), "recipe svm has no network"),
        (("evaluate", "--recipe", "svm", "--members", "3"), "recipe svm has no network"),
        (("evaluate", "--recipe", "svm", "--set", "network.members=3"), "has no network: leave"),
        (("evaluate", "--out", "data/index.csv"), "data/index.csv is a file, expected a folder"),
        (("train", "--out", "data/index.csv"), "data/index.csv is a file, expected a folder"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage_whatever_the_data(
    copy: Path, command: tuple[str, ...], message: str
) -> None:
    status, out, err = run_sercli(*command, cwd=copy)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
