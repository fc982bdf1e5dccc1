import torch
from torch import nn

from sercli.models.blocks import AttentionPooling, ResidualBlock


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


def test_attentive_statistics_are_mean_and_std_of_the_frames_that_count() -> None:
    pooling = AttentionPooling(2, 5)
    nn.init.zeros_(pooling.score.weight)  # every frame weighs the same
    frames = torch.randn(1, 7, 2)
    found, weights = pooling.statistics(frames, torch.tensor([5]))
    torch.testing.assert_close(weights, torch.tensor([[0.2] * 5 + [0.0] * 2]))
    expected = torch.cat([frames[0, :5].mean(dim=0), frames[0, :5].std(dim=0, correction=0)])
    torch.testing.assert_close(found[0], expected)
