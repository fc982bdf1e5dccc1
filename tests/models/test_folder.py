from dataclasses import replace
from pathlib import Path

import pytest

from sercli.errors import ModelError
from sercli.labels import EMOTIONS
from sercli.models.export import pack_weights
from sercli.models.folder import DEFAULT_MODEL, model_digest
from sercli.models.model import Model, load_model, save_model
from tests.models.toy import FEATURES, change
from tests.toy_model import build_model


@pytest.mark.parametrize("name", ["model.onnx", "model.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is missing"):
        load_model(folder)


def test_a_folder_of_the_first_schema_is_refused_with_the_command_that_makes_it_again(folder: Path) -> None:
    change(folder, ("schema_version",), 1)
    change(folder, ("command",), "sercli train --recipe default --seed 3")
    (folder / "model.onnx").unlink()  # which it did not have
    expected = "has schema version 1, expected 2: make it again with 'sercli train --recipe default --seed 3'"
    with pytest.raises(ModelError, match=expected):
        load_model(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model at"):
        load_model(tmp_path / "none")


def test_the_digest_changes_with_the_model(model: Model, folder: Path) -> None:
    before = model_digest(folder)
    other, network = build_model(2, features=FEATURES)
    save_model(folder, replace(model, graph=other.graph), pack_weights(network))
    assert model_digest(folder) != before


def test_the_shipped_model_loads_and_is_small() -> None:
    model = load_model(DEFAULT_MODEL)
    assert sum(path.stat().st_size for path in DEFAULT_MODEL.iterdir()) < 5_000_000
    assert model.facts["training_data"]["ravdess"]["utterances"] == 1_440
    assert model.facts["command"].startswith("sercli train")
    assert (DEFAULT_MODEL / "MODEL_CARD.md").exists()
    assert model.labels == tuple(EMOTIONS)
