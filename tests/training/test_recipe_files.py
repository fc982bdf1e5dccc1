"""Recipes by name, from files, with changes, and of trained models."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from sercli.cli.app import app
from sercli.config import AudioConfig, ParameterError
from sercli.errors import UsageError
from sercli.training.recipe_files import (
    RECIPES,
    describe_recipe,
    get_recipe,
    list_recipes,
    read_recipe_file,
    render_recipe,
)
from sercli.training.recipes import AugmentConfig, Recipe
from tests.toy_model import make_model

DEFAULT = RECIPES["default"]


def test_blank_lines_of_any_length_are_read_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, 'base = "default"\nfoo = 1\n' + " " * 100_000 + "\n")
    with pytest.raises(UsageError, match=r"mine\.toml, line 2: foo"):
        get_recipe(path)


def test_the_line_of_a_parameter_is_found_before_any_white_space(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mine\.toml, line 2: foo"):
        get_recipe(write(tmp_path, 'base = "default"\n\tfoo\t= 1\n'))


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refuse(source: str | Path, *changes: str) -> str:
    with pytest.raises(UsageError) as raised:
        get_recipe(source, changes)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_recipes_that_come_with_sercli() -> None:
    assert list(RECIPES)[:3] == ["default", "paper", "cnn"]
    assert all(name == recipe.name for name, recipe in RECIPES.items())
    assert all(describe_recipe(name) for name in list_recipes())
    assert RECIPES["known-speakers"] == replace(
        DEFAULT,
        name="known-speakers",
        network=replace(DEFAULT.network, name="crnn"),
        training=replace(DEFAULT.training, max_epochs=120),
        augmentation=AugmentConfig(speed=0.08, warp=0.04, frequency_mask=8, time_mask=8, mixup=0.3),
    )


@pytest.mark.parametrize(
    ("max_epochs", "epochs"), [(1, (1, 1, 1, 1)), (80, (40, 40, 40, 80)), (None, (40, 40, 40, 120))]
)
def test_no_network_of_a_distillation_exceeds_the_maximum_number_of_epochs(
    max_epochs: int | None, epochs: tuple[int, ...]
) -> None:
    assert RECIPES["student"].with_max_epochs(max_epochs).epochs == epochs


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_that_is_shown_is_the_same_recipe_under_the_name_of_its_file(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, render_recipe(RECIPES[name], {"training.muon": {"low": 1.0, "high": 9.0}}))
    assert get_recipe(path) == replace(RECIPES[name], name="mine")
    assert read_recipe_file(path).tune == {"training.muon": {"low": 1.0, "high": 9.0}}


def test_an_edited_copy_of_an_included_recipe_gets_another_name(tmp_path: Path) -> None:
    names = set()
    for epochs in (3, 4):
        path = tmp_path / "default.toml"
        path.write_text(render_recipe(DEFAULT.with_max_epochs(epochs)))
        recipe = get_recipe(path)
        assert recipe == replace(DEFAULT.with_max_epochs(epochs), name=recipe.name)
        names.add(recipe.name)
    assert len(names - set(list_recipes())) == 2
    assert all(name.startswith("default-") for name in names)


def test_a_recipe_object_is_changed_like_its_name() -> None:
    changes = ["training.max_epochs=3"]
    assert get_recipe(DEFAULT, changes) == get_recipe("default", changes)
    assert get_recipe(DEFAULT, changes).training.max_epochs == 3
    assert all(get_recipe(recipe) == recipe for recipe in RECIPES.values())
    with pytest.raises(UsageError, match="nonsense"):
        get_recipe(DEFAULT, ["nonsense.key=3"])


def test_a_file_has_what_differs_from_its_base(tmp_path: Path) -> None:
    path = write(tmp_path, '\ufeffbase = "paper"\nfeatures = ["logmel", "mfcc"]\n[network]\nchannels = [8]\n')
    recipe = get_recipe(str(path))
    assert (recipe.name, recipe.features) == ("mine", ("mfcc", "logmel"))  # in the order of the front end
    assert recipe.network == replace(RECIPES["paper"].network, channels=(8,))
    assert recipe.training == RECIPES["paper"].training


def test_changes_give_the_recipe_another_name() -> None:
    recipe = get_recipe("default", ["training.learning_rate=0.001", "network.channels=[8, 16]", "network.name=crnn"])
    assert (recipe.training.learning_rate, recipe.network.channels) == (0.001, (8, 16))
    assert recipe.name.startswith("default-")
    assert recipe.name != get_recipe("default", ["training.learning_rate=0.002"]).name
    assert get_recipe("default", ["name=mine"]) == replace(DEFAULT, name="mine")
    assert get_recipe("default", ["teachers.networks=3"]).teachers is not None


def test_a_whole_number_is_the_same_parameter_as_the_equal_float() -> None:
    whole, equal = (get_recipe("default", [f"training.label_smoothing={value}"]) for value in ("0", "0.0"))
    assert whole == equal
    assert json.dumps(whole.to_dict()) == json.dumps(equal.to_dict())
    assert AudioConfig(trim_db=40).fingerprint() == AudioConfig().fingerprint()


def test_the_recipe_of_a_model_trains_the_same_again(tmp_path: Path) -> None:
    path = make_model(tmp_path / "m") / "model.json"
    assert refuse(tmp_path / "m").startswith(f"{tmp_path}/m has no recipe: expected a model folder with model.json")
    path.write_text(json.dumps({"recipe": RECIPES["student"].to_dict()}))
    assert get_recipe(tmp_path / "m") == RECIPES["student"]
    path.write_text(json.dumps({"recipe": {**DEFAULT.to_dict(), "colour": 1}}))
    assert "model.json, recipe: colour is not a parameter" in refuse(tmp_path / "m")
    path.write_text(json.dumps({"recipe": {"features": ["logmel"]}}))
    assert refuse(tmp_path / "m").endswith("model.json, recipe: name is missing")


def test_a_file_that_is_too_large_is_refused_rather_than_cut(tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    path.write_text("base = 'default'\n" + "# padding\n" * 110_000 + "[training]\nmax_epochs = 3\n")
    with pytest.raises(UsageError, match="it is larger than 1 MB"):
        get_recipe(path)


def test_a_baseline_has_no_teachers() -> None:
    with pytest.raises(ParameterError, match="teachers should be left out: the baseline svm has none"):
        replace(RECIPES["student"], baseline="svm")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[training]\n\nlearning_rat = 1",
            "line 3: training.learning_rat is not a parameter: did you mean learning_rate?",
        ),
        ("[training]\nlearning_rate = -1", "line 2: training.learning_rate should be over 0, up to 100, found -1"),
        (f"training.muon = {10**400}", "line 1: training.muon should be a finite number, found 1000"),
        ("[training]\nlearning_rate = nan", "line 2: training.learning_rate should be a finite number, found NaN"),
        ("training.max_epochs = '9'", 'line 1: training.max_epochs should be a whole number, found "9"'),
        ("training.max_epochs = true", "line 1: training.max_epochs should be a whole number, found true"),
        (
            "[network]\nchannels = [8, 'x']",
            'line 2: network.channels should be a list of whole numbers, found [8, "x"]',
        ),
        ("[network]\nlstm_size = 0", "line 2: network.lstm_size should be 1 to 4096, found 0"),
        ("[[training]]\nmuon = 1", "line 1: training should be a table of parameters, found list"),
        ("training = {muon = 'x'}", 'line 1: training.muon should be a finite number, found "x"'),
        ("[network]\nname = 'bert'", "line 2: network.name should be one of crnn, compact, paper, cnn, lstm, cnn-lstm"),
        ("[ network ] # x\nkernel_size = 4", "line 2: network.kernel_size should be an odd number under 64, found 4"),
        ("training = 3", "line 1: training should be a table of parameters, found int"),
        ("trainings = {}", "line 1: trainings is not a parameter: did you mean training?"),
        ("features = ['mel']", "line 1: features should be some of mfcc, "),
        ("features = 'logmel'", "line 1: features should be a list of names, found 'logmel'"),
        ("baseline = 'tree'", "line 1: baseline should be one of svm, forest, knn, mlp, logistic, found 'tree'"),
        ("name = '../x'", "line 1: name should be up to 80 letters, digits, dots, - and _, found '../x'"),
        ("name = 5", "line 1: name should be text, found 5"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text.replace("[", "base = 'default'\n[", 1) if text.startswith("[") else text)
    if text.startswith("["):
        line = int(message.split()[1].rstrip(":"))
        message = message.replace(f"line {line}", f"line {line + 1}", 1)
    elif not text.startswith("features"):
        path.write_text(f"{text}\nbase = 'default'\n")
    assert refuse(path).startswith(f"{path}, {message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version = 2", "line 1: version 2 is not supported, expected 1: update sercli, or start from"),
        (b"tune = 3", "line 1: tune should be a table of parameters, found int"),
        (b"base = 'mine'", "line 1: base should be one of default, paper, cnn"),
        (b"base = []", "line 1: base should be one of"),
        (b"a = [", "is not TOML: "),
        (b"a = 1\na = 2\nb = 3\n", "is not TOML: Cannot overwrite a value (at line 2"),
        (b"\xff", "is not TOML: "),
        (b"a = " + b"[" * 10_000, "is not TOML: "),
        (b"# nothing", "features should be some of mfcc"),
    ],
)
def test_files_that_are_no_recipe(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    assert message in refuse(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.muon=1e300", "--set training.muon: training.muon should be 0 to 10000, found 1e+300"),
        ("training.muon=x", '--set training.muon: training.muon should be a finite number, found "x"'),
        ("x=1", "--set x: x is not a parameter: expected one of"),
        ("training=1", "--set training: training should be a table"),
        ("training.muon", "cannot read --set 'training.muon': expected KEY=VALUE"),
        ("=1", "cannot read --set '=1'"),
        ("training.muon=1\nversion=2", "--set training.muon"),
        ("training.muon.x=1", "--set training.muon.x: training.muon should be a finite number"),
        ("training={muons=1}", "--set training: training.muons is not a parameter: did you mean muon?"),
    ],
)
def test_an_invalid_change_is_refused(change: str, message: str) -> None:
    assert refuse("default", change).startswith(message)


def test_augmentation_goes_with_logmel_alone() -> None:
    assert "augmentation works on the feature logmel alone, found mfcc" in refuse("default", "features=['mfcc']")


def test_a_missing_source_is_refused(tmp_path: Path) -> None:
    assert "did you mean tune? expected one of augmentation, base, " in refuse(write(tmp_path, "[tun]\nx = 1\n"))
    assert refuse("defualt").startswith("unknown recipe 'defualt': expected one of default, ")
    assert refuse(tmp_path / "gone.toml") == f"cannot read the recipe {tmp_path}/gone.toml: No such file or directory"
    assert refuse(tmp_path).startswith(f"{tmp_path} has no recipe")


def test_text_survives_the_round_trip() -> None:
    recipe = Recipe(name="ü-1", features=("logmel",))
    assert tomllib.loads(render_recipe(recipe))["name"] == "ü-1"


def test_the_command_lists_and_shows_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert not app(["recipes"], standalone_mode=False)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(RECIPES)
    assert not app(["recipes", "show", "paper", "--set", "name=mine"], standalone_mode=False)
    assert capsys.readouterr().out == render_recipe(replace(RECIPES["paper"], name="mine"))
    for more in ("svm", "--set=name=mine"):
        with pytest.raises(UsageError, match="takes no recipe and no --set: expected 'sercli recipes show"):
            app(["recipes", "list", more], standalone_mode=False)
