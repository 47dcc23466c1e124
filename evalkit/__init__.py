"""Evaluate streaming video-language models second by second, with every number traceable to a record.

`run` does what ``evalkit run`` does, `read` gives a run's records as pandas frames, `command` is any other
command. All three are imported when they are first used: ``import evalkit`` loads nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.cli.call import command
    from evalkit.records.tables import read_tables as read
    from evalkit.run.start import run

__all__ = ["__version__", "command", "read", "run"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what is used for the first time."""
    if name == "run":
        return importlib.import_module("evalkit.run")  # the room is the function, see there
    if name == "read":
        return importlib.import_module("evalkit.records.tables").read_tables
    if name == "command":
        return importlib.import_module("evalkit.cli.call").command
    raise AttributeError(f"module 'evalkit' has no attribute {name!r}")
