"""Fixtures of the tests against a real vLLM: exported checkpoints, and local sessions over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit.memory import FullAttention
from evalkit.models.cached import CachedModel
from evalkit.models.export import export_checkpoint
from evalkit.models.load import LoadRequest, load_backbone
from evalkit.models.settings import GenerationSettings

GREEDY = {"temperature": 0.0, "repetition_penalty": 1.0, "max_new_tokens": 8, "answer_tokens": 8}


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Exports a built-in checkpoint with heads wide enough, once."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def export(name: str) -> Path:
        return folder / name if (folder / name).exists() else export_checkpoint(name, folder / name)

    return export


@pytest.fixture(scope="session")
def local_model(exported: Callable[[str], Path]) -> Callable[[str], CachedModel]:
    """Loads a checkpoint into a local session's model: full attention, greedy."""

    def load(name: str) -> CachedModel:
        backbone = load_backbone(LoadRequest(str(exported(name)), device="cpu"))
        return CachedModel("full", backbone, FullAttention(), GenerationSettings(**GREEDY), "r")

    return load
