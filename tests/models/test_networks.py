import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sercli.errors import UsageError
from sercli.features.frontend import FeatureConfig
from sercli.models.blocks import AttentionPooling, BidirectionalLSTM, ResidualBlock
from sercli.models.config import NetworkConfig
from sercli.models.crnn import SpectralBlock
from sercli.models.networks import NETWORKS, build_network
from sercli.training.recipe_files import RECIPES

SMALL = NetworkConfig(channels=(12, 16), lstm_size=8, attention_size=8, dense_size=8)


def make_network(name: str = "paper", n_features: int = 10) -> nn.Module:
    torch.manual_seed(0)
    config = NetworkConfig.from_dict({**SMALL.to_dict(), "name": name})
    network = build_network(config, n_features, 8)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            # Statistics of their own, so that padding would show.
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
            nn.init.normal_(module.bias)
    return network.eval()


@pytest.mark.parametrize("name", NETWORKS)
@given(lengths=st.lists(st.integers(1, 70), min_size=1, max_size=5), padding=st.integers(0, 9), seed=st.integers(0, 9))
@settings(max_examples=25)
def test_padding_and_company_do_not_change_the_logits(name: str, lengths: list[int], padding: int, seed: int) -> None:
    network = make_network(name)
    generator = torch.Generator().manual_seed(seed)
    utterances = [torch.randn(10, length, generator=generator) for length in lengths]
    batch = torch.zeros(len(lengths), 10, max(lengths) + padding)
    for row, utterance in enumerate(utterances):
        batch[row, :, : utterance.shape[1]] = utterance
    with torch.inference_mode():
        together = network(batch, torch.tensor(lengths))
        for row, utterance in enumerate(utterances):
            alone = network(utterance[None], torch.tensor([lengths[row]]))[0]
            torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-5)
    assert together.shape == (len(lengths), 8)


def test_the_paper_network_has_every_part_the_paper_names() -> None:
    kinds = {type(module) for module in make_network().modules()}
    assert {
        nn.Conv1d,
        nn.BatchNorm1d,
        nn.GELU,
        nn.Dropout,
        nn.LSTM,
        nn.LayerNorm,
        nn.Linear,
        ResidualBlock,
        BidirectionalLSTM,
        AttentionPooling,
    } <= kinds


def test_the_paper_recipe_is_that_of_the_paper() -> None:
    recipe = RECIPES["paper"]
    assert recipe.training.learning_rate == 0.0002
    assert recipe.training.copies > 0
    assert set(recipe.features) == {"mfcc", "delta", "delta2", "chroma", "logmel", "contrast", "tonnetz"}


def test_the_skip_connection_carries_the_input_past_the_convolutions() -> None:
    block = ResidualBlock(4, 4, kernel_size=3, dropout=0.0, pool=1).eval()
    for norm in (block.first_norm, block.second_norm):
        nn.init.zeros_(norm.weight)
    frames = torch.randn(1, 4, 9)
    found, _ = block(frames, torch.tensor([9]))
    torch.testing.assert_close(found, nn.functional.gelu(frames))


def test_attention_is_a_mean_of_the_frames_weighted_by_their_scores() -> None:
    pooling = AttentionPooling(1, 1)
    for parameter, value in ((pooling.hidden.weight, 1.0), (pooling.hidden.bias, 0.0), (pooling.score.weight, 4.0)):
        nn.init.constant_(parameter, value)
    frames = torch.tensor([[[0.0], [1.0], [5.0]], [[0.0], [1.0], [5.0]]])
    pooled, weights = pooling(frames, torch.tensor([3, 2]))
    scores = 4 * torch.tanh(frames[:, :, 0])
    whole, part = scores[0].softmax(dim=0), scores[1, :2].softmax(dim=0)
    torch.testing.assert_close(weights, torch.stack([whole, torch.cat([part, torch.zeros(1)])]))
    torch.testing.assert_close(pooled[:, 0], torch.stack([whole @ frames[0, :, 0], part @ frames[1, :2, 0]]))


def test_an_unknown_network_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="should be one of crnn, compact, paper"):
        build_network(NetworkConfig(name="transformer"), 10, 8)


@pytest.mark.parametrize(
    "values", [{"channels": ()}, {"kernel_size": 4}, {"pool": 0}, {"dropout": 1.0}, {"lstm_size": 10**9}]
)
def test_sizes_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(values))):
        NetworkConfig.from_dict(values)


def test_attentive_statistics_are_mean_and_std_of_the_frames_that_count() -> None:
    pooling = AttentionPooling(2, 5)
    nn.init.zeros_(pooling.score.weight)  # every frame weighs the same
    frames = torch.randn(1, 7, 2)
    found, weights = pooling.statistics(frames, torch.tensor([5]))
    torch.testing.assert_close(weights, torch.tensor([[0.2] * 5 + [0.0] * 2]))
    expected = torch.cat([frames[0, :5].mean(dim=0), frames[0, :5].std(dim=0, correction=0)])
    torch.testing.assert_close(found[0], expected)


def test_the_default_model_stays_small() -> None:
    network = build_network(RECIPES["default"].network, FeatureConfig().n_mels, 8)
    assert 4 * sum(parameter.numel() for parameter in network.parameters()) < 2_000_000  # bytes


@pytest.mark.parametrize(("bands", "stride"), [(8, (2, 1)), (8, (2, 2)), (7, (2, 1))])
def test_the_skip_of_a_spectral_block_is_a_mean_and_a_projection(bands: int, stride: tuple[int, int]) -> None:
    torch.manual_seed(0)
    block = SpectralBlock(3, 5, bands=bands, stride=stride, dropout=0.0).eval()
    nn.init.zeros_(block.second_norm.weight)  # leaves the skip alone
    spectra = torch.randn(2, 3, bands, 6)
    frames = 6 // stride[1]
    found = block(spectra, torch.ones(2, 1, 1, frames))
    projection, norm = block.skip
    means = torch.nn.functional.avg_pool2d(spectra, stride, ceil_mode=True)
    torch.testing.assert_close(found, norm(projection(means)).relu())
