"""One process at a time in a folder: for what writes it over hours, and for each read-change-replace of a file."""

from __future__ import annotations

__all__ = ["hold_folder", "refuse_held"]

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evalkit.errors import UsageError

_PAUSE = 0.05


@contextmanager
def hold_folder(path: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Hold a folder for this process; the system lets go of it when the process ends, however it ends.

    What reads a file, changes it and replaces it holds the file's folder all the while, or the change of another
    process is lost.

    Args:
        path: The folder; it is made where it is missing.
        patience: Seconds to wait for another process that holds it.

    Raises:
        UsageError: Another process holds it.
    """
    path.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDONLY)
    try:
        _take(handle, path, patience)
        yield
    finally:
        os.close(handle)


def refuse_held(path: Path) -> None:
    """Refuse a folder that another process holds, before hours of work for it; one that is not there is free.

    Raises:
        UsageError: Another process holds it.
    """
    if path.is_dir():
        with hold_folder(path):
            return


def _take(handle: int, path: Path, patience: float) -> None:
    last = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= last:
                raise UsageError(f"another process is writing into {path}") from error
            time.sleep(_PAUSE)
        else:
            return
