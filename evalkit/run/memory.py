"""What of memory is sampled during a run: this process, and the GPU where the model computes on one."""

from __future__ import annotations

__all__ = ["memory_readers"]

from collections.abc import Callable

import psutil

_MIB = 2**20


def memory_readers(device: str) -> dict[str, Callable[[], float]]:
    """Return readers in MiB by name.

    ``rss`` is the resident memory of this process. On CUDA also ``allocated`` and ``reserved`` by torch's
    allocator, and ``device``: all that is in use on the GPU, by whomever, as its driver and NVML tell.

    Args:
        device: Where the model computes: ``cpu``, ``server``, ``cuda:0``.
    """
    process = psutil.Process()
    readers: dict[str, Callable[[], float]] = {"rss": lambda: process.memory_info().rss / _MIB}
    if not device.startswith("cuda"):
        return readers
    import torch

    readers["allocated"] = lambda: torch.cuda.memory_allocated(device) / _MIB
    readers["reserved"] = lambda: torch.cuda.memory_reserved(device) / _MIB
    readers["device"] = lambda: _used(device)
    return readers


def _used(device: str) -> float:
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return float(total - free) / _MIB
