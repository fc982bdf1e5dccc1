import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch

from sercli.audio.segmentation import SegmentationConfig
from sercli.config import AudioConfig
from sercli.errors import ModelError
from sercli.features.frontend import FeatureConfig
from sercli.labels import EMOTIONS
from sercli.models.config import NetworkConfig
from sercli.models.export import pack_weights, round_weights, whiten_embedding
from sercli.models.folder import DEFAULT_MODEL, list_files, model_digest
from sercli.models.model import Features, Logits, Model, load_model, save_model
from sercli.models.networks import build_network
from sercli.models.normalizer import Normalizer
from sercli.models.typicality import Typicality
from tests.toy_model import build_model

FEATURES = FeatureConfig(names=("rms", "zcr"))
DATA = {
    "ravdess": {
        "utterances": 1440,
        "speakers": 24,
        "dev_speakers": ["ravdess-01"],
        "sha256": "0" * 64,
        "license": "CC BY-NC-SA 4.0",
        "citation": "Livingstone & Russo 2018",
    }
}


@pytest.fixture(scope="module")
def trained() -> tuple[Model, torch.nn.Module]:
    model, network = build_model(
        1,
        features=FEATURES,
        segmentation=SegmentationConfig(max_whole=7.0),
        temperature=1.7,
        facts={"seed": 5, "recipe": {"name": "paper"}, "training_data": DATA, "command": "sercli train"},
    )
    normalizer = Normalizer(mean=np.asarray([0.1, 1 / 3], np.float32), std=np.asarray([0.7, 2], np.float32))
    return replace(model, normalizer=normalizer, audio=AudioConfig(trim_db=35.0)), network


@pytest.fixture
def model(trained: tuple[Model, torch.nn.Module]) -> Model:
    return trained[0]


@pytest.fixture
def folder(trained: tuple[Model, torch.nn.Module], tmp_path: Path) -> Path:
    model, network = trained
    save_model(tmp_path / "m", model, pack_weights(network))
    return tmp_path / "m"


def make_matrices(*lengths: int) -> list[Features]:
    return [np.random.default_rng(length).standard_normal((2, length)).astype(np.float32) for length in lengths]


def score(model: Model) -> Logits:
    return model.logits(make_matrices(5, 40))


def change(folder: Path, path: tuple[str, ...], value: object) -> None:
    """Changes one value of the description."""
    description = json.loads((folder / "model.json").read_text())
    part = description
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    (folder / "model.json").write_text(json.dumps(description))


def exchange_graph(folder: Path, graph: bytes) -> None:
    """Puts another graph into a folder, with its checksum in the description."""
    (folder / "model.onnx").write_bytes(graph)
    change(folder, ("onnx_sha256",), hashlib.sha256(graph).hexdigest())


