import pytest
import torch
from torch import nn

from sercli.training.muon import Muon, orthogonalize

SHAPES = [(6, 27), (27, 6), (16, 16)]


@pytest.mark.parametrize("shape", SHAPES)
def test_orthogonalized_matrices_keep_their_directions(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    values = torch.linspace(1, 0.05, min(shape))
    (found,) = orthogonalize([left * values @ right])
    aligned = left.T @ found @ right.T
    assert 0.6 < float(aligned.diagonal().min()) < float(aligned.diagonal().max()) < 1.3
    torch.testing.assert_close(aligned - aligned.diagonal().diag(), torch.zeros_like(aligned), rtol=0, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_steps_are_those_of_torch(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    start = torch.randn(shape)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = Muon([ours], lr=0.02, weight_decay=0.1), torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1)
    for _ in range(5):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    moved = (theirs - start).detach().norm()
    assert float((ours - theirs).detach().norm()) < 0.02 * float(moved)  # torch's iterates in bfloat16


def test_a_kernel_is_a_matrix_in_any_memory_format() -> None:
    torch.manual_seed(0)
    start, gradient = torch.randn(8, 4, 3, 3), torch.randn(8, 4, 3, 3)
    results = []
    for shape, memory_format in ((start.shape, torch.channels_last), ((8, 36), torch.contiguous_format)):
        kernel = nn.Parameter(start.reshape(shape).contiguous(memory_format=memory_format))
        kernel.grad = gradient.reshape(shape).contiguous(memory_format=memory_format)
        Muon([kernel]).step()
        results.append(kernel.detach().flatten(1))
    torch.testing.assert_close(*results)


def test_a_gradient_of_zero_moves_nothing() -> None:
    parameter = nn.Parameter(torch.ones(3, 4))
    parameter.grad = torch.zeros(3, 4)
    Muon([parameter]).step()
    assert torch.equal(parameter.detach(), torch.ones(3, 4))


def test_matrices_are_orthogonalized_together_as_alone() -> None:
    torch.manual_seed(0)
    matrices = [torch.randn(shape) for shape in (*SHAPES, (6, 40), (5, 6))]
    for together, matrix in zip(orthogonalize(matrices), matrices, strict=True):
        assert together.shape == matrix.shape
        torch.testing.assert_close(together, orthogonalize([matrix])[0])
