"""Calling what somebody else wrote: what it raises becomes one line that names its place (no torch)."""

from __future__ import annotations

__all__ = ["call_foreign"]

import traceback
from collections.abc import Callable
from typing import Any

from evalkit.errors import EvalkitError, ModelError
from evalkit.models.protocol import Interrupted, StopRun


def call_foreign(label: str, function: Callable[..., Any], *words: Any, **named: Any) -> Any:
    """Call a function of somebody else's.

    Args:
        label: What to call it.
        function: It.
        words: Its arguments.
        named: Its named arguments.

    Raises:
        ModelError: It raised anything that is no error of evalkit's, nor a lack of memory.
    """
    try:
        return function(*words, **named)
    except (EvalkitError, Interrupted, StopRun, MemoryError):
        raise
    except (Exception, SystemExit) as error:  # a library's sys.exit is no reason to end the run
        if type(error).__name__ == "OutOfMemoryError":  # torch's: the run tells it from a fault
            raise
        frames = traceback.extract_tb(error.__traceback__)[1:]
        place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
        said = " ".join(f"{type(error).__name__}: {error}".encode("utf-8", "replace").decode().split())
        raise ModelError(f"{label} raised {said}{place}") from error
