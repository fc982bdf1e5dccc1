import contextlib
import hashlib
import json
import re
import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from sercli.errors import ModelError
from sercli.features.frontend import FeatureConfig
from sercli.models.config import NetworkConfig
from sercli.models.export import pack_weights
from sercli.models.folder import list_files
from sercli.models.model import Logits, Model, average_segments, load_model, save_model
from tests.models.toy import FEATURES, change, make_matrices
from tests.toy_model import build_model


def score(model: Model) -> Logits:
    return model.logits(make_matrices(5, 40))


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
    np.testing.assert_allclose(average_segments(logits, [0.0, 0.0, 0.0]), logits.mean(axis=0))


def test_selecting_twice_is_selecting_once(model: Model) -> None:
    matrices = [np.random.default_rng(0).normal(size=(model.features.n_features, 40)).astype(np.float32)]
    once, twice = model.select(["sad", "angry"]), model.select(["happy", "sad", "angry"]).select(["sad", "angry"])
    np.testing.assert_array_equal(once.predict_proba(matrices, [1.0]), twice.predict_proba(matrices, [1.0]))


def test_attention_has_a_row_for_each_member() -> None:
    config = NetworkConfig(channels=(8,), lstm_size=8, attention_size=8, dense_size=8, members=3)
    model, _ = build_model(features=FEATURES, network_config=config)
    (matrix,) = make_matrices(41)
    attention = model.attention(matrix)
    assert attention.shape == (3, 21)
    np.testing.assert_allclose(attention.sum(axis=1), 1, atol=1e-5)


def test_the_temperature_divides_the_logits(model: Model) -> None:
    logits = score(model)
    np.testing.assert_allclose(replace(model, temperature=1.0).probabilities(logits / 1.7), model.probabilities(logits))


