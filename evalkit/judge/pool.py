"""Works through a list, so many items at once; what the work is, is left to others."""

from __future__ import annotations

__all__ = ["work_through"]

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def work_through(items: Sequence[T], work: Callable[[T], Awaitable[None]], at_once: int) -> None:
    """Do some work for every item; the first error cancels the rest and is raised as it is.

    Args:
        items: What to work through, begun in this order.
        work: What to do with one.
        at_once: Items under way at once, >= 1.
    """
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(items))):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
