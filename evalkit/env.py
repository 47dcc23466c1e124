"""The only module that reads environment variables; there are few, and this lists them all."""

from __future__ import annotations

__all__ = [
    "cache_dir",
    "chosen_threads",
    "completing",
    "github_repository",
    "github_token",
    "judge_base_url",
    "judge_key",
    "keep_ray_quiet",
    "set_before_torch",
    "visible_gpus",
]

import os
from collections.abc import Sequence
from pathlib import Path


def cache_dir() -> Path:
    """``EVALKIT_CACHE``: where made-up data are kept; ``~/.cache/evalkit`` by default."""
    return Path(os.environ.get("EVALKIT_CACHE") or Path.home() / ".cache" / "evalkit")


def completing() -> bool:
    """``_ARGCOMPLETE``: set by a shell that asks how a line could go on."""
    return "_ARGCOMPLETE" in os.environ


def judge_key() -> str | None:
    """``OPENAI_API_KEY``: the judge's key."""
    return os.environ.get("OPENAI_API_KEY") or None


def judge_base_url() -> str | None:
    """``OPENAI_BASE_URL``: the judge's server, unless ``--base-url`` names one."""
    return os.environ.get("OPENAI_BASE_URL") or None


def github_token() -> str | None:
    """``GITHUB_TOKEN``: lets the leaderboard diff be posted on a pull request."""
    return os.environ.get("GITHUB_TOKEN") or None


def github_repository() -> str | None:
    """``GITHUB_REPOSITORY``: ``owner/name`` the diff is posted to."""
    return os.environ.get("GITHUB_REPOSITORY") or None


def visible_gpus() -> tuple[str, ...] | None:
    """``CUDA_VISIBLE_DEVICES``: the GPUs of this process, by number or name; ``None`` where it sees all."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if named is None else tuple(one.strip() for one in named.split(",") if one.strip())


def chosen_threads() -> bool:
    """``OMP_NUM_THREADS``: whether somebody has said how many threads compute."""
    return bool(os.environ.get("OMP_NUM_THREADS"))


def keep_ray_quiet() -> None:
    """``RAY_USAGE_STATS_ENABLED``: off unless somebody has set it, so that a run tells nobody of itself."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def set_before_torch(threads: int | None, gpus: Sequence[str] | None) -> None:
    """Let torch, imported after this, compute on so many threads and see these GPUs; ``None`` changes nothing."""
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
