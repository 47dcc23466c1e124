"""A session's state on disk: tensors and plain values in one safetensors file, replaced atomically."""

from __future__ import annotations

__all__ = ["SessionCheckpoints"]

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from safetensors import safe_open
from safetensors.torch import save

from evalkit.errors import DataError
from evalkit.records import write_atomic


class SessionCheckpoints:
    """The checkpoints of a run, one per unfinished sample.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _path(self, sample: str) -> Path:
        return self._folder / f"{quote(sample, safe='')}.safetensors"

    def save(self, sample: str, tick: int, state: dict[str, Any]) -> None:
        """Save a session.

        Args:
            sample: Sample id.
            tick: Index of the next tick.
            state: What ``StreamSession.state`` returned.
        """
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state["tensors"].items()}
        plain = json.dumps({"tick": tick, **state["json"]})
        write_atomic(self._path(sample), save(tensors, metadata={"session": plain}))

    def load(self, sample: str) -> tuple[int, dict[str, Any]] | None:
        """Return the next tick and the state of a sample, or ``None`` where there is no checkpoint.

        Raises:
            DataError: The file is damaged.
        """
        path = self._path(sample)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                plain = json.loads(file.metadata()["session"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except Exception as error:  # safetensors raises its own untyped errors
            raise DataError(f"checkpoint {path} is damaged ({error})", path=path) from error
        tick = int(plain.pop("tick"))
        return tick, {"tensors": tensors, "json": plain}

    def drop(self, sample: str) -> None:
        """Delete a sample's checkpoint."""
        self._path(sample).unlink(missing_ok=True)