def test_a_saved_model_gives_the_same_logits_to_the_last_digit(model: Model, folder: Path) -> None:
    loaded = load_model(folder)
    np.testing.assert_array_equal(score(loaded), score(model))
    for name in ("graph", "labels", "audio", "segmentation", "features", "network", "temperature", "facts"):
        assert getattr(loaded, name) == getattr(model, name)
    assert loaded.normalizer.to_dict() == model.normalizer.to_dict()
    names = ["MODEL_CARD.md", "model.json", "model.onnx", "model.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert sorted(path.name for path in list_files(folder)) == names


def test_logits_are_those_of_the_network_on_normalized_features(trained: tuple[Model, torch.nn.Module]) -> None:
    model, network = trained
    for matrix, logits in zip(make_matrices(5, 40), score(model), strict=True):
        normalized = model.normalizer.apply(matrix.T).T
        with torch.inference_mode():
            expected = network(torch.from_numpy(normalized.copy())[None], torch.tensor([matrix.shape[1]]))[0]
        np.testing.assert_allclose(logits, expected.numpy(), rtol=0, atol=1e-4)


def test_logits_do_not_depend_on_the_segments_beside(model: Model) -> None:
    lengths = [300, 1, 2_000, 7, 4_500, 300, 90] * 3
    together = model.logits(make_matrices(*lengths))
    for length, row in zip(lengths, together, strict=True):
        np.testing.assert_allclose(model.logits(make_matrices(length))[0], row, rtol=0, atol=1e-5)


def test_probabilities_are_of_the_mean_weighted_by_speech_and_divided_by_the_temperature(model: Model) -> None:
    matrices = make_matrices(30, 60, 90)
    logits = model.logits(matrices)
    pooled = (1.0 * logits[0] + 3.0 * logits[1] + 0.0 * logits[2]) / 4.0
    powers = np.exp(pooled / 1.7)
    found = model.predict_proba(matrices, [1.0, 3.0, 0.0])
    np.testing.assert_allclose(found, powers / powers.sum(), atol=1e-3)
    assert found.sum() == pytest.approx(1)
    # Where nothing was measured as speech, all segments count alike.
    np.testing.assert_allclose(model.pool(logits, [0.0, 0.0, 0.0]), logits.mean(axis=0))


def test_attention_has_a_row_for_each_member() -> None:
    config = NetworkConfig(channels=(8,), lstm_size=8, attention_size=8, dense_size=8, members=3)
    model, _ = build_model(features=FEATURES, network_config=config)
    (matrix,) = make_matrices(41)
    attention = model.attention(matrix)
    assert attention.shape == (3, 21)
    np.testing.assert_allclose(attention.sum(axis=1), 1, atol=1e-5)


def test_rounded_weights_take_half_the_room_and_lose_nothing() -> None:
    config = NetworkConfig(channels=(32, 32), lstm_size=32, attention_size=32, dense_size=32)
    network = build_network(config, 2, 8).eval()
    for name, vector in network.named_buffers():
        if name.endswith("running_var"):
            vector[0] = 1e5  # beyond half precision
    single = pack_weights(network)
    round_weights(network)
    half = pack_weights(network)
    assert len(half) < 0.6 * len(single)
    loaded = build_network(config, 2, 8)
    loaded.load_state_dict(safetensors.torch.load(half))
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=0, atol=0)


def test_the_temperature_divides_the_logits(model: Model) -> None:
    logits = score(model)
    np.testing.assert_allclose(replace(model, temperature=1.0).probabilities(logits / 1.7), model.probabilities(logits))


def test_the_card_says_data_licence_and_limits(folder: Path) -> None:
    card = (folder / "MODEL_CARD.md").read_text()
    for part in ("CC BY-NC-SA 4.0", "non-commercial", "Acted emotion is not felt emotion", "Livingstone", "1440"):
        assert part in card


def test_the_card_of_a_model_trained_on_own_recordings_says_nothing_of_actors(model: Model, tmp_path: Path) -> None:
    own = {**DATA["ravdess"], "license": "", "language": ""}
    for name, data in (("own", {"csv": own}), ("mixed", {"csv": own, **DATA})):
        save_model(tmp_path / name, replace(model, facts={**model.facts, "training_data": data}), b"")
        card = (tmp_path / name / "MODEL_CARD.md").read_text()
        assert f"Training data: {', '.join(data)}.\n" in card
        assert not re.search("[Aa]cted|actors|studio|adult", card)


def test_the_card_says_which_tests_had_unseen_speakers(model: Model, tmp_path: Path) -> None:
    score = {"seeds": 1, "uar": 0.5, "uar_interval": [0.4, 0.6], "accuracy": 0.25, "ece": None, "command": "sercli"}
    figures = {"loso": {**score, "speaker_independent": True}, "split": {**score, "speaker_independent": False}}
    save_model(tmp_path, replace(model, facts={**model.facts, "figures": figures}), b"")
    card = (tmp_path / "MODEL_CARD.md").read_text()
    assert "| loso | unseen | – |" in card
    assert "| split | maybe known | – |" in card


