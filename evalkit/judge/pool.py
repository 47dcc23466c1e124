"""Works through a list, so many items at once; what the work is, is left to others."""

from __future__ import annotations

__all__ = ["Bar", "work_through", "work_under_bar"]

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Never, TypeVar

from tqdm import tqdm

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


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of progress on stderr.

    Args:
        called: What is done.
        unit: What one step is.
        done: Steps done before.
        shown: Whether it is drawn; by default where stderr is a terminal.
    """

    called: str
    unit: str
    done: int = 0
    shown: bool | None = None


async def work_under_bar(
    items: Sequence[T],
    work: Callable[[T], Awaitable[None]],
    at_once: int,
    bar: Bar,
    close: Callable[[], Awaitable[None]],
) -> None:
    """Do some work for every item under a bar of progress, and close what was worked with, come what may.

    Args:
        items: What to work through.
        work: What to do with one.
        at_once: Items under way at once, >= 1.
        bar: The bar.
        close: Lets go of connections.
    """
    hidden = not sys.stderr.isatty() if bar.shown is None else not bar.shown
    drawn: tqdm[Never] = tqdm(
        total=bar.done + len(items),
        initial=bar.done,
        desc=bar.called,
        unit=bar.unit,
        file=sys.stderr,
        disable=hidden,
    )

    async def counted(item: T) -> None:
        await work(item)
        drawn.update()

    with drawn:
        try:
            await work_through(items, counted, at_once)
        finally:
            await close()
