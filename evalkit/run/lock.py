"""One run at a time in a folder; verdicts have a lock of their own."""

from __future__ import annotations

__all__ = ["hold_folder"]

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evalkit.errors import UsageError


@contextmanager
def hold_folder(path: Path) -> Iterator[None]:
    """Hold a folder for this process; the system lets go of it when the process ends, however it ends.

    Args:
        path: The folder; it is made where it is missing.

    Raises:
        UsageError: Another process holds it.
    """
    path.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another process is writing into {path}") from error
        yield
    finally:
        os.close(handle)
