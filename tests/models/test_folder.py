import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from sercli.config import AudioConfig
from sercli.errors import ModelError
from sercli.features.frontend import FeatureConfig
from sercli.models.config import NetworkConfig
from sercli.models.folder import DEFAULT_MODEL, Model, load_model, model_digest, round_weights, save_model
from sercli.models.networks import build_network
from sercli.models.normalizer import Normalizer

FEATURES = FeatureConfig(names=("rms", "zcr"))
NETWORK = NetworkConfig(channels=(8,), lstm_size=8, attention_size=8, dense_size=8)
DATA = {
    "ravdess": {
        "utterances": 1440,
        "speakers": 24,
        "dev_speakers": ["ravdess-01"],
        "sha256": "0" * 64,
        "licence": "CC BY-NC-SA 4.0",
        "citation": "Livingstone & Russo 2018",
    }
}


@pytest.fixture
def model() -> Model:
    torch.manual_seed(1)
    return Model(
        network=build_network(NETWORK, 2).eval(),
        network_config=NETWORK,
        audio=AudioConfig(trim_db=35.0),
        features=FEATURES,
        normalizer=Normalizer(mean=np.asarray([0.1, 1 / 3], np.float32), deviation=np.asarray([0.7, 2], np.float32)),
        temperature=1.7,
        facts={"seed": 5, "recipe": {"name": "paper"}, "training_data": DATA, "command": "sercli train"},
    )


def score(model: Model) -> torch.Tensor:
    frames = [torch.randn(2, length, generator=torch.Generator().manual_seed(length)) for length in (5, 40)]
    return model.logits(frames)


def test_a_saved_model_gives_the_same_logits_to_the_last_digit(model: Model, tmp_path: Path) -> None:
    save_model(tmp_path / "m", model)
    loaded = load_model(tmp_path / "m")
    torch.testing.assert_close(score(loaded), score(model), rtol=0, atol=0)
    assert (loaded.audio, loaded.features, loaded.network_config) == (model.audio, FEATURES, NETWORK)
    assert loaded.temperature == 1.7
    assert loaded.facts == model.facts
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [
        "MODEL_CARD.md",
        "model.json",
        "model.safetensors",
    ]


def test_rounded_weights_take_half_the_room_and_lose_nothing(tmp_path: Path) -> None:
    config = NetworkConfig(channels=(32, 32), lstm_size=32, attention_size=32, dense_size=32)
    network = build_network(config, 2).eval()
    for name, vector in network.named_buffers():
        if name.endswith("running_var"):
            vector[0] = 1e5  # beyond half precision
    model = Model(
        network=network,
        network_config=config,
        audio=AudioConfig(),
        features=FEATURES,
        normalizer=Normalizer(mean=np.zeros(2, np.float32), deviation=np.ones(2, np.float32)),
    )
    save_model(tmp_path / "single", model)
    before = score(model)
    round_weights(network)
    assert not torch.equal(score(model), before)
    torch.testing.assert_close(score(model), before, rtol=0, atol=0.01)
    save_model(tmp_path / "half", model)
    loaded = load_model(tmp_path / "half")
    assert {tensor.dtype for tensor in loaded.network.parameters()} == {torch.float32}
    torch.testing.assert_close(score(loaded), score(model), rtol=0, atol=0)
    single, half = ((tmp_path / name / "model.safetensors").stat().st_size for name in ("single", "half"))
    assert half < 0.6 * single


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16, torch.int32])
def test_weights_of_another_kind_are_refused(model: Model, tmp_path: Path, kind: torch.dtype) -> None:
    save_model(tmp_path, model)
    weights = safetensors.torch.load_file(tmp_path / "model.safetensors")
    content = safetensors.torch.save({name: tensor.to(kind) for name, tensor in weights.items()})
    (tmp_path / "model.safetensors").write_bytes(content)
    description = json.loads((tmp_path / "model.json").read_text())
    description["weights_sha256"] = hashlib.sha256(content).hexdigest()
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(ModelError, match=rf"as {kind}, expected torch\.\w+ or half precision"):
        load_model(tmp_path)


def test_the_temperature_divides_the_logits(model: Model) -> None:
    torch.testing.assert_close(score(replace(model, temperature=1.0)) / 1.7, score(model))


def test_the_card_tells_data_licence_and_limits(model: Model, tmp_path: Path) -> None:
    save_model(tmp_path, model)
    card = (tmp_path / "MODEL_CARD.md").read_text()
    for part in ("CC BY-NC-SA 4.0", "non-commercial", "Acted emotion is not felt emotion", "Livingstone", "1440"):
        assert part in card


