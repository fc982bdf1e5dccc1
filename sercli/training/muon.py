"""Muon optimizer (Jordan et al. 2024) for matrices and kernels, fast on CPUs.

`torch.optim.Muon` iterates in bfloat16, which most CPUs emulate, and supports only matrices. This one computes in
single precision, on the smaller Gram matrix, and supports kernels.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # coefficients of the quintic iteration, as in Jordan et al. 2024
ITERATIONS = 5
MOMENTUM = 0.95  # decay of the running average of gradients


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalized updates, Nesterov's correction and decoupled weight decay.

    Kernels of convolutions are treated as matrices with one row per output channel.

    Args:
        params: Parameters with two or more dimensions.
        lr: Learning rate; updates of tall matrices are scaled by sqrt(rows / columns).
        weight_decay: Decay per step, relative to the learning rate.
    """

    def __init__(self, params: Iterable[nn.Parameter], *, lr: float = 0.02, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Updates every parameter that has a gradient."""
        loss = closure() if closure else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group["lr"], group["weight_decay"])
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, lr: float, weight_decay: float) -> None:
        matrix = gradient.flatten(1)
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        average = state["momentum_buffer"].lerp_(matrix, 1 - MOMENTUM)
        update = orthogonalize(matrix.lerp(average, MOMENTUM))
        rows, columns = matrix.shape
        parameter.mul_(1 - lr * weight_decay)
        parameter.sub_(update.view(parameter.shape), alpha=lr * max(1.0, rows / columns) ** 0.5)


def orthogonalize(matrix: Tensor) -> Tensor:
    """Approximates the closest matrix with orthonormal rows or columns, by the Newton-Schulz iteration.

    Singular values end between about 0.7 and 1.2. Each iteration multiplies by a polynomial of the Gram matrix, so only
    the product of the polynomials, a small square matrix, is computed.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalize(matrix.T).T
    a, b, c = COEFFICIENTS
    scaled = matrix / matrix.norm().clamp(min=1e-7)
    gram = scaled @ scaled.T
    product = torch.eye(len(gram), device=gram.device)
    for _ in range(ITERATIONS):
        polynomial = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal().add_(a)
        product = polynomial @ product
        gram = polynomial @ gram @ polynomial
    orthogonal: Tensor = product @ scaled
    return orthogonal
