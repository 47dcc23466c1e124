"""How a run is asked to stop: the first signal ends it in good order, the second one at once."""

from __future__ import annotations

__all__ = ["PATIENCE", "Interrupted", "StopRequest", "listening"]

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from evalkit.models.protocol import Interrupted

PATIENCE = 5.0
"""Seconds that the work in hand may take to its end after a stop was asked for; longer work is given up."""


class StopRequest:
    """Whether a run was asked to stop, and since when.

    Args:
        all_runs: The same of all runs of the process, which stops this one, too.
    """

    def __init__(self, all_runs: StopRequest | None = None) -> None:
        self._asked: float | None = None
        self._all_runs = all_runs

    def __call__(self) -> bool:
        """Tell whether it was."""
        return self._since is not None

    @property
    def _since(self) -> float | None:
        every = None if self._all_runs is None else self._all_runs._since
        return every if self._asked is None else self._asked

    def ask(self) -> None:
        """Ask it to."""
        self._asked = time.monotonic() if self._asked is None else self._asked

    def give_up_long_work(self) -> None:
        """End work that is of several parts, between two of them, where it has outlasted patience.

        Raises:
            Interrupted: A stop was asked for more than ``PATIENCE`` seconds ago.
        """
        if self._since is not None and time.monotonic() - self._since > PATIENCE:
            raise Interrupted

    def note(self, number: int, frame: FrameType | None) -> None:
        """Take a signal: note the first one.

        Raises:
            KeyboardInterrupt: It is the second one.
        """
        if self():
            raise KeyboardInterrupt
        self.ask()
        sys.stderr.write(
            f"\nevalkit: stopping after this second, or in {PATIENCE:g} s where it takes longer (again to stop at "
            "once)\n"
        )


@contextmanager
def listening() -> Iterator[StopRequest]:
    """Turn the first Ctrl-C or SIGTERM into a request to stop; the second one acts at once."""
    request = StopRequest()
    before: dict[signal.Signals, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, request.note)
    except ValueError:  # not the main thread: whoever called handles signals
        before.clear()
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
