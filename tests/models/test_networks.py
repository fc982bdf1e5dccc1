import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sercli.errors import UsageError
from sercli.features.frontend import FeatureConfig
from sercli.models.blocks import AttentionPooling, BidirectionalLSTM, ResidualBlock
from sercli.models.config import NetworkConfig
from sercli.models.networks import NETWORKS, build_network
from sercli.training.recipe_files import RECIPES
from tests.models.toy import make_network


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


def test_an_unknown_network_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="should be one of crnn, compact, paper"):
        build_network(NetworkConfig(name="transformer"), 10, 8)


@pytest.mark.parametrize(
    "values", [{"channels": ()}, {"kernel_size": 4}, {"pool": 0}, {"dropout": 1.0}, {"lstm_size": 10**9}]
)
def test_sizes_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(values))):
        NetworkConfig.from_dict(values)


def test_the_default_model_stays_small() -> None:
    network = build_network(RECIPES["default"].network, FeatureConfig().n_mels, 8)
    assert 4 * sum(parameter.numel() for parameter in network.parameters()) < 2_000_000  # bytes