def test_the_card_leaves_open_what_is_undefined(model: Model, tmp_path: Path) -> None:
    score = {"seeds": 1, "uar": 0.5, "uar_interval": [None, None], "accuracy": 0.25, "ece": None, "command": "sercli"}
    save_model(tmp_path, replace(model, facts={**model.facts, "figures": {"paper": score}}), b"")
    assert "| paper | maybe known | – | 1 | 0.500 | – to – | 0.250 | – |" in (tmp_path / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"epochs": [25, 25, 17], "best_epoch": [25, 25, 17], "members": 3},
            "- 3 networks; epochs: 25, 25, 17; epochs",
        ),
        ({"best_epoch": [11]}, "- 1 network; epochs: 25; epochs of the weights: 11; on cpu in 9 s"),
        ({"interrupted": True}, "- The training was interrupted; it can be resumed."),
    ],
)
def test_the_card_says_how_long_each_network_was_trained(
    model: Model, tmp_path: Path, given: dict[str, Any], expected: str
) -> None:
    training = {"epochs": [25], "best_epoch": [25], "members": 1, "device": "cpu", "seconds": 9.0}
    facts = {**model.facts, "training": {**training, "dev_uar": 0.5, "dev_accuracy": 0.5, **given}}
    save_model(tmp_path, replace(model, facts=facts), b"")
    card = (tmp_path / "MODEL_CARD.md").read_text()
    assert expected in card
    assert ("interrupted" in card) == given.get("interrupted", False)


