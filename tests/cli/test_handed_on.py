"""What is given on the command line is what is done: seeds, labels and corpora, seen in what a command writes."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sercli.audio.augment import draw_augmentations, name_copy
from sercli.features.store import FeatureStore
from tests.command import run_sercli
from tests.sounds import SAMPLES, make_tone, write_sound
from tests.toy import TOY_RECIPE
from tests.toy_index import index_toy
from tests.toy_model import make_model

SELECTED = ("--corpora=ravdess", "--emotions=happy,sad", "--map=angry=sad")
SELECTION = {"emotions": ["happy", "sad"], "map": {"angry": "sad"}}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    index_toy(folder / "data", speakers=6, takes=2)
    (folder / "mine.toml").write_text(TOY_RECIPE.replace("copies = 0", "copies = 1"))
    status, _, err = run_sercli("featurize", "--recipe", "mine.toml", "--seed", "7", cwd=folder)
    assert status == 0, err
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_featurize_draws_copies_from_the_seed(work: Path) -> None:
    with FeatureStore(work / "data/features.h5") as store:
        found = {(row.sha256, row.augmentation) for row in store.rows if row.augmentation}
    assert found
    assert found == {(sha256, name_copy(each)) for sha256, _ in found for each in draw_augmentations(sha256, 1, 7)}


def test_train_takes_seed_labels_and_device(work: Path) -> None:
    asked = ("--recipe=mine.toml", "--seed=5", "--negative=happy", "--device=cpu", "--out=m", *SELECTED)
    status, _, err = run_sercli("train", *asked, cwd=work)
    assert status == 0, err
    model = read(work / "m/model.json")
    assert (model["seed"], model["labels"], model["negative"]) == (5, ["happy", "sad"], ["happy"])
    assert (model["label_selection"], model["training"]["device"]) == (SELECTION, "cpu")


def test_evaluate_takes_seeds_and_labels(work: Path) -> None:
    asked = ("--recipe=mine.toml", "--protocol=k2", "--seed=3", "--seeds=2", "--jobs=1", "--out=r", *SELECTED)
    status, _, err = run_sercli("evaluate", *asked, cwd=work)
    assert status == 0, err
    report = read(work / "r/report.json")
    assert (report["seeds"], report["labels"], report["label_selection"]) == ([3, 4], ["happy", "sad"], SELECTION)
    with (work / "r/predictions.csv").open(newline="") as stream:
        rows = [(row["file"], row["seed"]) for row in csv.DictReader(stream)]
    assert len(rows) == len(set(rows)) == 2 * 36, "one row for every utterance and seed"


def test_tune_sets_the_asked_fold_aside_and_takes_seed_and_labels(work: Path) -> None:
    asked = ("tune", "--recipe=mine.toml", "--protocol=loso", "--trials=1", "--folds=2")
    for fold in (1, 4):
        status, _, err = run_sercli(*asked, f"--test-fold={fold}", f"--out=t{fold}", *SELECTED, cwd=work)
        assert status == 0, err
    one, four = (read(work / f"t{fold}/tuning.json")["test_speakers"] for fold in (1, 4))
    assert len(one) == len(four) == 1
    assert one != four
    for other in ("--seed=9", "--emotions=happy,neutral"):
        status, _, err = run_sercli(*asked, "--test-fold=1", "--out=t1", *SELECTED, other, cwd=work)
        assert status == 1
        assert "has the trials of another recipe, search space, seed or data" in err


def test_predict_takes_labels_map_and_page(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    write_sound(tmp_path / "a.wav", make_tone(seconds=1.0))
    (tmp_path / "truth.csv").write_text("file,emotion\na.wav,joy\n")
    given = ("--emotions=happy,sad", "--negative=happy", "--labels=truth.csv", "--map=joy=happy", "--embed-audio")
    status, _, err = run_sercli("predict", "a.wav", "--out=r.html", "--model=model", "--vad=off", *given, cwd=tmp_path)
    assert status == 0, err
    summary = read(tmp_path / "r.summary.json")
    assert (summary["labels"], summary["negative"], summary["scored"]) == (["happy", "sad"], ["happy"], 1)
    assert "data:audio/wav;base64," in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_explain_takes_the_channel(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    call = SAMPLES / "calls/stereo.flac"
    status, out, err = run_sercli("explain", call, "--channel", "2", "--model", "model", cwd=tmp_path)
    assert status == 0, err
    assert json.loads(out)["channel"] == "2"
    status, out, err = run_sercli("explain", call, "--model", "model", cwd=tmp_path)
    assert (status, json.loads(out)["channel"]) == (0, "mix")
    assert err.endswith("scores them separately: explain one with --channel 1 or 2\n")
    status, _, err = run_sercli("explain", call, "--channel", "3", "--model", "model", cwd=tmp_path)
    assert status == 2
    assert "no channel '3': expected mix or 1 or 2" in err


def test_a_recording_that_cannot_be_degraded_is_named_and_the_status_is_1(work: Path, tmp_path: Path) -> None:
    shutil.copytree(work, tmp_path, dirs_exist_ok=True)
    gone = min((tmp_path / "data/recordings").rglob("*.wav"))
    gone.unlink()
    asked = ("--recipe=mine.toml", "--protocol=k2", "--degrade=telephone", "--jobs=1", "--out=d")
    status, out, err = run_sercli("evaluate", *asked, cwd=tmp_path)
    assert (status, out) == (1, "")
    assert err.splitlines()[-1] == f"error: recordings/{gone.parent.name}/{gone.name}: no such file"
    assert read(tmp_path / "d/telephone/report.json")["failures"][0]["reason"] == "no such file"
