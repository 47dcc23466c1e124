"""The only module that reads environment variables; there are few, and this lists them all."""

from __future__ import annotations

__all__ = ["cache_dir", "completing", "github_repository", "github_token", "judge_base_url", "judge_key"]

import os
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
