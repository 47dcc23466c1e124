"""A session's state on disk: tensors and plain values in one safetensors file, replaced atomically."""

from __future__ import annotations

__all__ = ["Checkpoints", "SessionCheckpoints", "pack_state", "unpack_state"]

import json
import os
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor

from evalkit.errors import DataError
from evalkit.records import write_atomic


class Checkpoints(Protocol):
    """Where the state of a sample goes while it runs."""

    def save(self, sample: str, tick: int, state: dict[str, Any]) -> None:
        """Save a session: what ``StreamSession.state`` returned, and the index of the next tick."""

    def load(self, sample: str) -> tuple[int, dict[str, Any]] | None:
        """Return the next tick and the state of a sample, or ``None`` where there is no checkpoint."""


def pack_state(tick: int, state: dict[str, Any]) -> bytes:
    """Return a session's state as one safetensors file.

    Args:
        tick: Index of the next tick.
        state: What ``StreamSession.state`` returned.
    """
    tensors: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, given in state["tensors"].items():
        tensor = given.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        # The format refuses tensors that share memory, such as one frame remembered under two names.
        tensors[name] = tensor.clone() if storage in storages else tensor
        storages.add(storage)
    return save(tensors, metadata={"session": json.dumps({"tick": tick, "json": state["json"]})})


def unpack_state(blob: bytes) -> tuple[int, dict[str, Any]]:
    """Return the next tick and the state that `pack_state` packed.

    Raises:
        DataError: It is damaged.
    """
    try:
        tensors = load(blob)
        session = json.loads(
            json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])["__metadata__"]["session"]
        )
        tick, plain = int(session["tick"]), session["json"]
    except Exception as error:  # safetensors raises its own untyped errors
        raise DataError(f"checkpoint is damaged ({error})") from error
    return tick, {"tensors": tensors, "json": plain}


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
        self.put(sample, pack_state(tick, state))

    def put(self, sample: str, blob: bytes) -> None:
        """Save a session that is packed already."""
        write_atomic(self._path(sample), blob)

    def lay_aside(self, sample: str, tick: int, blob: bytes) -> Path:
        """Write a packed session onto the disk beside its place, for whoever may put it there (`take`).

        Each has a name of its own: the next one may be there before this one was taken.
        """
        part = self._path(sample).with_name(f".{self._path(sample).name}.{os.getpid()}-{tick}.part")
        with part.open("wb") as file:
            file.write(blob)
            file.flush()
            os.fsync(file.fileno())
        return part

    def take(self, sample: str, part: Path) -> None:
        """Put what was laid aside in its place."""
        part.replace(self._path(sample))

    def read(self, sample: str) -> bytes | None:
        """Return a session as it was packed, ``None`` where there is no checkpoint."""
        path = self._path(sample)
        return path.read_bytes() if path.exists() else None

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
                session = json.loads(file.metadata()["session"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            tick, plain = int(session["tick"]), session["json"]
        except Exception as error:  # safetensors raises its own untyped errors
            raise DataError(f"checkpoint {path} is damaged ({error})", path=path) from error
        return tick, {"tensors": tensors, "json": plain}

    def drop(self, sample: str) -> None:
        """Delete a sample's checkpoint, and what processes that died laid aside of it."""
        path = self._path(sample)
        for one in (path, *self._folder.glob(f".{path.name}.*.part")):
            one.unlink(missing_ok=True)
