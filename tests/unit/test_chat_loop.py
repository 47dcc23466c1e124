"""The event loop that ordinary threads ask through."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError

import pytest

from evalkit.chat.loop import ChatLoop


async def _double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def test_threads_get_what_their_coroutines_return_and_a_closed_loop_starts_anew() -> None:
    loop = ChatLoop()
    assert loop.run(_double(2)) == 4
    loop.close()
    assert loop.run(_double(3)) == 6
    loop.close()


def test_whoever_waits_when_the_loop_is_closed_waits_no_longer() -> None:
    loop, begun, ended = ChatLoop(), threading.Event(), []

    async def forever() -> None:
        begun.set()
        await asyncio.Event().wait()

    def wait() -> None:
        with pytest.raises(CancelledError):
            loop.run(forever())
        ended.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    begun.wait(60)
    loop.close()
    thread.join(60)
    assert ended == [True]
