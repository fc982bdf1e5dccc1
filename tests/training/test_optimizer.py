import pytest
import torch
from torch import nn

from sercli.errors import ModelError
from sercli.training.optimizer import Optimizer
from sercli.training.recipes import TrainConfig

MUON = TrainConfig(learning_rate=0.002, weight_decay=0.0, muon=10.0)


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 6, 3, padding=1)
        self.head = nn.Linear(6, 2)

    def forward(self, spectra: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.convolution(spectra).mean(dim=(2, 3)))
        return logits


def learn(network: nn.Module, optimizer: Optimizer, steps: int, *, seed: int = 0) -> float:
    generator = torch.Generator().manual_seed(seed)
    loss = torch.tensor(0.0)
    for _ in range(steps):
        spectra = torch.randn(16, 3, 5, 5, generator=generator)
        truth = (spectra.mean(dim=(1, 2, 3)) > 0).long()
        network.zero_grad()
        loss = nn.functional.cross_entropy(network(spectra), truth)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return float(loss.detach())


def fresh(*, channels_last: bool = False) -> Tiny:
    torch.manual_seed(1)
    network = Tiny()
    return network.to(memory_format=torch.channels_last) if channels_last else network  # type: ignore[call-overload]


def test_a_kernel_moves_along_an_orthogonal_matrix_whatever_its_gradient() -> None:
    network = fresh(channels_last=True)
    kernel = network.convolution.weight
    before = kernel.detach().clone()
    optimizer = Optimizer(network, MUON)
    left, _, right = torch.linalg.svd(torch.randn(6, 27), full_matrices=False)
    kernel.grad = (left * torch.tensor([9.0, 7.0, 5.0, 3.0, 2.0, 1.0]) @ right).view(kernel.shape)
    optimizer.step()
    change = (before - kernel.detach()).flatten(1) / (MUON.learning_rate * MUON.muon)
    # Newton-Schulz leaves singular values between about 0.7 and 1.2.
    singular = torch.linalg.svdvals(change)
    assert 0.5 < float(singular.min()) < float(singular.max()) < 1.5
    torch.testing.assert_close(change, left @ right, rtol=0, atol=0.35)


def test_what_is_no_hidden_matrix_is_left_to_adamw() -> None:
    plain, turned = fresh(), fresh()
    learn(plain, Optimizer(plain, TrainConfig(learning_rate=0.002)), 1)
    learn(turned, Optimizer(turned, MUON), 1)
    changed = [name for name, old in plain.named_parameters() if not torch.equal(old, turned.get_parameter(name))]
    assert changed == ["convolution.weight"]


def test_both_learn_and_the_memory_format_makes_no_difference() -> None:
    networks = [fresh(), fresh(channels_last=True)]
    losses = [learn(network, Optimizer(network, MUON), 300) for network in networks]
    assert losses[0] < 0.4
    assert losses[1] == pytest.approx(losses[0], abs=0.05)


def test_the_learning_rate_reaches_both() -> None:
    network = fresh()
    optimizer = Optimizer(network, MUON)
    optimizer.learning_rate = 0.0
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    learn(network, optimizer, 2)
    assert optimizer.learning_rate == 0.0
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter, before[name], rtol=0, atol=0)


@pytest.mark.parametrize("muon", [0.0, 10.0])
def test_a_restored_optimizer_goes_on_as_if_nothing_had_been(muon: float) -> None:
    config = TrainConfig(learning_rate=0.002, weight_decay=0.1, muon=muon)
    network = fresh()
    optimizer = Optimizer(network, config)
    learn(network, optimizer, 3)
    other = fresh()
    other.load_state_dict(network.state_dict())
    restored = Optimizer(other, config)
    restored.restore(optimizer.state())
    learn(network, optimizer, 3, seed=5)
    learn(other, restored, 3, seed=5)
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(other.get_parameter(name), parameter, rtol=0, atol=0)


def test_the_state_of_another_network_is_refused() -> None:
    with pytest.raises(ModelError, match="another network: unknown parameter 'nobody'"):
        Optimizer(fresh(), MUON).restore({"nobody.momentum_buffer": torch.zeros(1)})
