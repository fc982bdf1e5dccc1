"""The ONNX graph of every network: the same answers as torch, whatever the batch."""

from functools import cache

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sercli.errors import ModelError
from sercli.models.blocks import Ensemble, Network
from sercli.models.config import NetworkConfig
from sercli.models.export import MAX_ERROR, export_network, pack_weights, round_weights, whiten_embedding
from sercli.models.networks import NETWORKS, build_network
from tests.models.toy import N_FEATURES, SMALL, make_network

Array = npt.NDArray[np.float32]

batches = st.lists(st.integers(1, 150), min_size=1, max_size=5)


@cache
def load_graph(name: str, members: int) -> onnxruntime.InferenceSession:
    return start_session(export_network(make_network(name, members), N_FEATURES))


def start_session(graph: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def make_batch(lengths: list[int], padding: int = 0, seed: int = 0) -> tuple[Array, npt.NDArray[np.int64]]:
    """Features of shape ``(segments, N_FEATURES, frames)``, zero beyond each length, and the lengths."""
    rng = np.random.default_rng(seed)
    features = np.zeros((len(lengths), N_FEATURES, max(lengths) + padding), np.float32)
    for row, length in zip(features, lengths, strict=True):
        row[:, :length] = rng.standard_normal((N_FEATURES, length))
    return features, np.array(lengths, np.int64)


def run_graph(session: onnxruntime.InferenceSession, batch: tuple[Array, npt.NDArray[np.int64]]) -> tuple[Array, Array]:
    features, n_frames = batch
    logits, attention = session.run(["logits", "attention"], {"features": features, "n_frames": n_frames})
    return logits, attention


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=15)
@given(lengths=batches, padding=st.integers(0, 9), seed=st.integers(0, 9))
def test_the_graph_equals_the_network(name: str, members: int, lengths: list[int], padding: int, seed: int) -> None:
    features, n_frames = make_batch(lengths, padding, seed)
    logits, attention = run_graph(load_graph(name, members), (features, n_frames))
    network = make_network(name, members)
    singles = list(network.members) if isinstance(network, Ensemble) else [network]
    with torch.inference_mode():
        expected = network(torch.from_numpy(features), torch.from_numpy(n_frames)).numpy()
        weights = []
        for single in singles:
            assert isinstance(single, Network)
            weights.append(single.attend(torch.from_numpy(features), torch.from_numpy(n_frames))[1].numpy())
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(attention, np.stack(weights, axis=1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_embedding_is_that_of_the_first_network_and_of_no_neighbor(name: str) -> None:
    session, network = load_graph(name, 3), make_network(name, 3)
    features, n_frames = make_batch([50, 9, 31], 7, 0)
    (together,) = session.run(["embedding"], {"features": features, "n_frames": n_frames})
    assert isinstance(network, Ensemble)
    first = network.members[0]
    assert isinstance(first, Network)
    for row, matrix, length in zip(together, features, n_frames, strict=True):
        with torch.inference_mode():
            alone = first.attend(torch.from_numpy(matrix[None, :, :length]), torch.tensor([length]))[2]
        np.testing.assert_allclose(row, alone[0].numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("again", [False, True])
def test_the_norm_of_a_whitened_embedding_is_a_mahalanobis_distance(*, again: bool) -> None:
    generator = np.random.default_rng(0)
    features, n_frames = generator.normal(size=(300, N_FEATURES, 20)).astype(np.float32), np.full(300, 20)

    def embed(graph: bytes) -> Array:
        (rows,) = start_session(graph).run(["embedding"], {"features": features, "n_frames": n_frames})
        return np.asarray(rows)

    graph = export_network(make_network("paper", 1), N_FEATURES)
    rows = embed(graph).astype(np.float64)
    mean, precision = rows.mean(axis=0), np.linalg.inv(np.cov(rows.T) + 1e-4 * np.eye(rows.shape[1]))
    expected = np.sqrt(np.einsum("ni,ij,nj->n", rows - mean, precision, rows - mean))
    if again:
        graph = whiten_embedding(graph, mean + 1, np.eye(len(mean)))
        mean = -np.ones(len(mean))
    graph = whiten_embedding(graph, mean, np.linalg.cholesky(precision))
    np.testing.assert_allclose(np.linalg.norm(embed(graph), axis=1), expected, rtol=1e-3)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=10)
@given(lengths=batches, padding=st.integers(0, 9))
def test_attention_sums_to_1_over_each_segments_own_steps(
    name: str, members: int, lengths: list[int], padding: int
) -> None:
    _, attention = run_graph(load_graph(name, members), make_batch(lengths, padding))
    assert attention.shape[:2] == (len(lengths), members)
    assert (attention >= 0).all()
    np.testing.assert_allclose(attention.sum(axis=2), 1, atol=1e-5)
    frames_per_step = 2 ** round(np.log2((max(lengths) + padding) / attention.shape[2]))
    for row, length in zip(attention, lengths, strict=True):
        own = -(-length // frames_per_step)
        assert not row[:, own:].any()


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=10)
@given(lengths=batches, padding=st.integers(0, 30))
def test_padding_and_other_segments_change_nothing(name: str, members: int, lengths: list[int], padding: int) -> None:
    features, n_frames = make_batch(lengths, padding)
    session = load_graph(name, members)
    together, attention = run_graph(session, (features, n_frames))
    for row, length in enumerate(lengths):
        alone, weights = run_graph(session, (features[row : row + 1, :, :length], n_frames[row : row + 1]))
        np.testing.assert_allclose(together[row], alone[0], rtol=0, atol=1e-5)
        steps = weights.shape[2]
        np.testing.assert_allclose(attention[row, :, :steps], weights[0], rtol=0, atol=1e-5)


def test_an_ensemble_is_the_mean_of_its_members() -> None:
    network = make_network("crnn", 3)
    assert isinstance(network, Ensemble)
    batch = make_batch([70, 33, 5])
    logits, attention = run_graph(load_graph("crnn", 3), batch)
    members = [run_graph(start_session(export_network(member, N_FEATURES)), batch) for member in network.members]
    np.testing.assert_allclose(logits, np.mean([each[0] for each in members], axis=0), rtol=0, atol=1e-5)
    np.testing.assert_allclose(attention, np.concatenate([each[1] for each in members], axis=1), rtol=0, atol=1e-5)


def test_rounded_weights_make_a_smaller_graph_that_stays_exact() -> None:
    config = NetworkConfig.from_dict({**SMALL, "name": "crnn", "lstm_size": 64, "dense_size": 64})
    torch.manual_seed(0)
    network = build_network(config, N_FEATURES, 8).eval()
    single = export_network(network, N_FEATURES)
    round_weights(network)
    half = export_network(network, N_FEATURES)
    assert len(half) < 0.65 * len(single)
    features, n_frames = make_batch([80, 20])
    with torch.inference_mode():
        expected = network(torch.from_numpy(features), torch.from_numpy(n_frames)).numpy()
    np.testing.assert_allclose(run_graph(start_session(half), (features, n_frames))[0], expected, rtol=0, atol=1e-5)


def test_export_leaves_the_network_as_it_was() -> None:
    network = make_network("paper", 1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    export_network(network, N_FEATURES)
    assert not network.training
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


class _Constant(Network):
    """Its trace holds the number of frames of the example, as a careless network's would."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(N_FEATURES, 8)

    def attend(self, features: torch.Tensor, n_frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        logits = self.linear(features.mean(dim=2)) * float(features.shape[2]) + 0 * n_frames[:, None]
        return logits, torch.ones(features.shape[0], features.shape[2]) / features.shape[2], logits


def test_a_graph_that_differs_from_its_network_is_refused() -> None:
    with pytest.raises(ModelError, match=rf"differs from the trained one by .*, expected at most {MAX_ERROR:.0e}"):
        export_network(_Constant(), N_FEATURES)


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
