"""A search finds a planted better value, resumes, and never opens the test side."""

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from sercli.cli.app import app
from sercli.corpora.index import read_index, write_index
from sercli.errors import InputError, SplitError, UsageError
from sercli.features.store import FeatureStore
from sercli.models.config import NetworkConfig
from sercli.splits.tuning_folds import make_inner_folds
from sercli.training.data import CorpusFeatures, TrainingPlan
from sercli.training.recipe_files import RECIPES, get_recipe, read_recipe_file, render_recipe
from sercli.training.recipes import Recipe, TrainConfig
from sercli.training.search_space import check_space, find_current_values, make_space, suggest
from sercli.training.tune import Trial, TuningResult, tune
from tests.toy_index import featurize_toy

SPACE = {"training.learning_rate": {"low": 1e-7, "high": 1e-2, "log": True}, "network.channels": [[8], [12]]}
RECIPE = Recipe(
    name="small",
    features=("logmel",),
    network=NetworkConfig(name="cnn", channels=(8,), dense_size=16),
    training=TrainConfig(batch_size=8, learning_rate=1e-7, max_epochs=6, copies=0),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return featurize_toy(tmp_path_factory.mktemp("data"), takes=2, copies=0)


def run(data: Path, out: Path, **arguments: Any) -> TuningResult:
    values = {"trials": 2, "folds": 2, "space": SPACE, "device": "cpu", **arguments}
    return tune(data / "index.csv", data / "features.h5", RECIPE, out, **values)


def test_ten_trials_find_a_planted_better_value(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "t"
    result = run(data, out, trials=10, command="sercli tune")
    own = result.trials[0]  # the recipe as it is, with a learning rate at which nothing is learned
    assert own.parameters == {"training.learning_rate": 1e-7, "network.channels": "[8]"}
    assert own.uar is not None
    assert result.uar > own.uar + 0.2
    assert result.recipe.training.learning_rate > 1e-4
    assert sum(result.importance.values()) == pytest.approx(1)
    assert max(result.importance, key=lambda name: result.importance[name]) == "training.learning_rate"
    assert get_recipe(out / "best.toml") == replace(result.recipe, name="small-tuned")
    assert read_recipe_file(out / "best.toml").tune == SPACE
    with (out / "trials.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["number"]) for row in rows] == list(range(10))
    assert {row["state"] for row in rows} <= {"complete", "pruned"}
    assert max(float(row["uar"]) for row in rows if row["uar"]) == result.uar
    assert (out / "tuning.png").stat().st_size > 5_000
    facts = json.loads((out / "tuning.json").read_text())
    assert (facts["trials"], facts["uar"], facts["command"]) == (10, result.uar, "sercli tune")
    assert facts["test_speakers"] == list(result.test_speakers)


def test_the_test_side_is_never_opened(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: set[int] = set()

    def spy(read: Callable[..., Any]) -> Callable[..., Any]:
        def note(self: FeatureStore, start: int, *arguments: Any) -> Any:
            opened.update(range(start, arguments[0]) if isinstance(arguments[0], int) else [start])
            return read(self, start, *arguments)

        return note

    for name in ("read", "read_frames"):
        monkeypatch.setattr(FeatureStore, name, spy(getattr(FeatureStore, name)))
    index = read_index(data / "index.csv")
    marked = min(utterance.speaker for utterance in index.utterances)
    rows = tuple(replace(u, extra={"split": "test" if u.speaker == marked else ""}) for u in index.utterances)
    write_index(data / "index-marked.csv", replace(index, utterances=rows))
    result = tune(
        data / "index-marked.csv", data / "features.h5", RECIPE, tmp_path / "t", trials=1, folds=2, space=SPACE
    )
    speaker_of = {utterance.sha256: utterance.speaker for utterance in index.utterances}
    with FeatureStore(data / "features.h5") as store:
        speakers = {speaker_of[store.rows[row].sha256] for row in opened}
    everybody = {utterance.speaker for utterance in index.utterances}
    assert result.test_speakers
    assert speakers == everybody - set(result.test_speakers) - {marked}
    assert marked not in result.test_speakers


def test_a_search_goes_on_where_it_ended_and_is_seeded(data: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int, step: Trial | TrainingPlan) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "a", trials=3, progress=stop)
    assert (tmp_path / "a/best.toml").is_file()
    calls: list[int] = []
    resumed = run(data, tmp_path / "a", trials=3, progress=lambda done, *_: calls.append(done))
    assert calls == [2, 3]
    assert len(resumed.trials) == 3
    whole = run(data, tmp_path / "b", trials=2)
    assert [t.parameters for t in whole.trials] == [t.parameters for t in resumed.trials[:2]]
    assert [t.uar for t in whole.trials] == [t.uar for t in resumed.trials[:2]]
    with pytest.raises(InputError, match="has the trials of another recipe, search space, seed or data"):
        run(data, tmp_path / "a", seed=1)
    with (tmp_path / "a/study.log").open("a") as stream:
        stream.write('{"op_code": 4, "worker_id"')  # a full disk, or a kill
    assert len(run(data, tmp_path / "a", trials=4).trials) == 4
    (tmp_path / "a/study.log").write_text('{"op_code": 99}\n')
    with pytest.raises(InputError, match="it is damaged"):
        run(data, tmp_path / "a")
    assert len(run(data, tmp_path / "a", trials=1, restart=True).trials) == 1


def test_a_search_that_is_interrupted_in_its_first_trial_repeats_it_and_logs_no_traceback(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(CorpusFeatures, "fit_normalizer", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "deep/t")
    monkeypatch.undo()
    assert "Traceback" not in capfd.readouterr().err
    (first,) = run(data, tmp_path / "deep/t", trials=1).trials
    assert first.parameters == {"training.learning_rate": 1e-7, "network.channels": "[8]"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--recipe", "svm"), "recipe svm is a baseline"), (("--protocol", "best"), "unknown protocol 'best'")],
)
def test_the_command_refuses_names_before_slow_imports(
    arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sercli.training.tune", None)  # importing it raises ImportError
    with pytest.raises(UsageError, match=message):
        app(["tune", *arguments], standalone_mode=False)


def test_the_command_searches_what_the_recipe_names(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text(render_recipe(RECIPE, {"network.dropout": [0.1, 0.2]}))
    monkeypatch.chdir(tmp_path)
    arguments = ["--recipe", "mine.toml", "--trials", "1", "--folds", "2", "--device", "cpu", "--data-dir", str(data)]
    assert not app(["tune", *arguments, "--set", "training.max_epochs=1"], standalone_mode=False)
    (folder,) = Path("tuning").iterdir()
    best = get_recipe(folder / "best.toml")
    assert (best.training.max_epochs, best.network.dropout in {0.1, 0.2}) == (1, True)
    shown = capsys.readouterr().err
    assert "1 of 1: UAR 0." in shown
    assert f"on development speakers; saved {folder}/best.toml" in shown


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if not recipe.baseline])
def test_the_default_search_space_is_that_of_the_paper(name: str) -> None:
    space = make_space(RECIPES[name])
    check_space(RECIPES[name], space)
    assert {"network.channels", "network.attention_size", "network.dropout", "training.learning_rate"} <= set(space)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"training.muons": [1.0, 2.0]}, "tune, training.muons: training.muons is not a parameter: did you mean muon"),
        (
            {"features": [["mfcc"], ["logmel"]]},
            "tune, features: expected a parameter of network, training, augmentation",
        ),
        ({"training.muon": [1.0]}, "expected a list of at least 2 choices, or a table with low and high, found"),
        ({"training.muon": [1.0, "x"]}, 'tune, training.muon: training.muon should be a finite number, found "x"'),
        ({"training.muon": {"low": 1.0}}, "expected the numbers low and high"),
        ({"training.muon": {"low": 1.0, "high": 2.0, "hi": 1}}, "expected the numbers low and high"),
        ({"training.muon": {"low": 2.0, "high": 1.0}}, "expected low < high and step > 0"),
        ({"training.muon": {"low": 0.0, "high": 1.0, "log": True}}, "with log, low > 0"),
        ({"network.kernel_size": {"low": 3, "high": 7}}, "kernel_size should be an odd number under 64, found 4"),
        ({"network.lstm_size": {"low": 8, "high": 16, "step": 0.5}}, "expected whole numbers, found"),
    ],
)
def test_an_invalid_search_space_is_refused(space: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_space(RECIPE, space)


def test_ranges_are_of_the_kind_of_their_parameter() -> None:
    space = {
        "training.weight_decay": {"low": 0, "high": 1},
        "training.muon": {"low": 0, "high": 20, "step": 0.5},
        "augmentation.mixup": {"low": 0.0, "high": 0.9, "step": 0.1},
        "network.lstm_size": {"low": 16, "high": 128, "step": 16},
    }
    recipe = RECIPES["default"]
    check_space(recipe, space)
    current = find_current_values(recipe, space)
    assert current is not None, "0.3 is three steps of 0.1 but for rounding"
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(current)
    trials = [{name: suggest(trial, name, space[name]) for name in space} for trial in (study.ask() for _ in range(9))]
    assert trials[0] == current
    assert all(0 < trial["training.weight_decay"] < 1 for trial in trials)
    assert {trial["training.muon"] * 2 % 1 for trial in trials} == {0}
    assert {type(trial["network.lstm_size"]) for trial in trials} == {int}


def test_the_place_in_the_file_is_named_whether_names_are_quoted_or_not(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("base = 'default'\n[tune]\ntraining.muon = [1.0, 2.0]\n'network.dropout' = [0.1, 2.0]\n")
    assert read_recipe_file(path).tune == {"training.muon": [1.0, 2.0], "network.dropout": [0.1, 2.0]}
    with pytest.raises(UsageError, match=r"mine.toml, line 4: tune, network.dropout: network.dropout should be 0 to"):
        tune(tmp_path / "index.csv", tmp_path / "features.h5", path, tmp_path / "t")


def test_invalid_arguments_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="recipe svm is a baseline"):
        tune(data / "index.csv", data / "features.h5", "svm", tmp_path / "t")
    with pytest.raises(UsageError, match=r"index\.csv is a file, expected a folder for the search: give another --out"):
        run(data, data / "index.csv")
    with pytest.raises(UsageError, match="protocol paper tests known speakers"):
        run(data, tmp_path / "t", protocol="paper")
    with pytest.raises(UsageError, match="protocol loso has folds 1 to 6, found 7"):
        run(data, tmp_path / "t", protocol="loso", test_fold=7)
    with pytest.raises(SplitError, match="9 inner folds need as many speakers, found 5: lower --folds"):
        run(data, tmp_path / "tuning/t", folds=9)
    assert not list(tmp_path.iterdir())


def test_every_speaker_is_a_development_speaker_once(data: Path) -> None:
    index = read_index(data / "index.csv")
    folds = make_inner_folds(index, 3, 0)
    dev = sorted(member for fold in folds for member in fold.dev)
    assert dev == list(range(len(index)))
    genders = [{index.utterances[member].gender for member in fold.dev} for fold in folds]
    assert genders == [{"female", "male"}] * 3
