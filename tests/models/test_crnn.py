import pytest
import torch
from torch import nn

from sercli.models.crnn import SpectralBlock


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
