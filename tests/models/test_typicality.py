import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sercli.errors import ModelError
from sercli.models.export import pack_weights, whiten_embedding
from sercli.models.model import Model, load_model, save_model
from sercli.models.typicality import Typicality
from tests.models.toy import change, make_matrices


def test_typicality_falls_with_the_distance_and_is_kept(trained: tuple[Model, torch.nn.Module], tmp_path: Path) -> None:
    model, network = trained
    size = model.run(make_matrices(20), embed=True)[1].shape[1]
    model = replace(model, graph=whiten_embedding(model.graph, np.zeros(size), np.eye(size)))

    telephone = np.zeros(size)
    telephone[1] = 10.0
    typicality = Typicality(telephone=tuple(telephone)).calibrate(np.linspace(1, 3, 1_000))
    distances = (0.5, 1.0, 2.0, 2.98, 3.0, 1e9)
    found = [typicality.measure(distance) for distance in distances]
    np.testing.assert_allclose(found, [1, 1, 0.5, 0.01, 0, 0], atol=1e-3)
    embeddings = np.zeros((4, size))
    embeddings[:, 1] = (3.0, 5.0, 9.0, 12.0)
    np.testing.assert_allclose(typicality.measure_distances(embeddings), [3, 5, 1, 2])
    np.testing.assert_allclose(replace(typicality, telephone=()).measure_distances(embeddings), [3, 5, 9, 12])
    save_model(tmp_path / "m", replace(model, typicality=typicality), pack_weights(network))
    assert load_model(tmp_path / "m").typicality == typicality
    change(tmp_path / "m", ("typicality", "telephone"), [1.0] * (size + 1))
    with pytest.raises(ModelError, match=r"typicality.telephone in model.json has \d+ values, expected"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize(
    ("distances", "telephone", "message"),
    [
        ([], [], "ascending numbers"),
        ([1.0], [], "ascending numbers"),
        ([2.0, 1.0], [], "ascending numbers"),
        ([0.0, float("inf")], [], "ascending numbers"),
        ([0.0, 1.0], [float("nan")], "finite numbers"),
        ([0.0, 1.0], [[0.0]], "an invalid one"),
    ],
)
def test_damaged_typicality_is_refused(
    folder: Path, distances: list[float], telephone: list[Any], message: str
) -> None:
    change(folder, ("typicality",), {"minimum": 0.02, "distances": distances, "telephone": telephone})
    with pytest.raises(ModelError, match=message):
        load_model(folder)


def test_a_model_folder_without_typicality_loads(folder: Path) -> None:
    description = json.loads((folder / "model.json").read_text())
    del description["typicality"]
    (folder / "model.json").write_text(json.dumps(description))
    assert load_model(folder).typicality is None
