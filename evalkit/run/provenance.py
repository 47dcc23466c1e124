"""Where a run came from: commit of the code, versions of the packages, the machine."""

from __future__ import annotations

__all__ = ["git_revision", "host_facts", "versions"]

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil

_PACKAGES = ("evalkit", "torch", "transformers", "tokenizers", "numpy", "av", "openai", "pydantic")


def git_revision(file: Path = Path(__file__)) -> str | None:
    """Return the commit of evalkit's own checkout, ``+dirty`` where tracked files differ.

    Args:
        file: A file of the checkout.

    Returns:
        ``None`` where the file is in no checkout, or in somebody else's that does not track it (an environment
        inside another project).
    """

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(  # noqa: S603
                ["git", "-C", str(file.parent), *words],  # noqa: S607
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", file.name) is None:
        return None
    commit = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no", ":/evalkit", ":/tasks")
    return f"{commit}+dirty" if commit and changed else commit


def versions() -> dict[str, str]:
    """Return the versions of the packages that can change a number."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def host_facts(device: str) -> dict[str, Any]:
    """Return the machine a run took place on.

    Args:
        device: Device the model ran on, as text.
    """
    facts: dict[str, Any] = {
        "system": platform.platform(terse=True),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "device": device,
    }
    if device.startswith("cuda"):
        import torch

        facts["gpu"] = torch.cuda.get_device_name(device)
        facts["gpu_memory_gib"] = round(torch.cuda.get_device_properties(device).total_memory / 2**30, 1)
        facts["cuda"] = torch.version.cuda
    return facts


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