@pytest.mark.parametrize("name", ["model.onnx", "model.json"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_a_file_cut_short_is_refused(folder: Path, name: str, keep: float) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ModelError, match=name) as raised:
        load_model(folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["model.onnx", "model.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is missing"):
        load_model(folder)


def test_a_graph_of_another_model_is_refused(folder: Path) -> None:
    other, _ = build_model(2, features=FEATURES)
    (folder / "model.onnx").write_bytes(other.graph)
    with pytest.raises(ModelError, match=r"model\.onnx is not the file that model\.json names: expected sha256 "):
        load_model(folder)


def test_a_folder_of_the_first_schema_is_refused_with_the_command_that_makes_it_again(folder: Path) -> None:
    change(folder, ("schema_version",), 1)
    change(folder, ("command",), "sercli train --recipe default --seed 3")
    (folder / "model.onnx").unlink()  # which it did not have
    expected = "has schema version 1, expected 2: make it again with 'sercli train --recipe default --seed 3'"
    with pytest.raises(ModelError, match=expected):
        load_model(folder)


@pytest.mark.parametrize("graph", [b"", b"no graph", b"\x08" * 100])
def test_a_graph_that_is_not_one_is_refused(folder: Path, graph: bytes) -> None:
    exchange_graph(folder, graph)
    with pytest.raises(ModelError, match=r"model\.onnx") as raised:
        load_model(folder)
    assert "\n" not in str(raised.value)


def test_a_graph_of_other_inputs_or_outputs_is_refused(model: Model, folder: Path) -> None:
    wider, _ = build_model(features=FeatureConfig(names=("tonnetz", "rms", "zcr")))
    exchange_graph(folder, wider.graph)
    with pytest.raises(
        ModelError, match=r"model\.onnx should have inputs features \(segments, 2, frames\) and n_frames"
    ):
        load_model(folder)
    graph = onnx.load_from_string(model.graph)
    del graph.graph.output[1]
    exchange_graph(folder, graph.SerializeToString())
    with pytest.raises(ModelError, match=r"should have outputs logits \(segments, 8\) and attention"):
        load_model(folder)


@pytest.mark.parametrize("name", ["features", "n_frames"])
def test_a_graph_whose_inputs_have_another_name_is_refused(model: Model, folder: Path, name: str) -> None:
    graph = onnx.load_from_string(model.graph)
    for node in graph.graph.node:
        node.input[:] = ["other" if each == name else each for each in node.input]
    (given,) = (each for each in graph.graph.input if each.name == name)
    given.name = "other"
    exchange_graph(folder, graph.SerializeToString())
    with pytest.raises(ModelError, match=r"model\.onnx should have inputs features"):
        load_model(folder)


def test_a_graph_cannot_read_files_outside_its_folder(model: Model, folder: Path, tmp_path: Path) -> None:
    """Weights may lie in files of their own beside an ONNX graph, under any path; those are never read."""
    (tmp_path / "secret.bin").write_bytes(bytes(10_000))
    graph = onnx.load_from_string(model.graph)
    initializer = max(graph.graph.initializer, key=lambda each: len(each.raw_data))
    initializer.ClearField("raw_data")
    initializer.data_location = onnx.TensorProto.EXTERNAL
    initializer.external_data.add(key="location", value="../secret.bin")
    exchange_graph(folder, graph.SerializeToString())
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded"):
        load_model(folder)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema_version",), 99, "schema version 99"),
        (("labels",), ["happy"], "should list the labels"),
        (("features", "hop_length"), 256.5, "hop_length should be a whole number"),
        (("features", "delta_width"), 10**9 + 1, "3 to 99 frames"),
        (("features", "sample_rate"), 22_050, "one sample rate, found 16000 and 22050 Hz"),
        (("normalization", "mean"), [10**400, 0.0], "the numbers 'mean' and 'std'"),
        (("calibration", "temperature"), 10**400, "too large"),
        (("features", "n_fft"), 10**9, "n_fft"),
        (("features", "names"), ["rms", "rms"], "names"),
        (("normalization", "std"), [0.0, 1.0], "positive standard deviations"),
        (("normalization", "std"), [1.0, 1.0, 1.0], "2 finite means"),
        (("segmentation", "max_whole"), 1e9, "max_whole should be 0 to 60 s"),
        (("segmentation", "method"), "eval", "method should be one of"),
        (("onnx_sha256",), None, "is not the file"),
        (("features", "names"), ["rms"], "normalization needs 1 finite means"),
        (("normalization", "mean"), [1.0], "2 finite means"),
        (("calibration", "temperature"), -1.0, "0.01 to 100"),
        (("calibration", "temperature"), "hot", "could not convert"),
        (("audio",), None, "AudioConfig should be a table"),
    ],
)
def test_a_description_that_cannot_be_is_refused(
    folder: Path, path: tuple[str, ...], value: object, message: str
) -> None:
    change(folder, path, value)
    with pytest.raises(ModelError, match=message):
        load_model(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model at"):
        load_model(tmp_path / "none")


def test_the_digest_changes_with_the_model(model: Model, folder: Path) -> None:
    before = model_digest(folder)
    other, network = build_model(2, features=FEATURES)
    save_model(folder, replace(model, graph=other.graph), pack_weights(network))
    assert model_digest(folder) != before


def test_a_full_disk_leaves_the_old_model_whole(model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    broken = replace(model, facts={"value": float("nan")})  # JSON has none, so that writing fails after the weights
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_model(folder, broken, b"other weights")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_the_shipped_model_loads_and_is_small() -> None:
    model = load_model(DEFAULT_MODEL)
    assert sum(path.stat().st_size for path in DEFAULT_MODEL.iterdir()) < 5_000_000
    assert model.facts["training_data"]["ravdess"]["utterances"] == 1_440
    assert model.facts["command"].startswith("sercli train")
    assert (DEFAULT_MODEL / "MODEL_CARD.md").exists()
    assert model.labels == tuple(EMOTIONS)


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


def test_typicality_falls_with_the_distance_and_is_kept(trained: tuple[Model, torch.nn.Module], tmp_path: Path) -> None:
    model, network = trained
    size = model.score(make_matrices(20), embed=True)[1].shape[1]
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
