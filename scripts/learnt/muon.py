"""Muon for many small matrices: the orthogonalised momentum in float32, matrices of one shape at once."""

from __future__ import annotations

__all__ = ["Muon"]

from collections.abc import Callable, Iterable
from typing import Any

import torch

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the Newton-Schulz iteration, as in ``torch.optim.Muon``, which computes in bfloat16: ten times slower on a
CPU that has no instructions for it."""


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by five Newton-Schulz steps, scaled to AdamW's usual update.

    Args:
        parameters: Matrices.
        lr: Learning rate; an update's root mean square is 0.2 of it (``match_rms_adamw``).
        momentum: Nesterov momentum.
        weight_decay: Decoupled.
    """

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[torch.nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(tuple(parameter.shape), []).append(parameter)
            for shape, parameters in by_shape.items():
                self._update(group, shape, parameters)

    def _update(self, group: dict[str, Any], shape: tuple[int, ...], parameters: list[torch.nn.Parameter]) -> None:
        momentum, lr = group["momentum"], group["lr"]
        directions = []
        for parameter in parameters:
            buffer = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
            buffer.lerp_(parameter.grad, 1 - momentum)
            directions.append(torch.lerp(parameter.grad, buffer, momentum))
        updates = _orthogonalised(torch.stack(directions))
        scale = lr * 0.2 * max(shape) ** 0.5
        for parameter, update in zip(parameters, updates, strict=True):
            parameter.mul_(1 - lr * group["weight_decay"]).sub_(update, alpha=scale)


def _orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """Return matrices ``(n, rows, columns)`` with singular values near one."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    a, b, c = _COEFFICIENTS
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