@pytest.mark.parametrize("name", ["model.onnx", "model.json"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_a_file_cut_short_is_refused(folder: Path, name: str, keep: float) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ModelError, match=name) as raised:
        load_model(folder)
    assert "\n" not in str(raised.value)


def test_a_graph_of_another_model_is_refused(folder: Path) -> None:
    other, _ = build_model(2, features=FEATURES)
    (folder / "model.onnx").write_bytes(other.graph)
    with pytest.raises(ModelError, match=r"model\.onnx is not the file that model\.json names: expected sha256 "):
        load_model(folder)


@pytest.mark.parametrize("graph", [b"", b"no graph", b"\x08" * 100])
def test_a_graph_that_is_not_one_is_refused(folder: Path, graph: bytes) -> None:
    exchange_graph(folder, graph)
    with pytest.raises(ModelError, match=rf"^{re.escape(str(folder))}: model\.onnx cannot be loaded") as raised:
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
    with pytest.raises(ModelError, match=r"outputs logits \(segments, 8\) and attention, found logits \(segments, 8\)"):
        load_model(folder)


@pytest.mark.parametrize(
    ("operator", "shape", "scores", "message"),
    [
        ("Identity", ["segments"], ["segments"], r"inputs features \(segments, 2, frames\)"),
        ("ReduceSum", ["segments", 2, "frames"], [1, 1, 1], r"outputs logits \(segments, 8\)"),
    ],
)
def test_a_graph_of_other_ranks_is_refused(
    folder: Path, operator: str, shape: list[str | int], scores: list[str | int], message: str
) -> None:
    number, whole = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    inputs = [onnx.helper.make_tensor_value_info("features", number, shape)]
    inputs.append(onnx.helper.make_tensor_value_info("n_frames", whole, ["segments"]))
    names = ("logits", "attention")
    outputs = [onnx.helper.make_tensor_value_info(name, number, scores) for name in names]
    nodes = [onnx.helper.make_node(operator, ["features"], [name]) for name in names]
    graph = onnx.helper.make_graph(nodes, "other", inputs, outputs)
    opset = [onnx.helper.make_opsetid("", 17)]
    exchange_graph(folder, onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())
    with pytest.raises(ModelError, match=message):
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


@pytest.mark.parametrize("location", ["../secret.bin", "secret.bin", "folder/secret.bin"])
def test_a_graph_can_read_no_other_file(
    model: Model, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    """Weights may lie in files of their own beside an ONNX graph, under any path; those are never read."""
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path, tmp_path / "folder", folder):
        path.mkdir(exist_ok=True)
        (path / "secret.bin").write_bytes(bytes(10_000))
    graph = onnx.load_from_string(model.graph)
    initializer = max(graph.graph.initializer, key=lambda each: len(each.raw_data))
    initializer.ClearField("raw_data")
    initializer.data_location = onnx.TensorProto.EXTERNAL
    initializer.external_data.add(key="location", value=location)
    exchange_graph(folder, graph.SerializeToString())
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded"):
        load_model(folder)


def test_a_graph_may_leave_sizes_unnamed(model: Model, folder: Path) -> None:
    graph = onnx.load_from_string(model.graph)
    for each in graph.graph.output:
        for dimension in each.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.ClearField("dim_param")
    exchange_graph(folder, graph.SerializeToString())
    (matrix,) = make_matrices(40)
    np.testing.assert_array_equal(load_model(folder).attention(matrix), model.attention(matrix))


@pytest.mark.parametrize(
    ("operator", "message"),
    [("Slice", "output logits of .* has another shape"), ("Reshape", r"model\.onnx cannot be run")],
)
def test_a_graph_that_fails_or_has_other_shapes_is_named_when_it_runs(
    model: Model, folder: Path, operator: str, message: str
) -> None:
    graph = onnx.load_from_string(model.graph)
    for node in graph.graph.node:
        node.output[:] = ["whole" if name == "logits" else name for name in node.output]
    # Of a size that is known only when it runs.
    for name, values in (("none", [0]), ("one", [1]), ("columns", [1])):
        graph.graph.initializer.append(onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [1], values))
    graph.graph.node.extend(
        [
            onnx.helper.make_node("Slice", ["n_frames", "none", "one"], ["first"]),
            onnx.helper.make_node("Min", ["first", "one"], ["size"]),
            onnx.helper.make_node("Slice", ["whole", "none", "size", "columns"], ["logits"])
            if operator == "Slice"
            else onnx.helper.make_node("Reshape", ["whole", "size"], ["logits"]),
        ]
    )
    exchange_graph(folder, graph.SerializeToString())
    with pytest.raises(ModelError, match=message):
        load_model(folder).logits(make_matrices(40, 30))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema_version",), 99, "schema version 99"),
        (("labels",), ["happy"], "should have the lists labels and negative"),
        (("labels",), "happy", r"labels should be a list, such as \['happy'\], found the text"),
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
    with pytest.raises(ModelError, match=message) as refused:
        load_model(folder)
    assert str(folder) in str(refused.value)


@pytest.mark.parametrize("name", ["calibration", "normalization", "labels", "negative", "onnx_sha256"])
def test_what_a_description_lacks_is_named(folder: Path, name: str) -> None:
    path = folder / "model.json"
    description = json.loads(path.read_text())
    del description[name]
    path.write_text(json.dumps(description))
    with pytest.raises(ModelError, match=rf"model\.json .*'{name}' is missing\): restore the folder, or train again"):
        load_model(folder)


@contextlib.contextmanager
def limit_file_size(size: int) -> Iterator[None]:
    """Files that are written in the block can have this many bytes, as on a disk that is full then."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("name", ["model.safetensors", "model.onnx", "model.json", "MODEL_CARD.md"])
def test_a_full_disk_leaves_the_old_model_whole(
    trained: tuple[Model, torch.nn.Module], folder: Path, tmp_path: Path, name: str
) -> None:
    model, network = trained
    other = replace(build_model(2, features=FEATURES)[0], facts=model.facts)
    save_model(tmp_path / "other", other, pack_weights(network))
    size = (tmp_path / "other" / name).stat().st_size
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with limit_file_size(size - 1), pytest.raises(OSError, match="File too large"):
        save_model(folder, other, pack_weights(network))
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_description_that_is_no_json_leaves_the_old_model_whole(model: Model, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    broken = replace(model, facts={"value": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_model(folder, broken, b"other weights")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