def test_the_card_leaves_open_what_is_undefined(model: Model, tmp_path: Path) -> None:
    score = {"seeds": 1, "uar": 0.5, "uar_interval": [None, None], "accuracy": 0.25, "ece": None, "command": "sercli"}
    model.facts["figures"] = {"paper": score}  # type: ignore[index]
    save_model(tmp_path, model)
    assert "| paper | – | 1 | 0.500 | – to – | 0.250 | – |" in (tmp_path / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"epochs_of_members": [25], "members": 3, "interrupted": True}, "- 25 epochs on cpu in 9 s"),
        ({"epochs_of_members": [25, 25, 17], "members": 3}, "together, trained for 25, 25 and 17 epochs on cpu"),
        ({"epochs_of_members": [25, 25], "members": 2}, "together, each trained for 25 epochs on cpu in 9 s"),
        ({"members": 3}, "3 networks that answer together, each trained for 25 epochs"),
        ({"best_epoch": 11}, "weights of the epoch of the highest development UAR, 11"),
        ({}, "weights of epoch 25, the last"),
    ],
)
def test_the_card_tells_how_long_each_network_was_trained(
    model: Model, tmp_path: Path, told: dict[str, Any], expected: str
) -> None:
    training = {"epochs": 25, "best_epoch": 25, "device": "cpu", "seconds": 9.0, "dev_uar": 0.5, "dev_accuracy": 0.5}
    save_model(tmp_path, replace(model, facts={**model.facts, "training": {**training, **told}}))
    card = (tmp_path / "MODEL_CARD.md").read_text()
    assert expected in card
    assert ("interrupted" in card) == told.get("interrupted", False)


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_a_file_cut_short_is_refused(model: Model, tmp_path: Path, name: str, keep: float) -> None:
    save_model(tmp_path, model)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ModelError, match=name):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_a_missing_file_is_named(model: Model, tmp_path: Path, name: str) -> None:
    save_model(tmp_path, model)
    (tmp_path / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is missing"):
        load_model(tmp_path)


def test_weights_of_another_model_are_refused(model: Model, tmp_path: Path) -> None:
    save_model(tmp_path / "a", model)
    torch.nn.init.ones_(next(model.network.parameters()))
    save_model(tmp_path / "b", model)
    (tmp_path / "b" / "model.safetensors").replace(tmp_path / "a" / "model.safetensors")
    with pytest.raises(ModelError, match=r"is not the file that model\.json names"):
        load_model(tmp_path / "a")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema_version",), 99, "schema version 99"),
        (("labels",), ["happy"], "should list the labels"),
        (("network", "channels"), [10**9], "channels"),
        (("network", "channels"), [8.0], "channels should be of type"),
        (("network", "pool"), 2.5, "pool should be of type int, found 2.5"),
        (("network", "members"), True, "members should be of type int"),
        (("features", "hop_length"), 256.5, "hop_length should be of type int"),
        (("features", "delta_width"), 10**9 + 1, "3 to 99 frames"),
        (("features", "sample_rate"), 22_050, "one sample rate, found 16000 and 22050 Hz"),
        (("normalization", "mean"), [10**400, 0.0], "the numbers mean and deviation"),
        (("calibration", "temperature"), 10**400, "too large"),
        (("network", "name"), "os.system", "unknown network"),
        (("network", "unheard_of"), 1, "unheard_of"),
        (("network", "lstm_size"), 16, "does not fit"),
        (("network", "channels"), [4096] * 16, "does not fit"),
        (("features", "n_fft"), 10**9, "n_fft"),
        (("features", "names"), ["rms", "rms"], "names"),
        (("normalization", "deviation"), [0.0, 1.0], "deviations over zero"),
        (("normalization", "mean"), [1.0], "2 finite means"),
        (("calibration", "temperature"), -1.0, "0.01 to 100"),
        (("calibration", "temperature"), "hot", "could not convert"),
        (("audio",), None, "AudioConfig should be an object"),
    ],
)
def test_a_description_that_cannot_be_is_refused(
    model: Model, tmp_path: Path, path: tuple[str, ...], value: object, message: str
) -> None:
    save_model(tmp_path, model)
    description = json.loads((tmp_path / "model.json").read_text())
    part = description
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model folder"):
        load_model(tmp_path / "none")


def test_the_digest_changes_with_the_model(model: Model, tmp_path: Path) -> None:
    save_model(tmp_path, model)
    before = model_digest(tmp_path)
    torch.nn.init.ones_(next(model.network.parameters()))
    save_model(tmp_path, model)
    assert model_digest(tmp_path) != before


def test_the_shipped_model_loads_and_is_small() -> None:
    model = load_model(DEFAULT_MODEL)
    assert sum(path.stat().st_size for path in DEFAULT_MODEL.iterdir()) < 5_000_000
    assert model.facts["training_data"]["ravdess"]["utterances"] == 1_440
    assert model.facts["command"].startswith("sercli train")
    assert (DEFAULT_MODEL / "MODEL_CARD.md").exists()


def test_the_normalizer_measures_all_frames_alike() -> None:
    rng = np.random.default_rng(0)
    matrices = [rng.normal(3, 2, (n, 4)).astype(np.float32) for n in (5, 100, 1)]
    frames = np.concatenate(matrices)
    frames[:, 3] = 7.0
    for matrix in matrices:
        matrix[:, 3] = 7.0
    normalizer = Normalizer.fit(iter(matrices))
    np.testing.assert_allclose(normalizer.mean, frames.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(normalizer.std[:3], frames.std(axis=0)[:3], rtol=1e-5)
    assert normalizer.std[3] == 1.0
    assert Normalizer.from_dict(normalizer.to_dict(), 4).to_dict() == normalizer.to_dict()
