"""Reproducible random weights: every parameter drawn from its own name, whatever order a model is built in."""

from __future__ import annotations

__all__ = ["Scale", "draw_parameter", "fill_parameters"]

import zlib
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Scale = Callable[[str, tuple[int, ...]], float]
"""Spread of a parameter's draw by its name and shape; negative means all ones."""


def draw_parameter(
    name: str, shape: tuple[int, ...], scale: Callable[[str, tuple[int, ...]], float]
) -> NDArray[np.float32]:
    """Draw one parameter.

    Args:
        name: Full name of the parameter; its CRC-32 seeds the draw.
        shape: Its shape.
        scale: Standard deviation by name and shape; negative means all ones.

    Returns:
        float32 array of that shape.
    """
    factor = scale(name, shape)
    if factor < 0:
        return np.ones(shape, dtype=np.float32)
    draw = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    return (draw * np.float32(factor)).astype(np.float32)


@torch.no_grad()
def fill_parameters(network: nn.Module, scale: Scale) -> None:
    """Fill every parameter of a network in place; see ``draw_parameter``."""
    for name, parameter in network.named_parameters():
        drawn = draw_parameter(name, tuple(parameter.shape), scale)
        parameter.copy_(torch.from_numpy(drawn).to(parameter.dtype))
