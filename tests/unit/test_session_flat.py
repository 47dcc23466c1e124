"""Two hours of stream cost as much at their end as at their beginning, in time and in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import psutil
import pytest
import scipy.stats

from evalkit.memory import StreamingVLM
from evalkit.models.protocol import SessionRequest
from evalkit.models.session import CachedSession
from evalkit.models.settings import GenerationSettings
from evalkit.stream import Chunk, FrameSchedule, Narration

SECONDS, FILLED, LAST = 7200, 420, 720


def long_stream(seconds: Callable[..., Iterator[Chunk]], first: int = 0) -> Iterator[Chunk]:
    """The same sixty pictures again and again: making new ones would cost more than watching them."""
    pictures = list(seconds(60, size=(112, 84)))
    schedule = FrameSchedule(0, SECONDS, 2)
    for index in range(first, SECONDS):
        tick = schedule[index]
        yield replace(pictures[index % 60], tick=tick, times=tick.frame_times, shown=tick.frame_times)


def copied(state: dict[str, Any]) -> dict[str, Any]:
    return {"json": state["json"], "tensors": {name: value.clone() for name, value in state["tensors"].items()}}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_two_hours_are_flat_in_time_and_memory(tiny: Any, seconds: Callable[..., Iterator[Chunk]]) -> None:
    """The windows are full, sink and all, after `FILLED` seconds; from there on nothing may grow.

    For time, the last tenth takes turns with the same seconds of a session that is back where the windows had just
    filled: what else the machine does meanwhile then slows both alike.
    """
    generation = GenerationSettings(temperature=0.9, max_new_tokens=20, exact_tokens=True)
    request = SessionRequest("long", 2.0, 0, Narration("Say what happens."))
    old, young = (CachedSession(tiny, StreamingVLM(), generation, request) for _ in range(2))
    process = psutil.Process()
    resident, cached = np.ones((2, SECONDS))  # written now, so that the notes themselves do not grow
    spent: dict[str, list[float]] = {"first": [], "old": [], "young": []}
    filled: dict[str, Any] = {}
    stream, again = long_stream(seconds), long_stream(seconds, FILLED)
    for second, chunk in enumerate(stream):
        if second == FILLED:
            filled = copied(old.state())
        if second == SECONDS - LAST:
            young.restore(filled)
        step = old.speak(chunk).step
        cached[second] = step.cache_tokens
        resident[second] = process.memory_info().rss / 2**20
        if FILLED <= second < FILLED + LAST:
            spent["first"].append(sum(step.stages.values()))
        if second >= SECONDS - LAST:
            spent["old"].append(sum(step.stages.values()))
            spent["young"].append(sum(young.speak(next(again)).step.stages.values()))
    first, last, beside = (float(np.median(spent[name])) for name in ("first", "old", "young"))
    minutes = resident[FILLED : SECONDS - LAST].reshape(-1, 60).max(axis=1)
    slope = scipy.stats.theilslopes(minutes)
    print(
        f"median second: {first * 1e3:.2f} ms at first, {last * 1e3:.2f} ms at last, {last / beside:.3f} times "
        "that of a young session beside it; "
        f"memory: {slope.low_slope:.5f} to {slope.high_slope:.5f} MiB a minute, "
        f"{minutes[-1] - minutes[0]:.2f} MiB in all, in {np.count_nonzero(np.diff(minutes))} steps"
    )
    assert last <= 1.05 * beside
    assert cached[-LAST:].max() <= cached[FILLED : FILLED + LAST].max()
    # Memory comes in pages of 4 KiB: a quarter of one a minute is a slope of nought within what can be measured.
    assert slope.low_slope < 0.001
    # At second 1000 the clock gets a fourth digit, and every turn two more tokens.
    assert minutes[-1] - minutes[0] < 4
