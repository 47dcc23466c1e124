"""An event loop in a thread of its own, for callers on ordinary threads that ask a chat server."""

from __future__ import annotations

__all__ = ["ChatLoop"]

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class ChatLoop:
    """Runs coroutines for any number of threads; its thread starts with the first of them."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and return what it returns; an interrupt of the calling thread cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._started())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                threading.Thread(target=loop.run_forever, name="evalkit-chat", daemon=True).start()
                self._loop = loop
            return self._loop

    def close(self) -> None:
        """End the thread; a later `run` starts another."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
