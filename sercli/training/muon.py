"""Muon optimizer (Jordan et al. 2024) for matrices and kernels, fast on CPUs.

`torch.optim.Muon` iterates in bfloat16, which most CPUs emulate, and supports only matrices. This one computes in
single precision, on the smaller Gram matrix, and supports kernels.
"""

from collections.abc import Callable, Iterable, Sequence

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
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            updates = orthogonalize([self._average(parameter, parameter.grad.flatten(1)) for parameter in parameters])
            for parameter, update in zip(parameters, updates, strict=True):
                rows, columns = update.shape
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.sub_(update.view(parameter.shape), alpha=group["lr"] * max(1.0, rows / columns) ** 0.5)
        return loss

    def _average(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        average = state["momentum_buffer"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(average, MOMENTUM)


def orthogonalize(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Approximates the closest matrices with orthonormal rows or columns, by the Newton-Schulz iteration.

    Singular values end between about 0.7 and 1.2. Each iteration multiplies by a polynomial of the Gram matrix, so only
    the product of the polynomials, a small square matrix, is computed: of all Gram matrices of one size at once, since
    a GPU takes about as long for many small matrices as for one.
    """
    wide = [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T for matrix in matrices]
    scaled = [matrix / matrix.norm().clamp(min=1e-7) for matrix in wide]
    products: dict[int, Tensor] = {}
    for size in {len(matrix) for matrix in scaled}:
        numbers = [number for number, matrix in enumerate(scaled) if len(matrix) == size]
        grams = torch.stack([scaled[number] @ scaled[number].T for number in numbers])
        products.update(zip(numbers, _multiply_polynomials(grams), strict=True))
    orthogonal = [products[number] @ matrix for number, matrix in enumerate(scaled)]
    return [
        result if result.shape == matrix.shape else result.T
        for result, matrix in zip(orthogonal, matrices, strict=True)
    ]


def _multiply_polynomials(gram: Tensor) -> Tensor:
    """Returns the product of the polynomials of all iterations, from Gram matrices ``(n, size, size)``."""
    a, b, c = COEFFICIENTS
    product = torch.eye(gram.shape[1], device=gram.device).expand_as(gram)
    for _ in range(ITERATIONS):
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal(dim1=1, dim2=2).add_(a)
        product = polynomial @ product
        gram = polynomial @ gram @ polynomial
    return product
