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
        """Run a coroutine and return what it returns; an interrupt of the calling thread cancels it.

        Raises:
            concurrent.futures.CancelledError: The loop was closed meanwhile.
        """
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
        """End the thread and cancel what still waits there; a later `run` starts another."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            asyncio.run_coroutine_threadsafe(_cancel_all(), loop)


async def _cancel_all() -> None:
    """Cancel every other task of the running loop, then stop it."""
    loop, others = asyncio.get_running_loop(), asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    loop.stop()
