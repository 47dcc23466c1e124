"""How long a policy lasts: until a minute takes more than a minute, memory runs out, or its words degenerate."""

from __future__ import annotations

__all__ = ["Horizon", "HorizonWatch", "horizon_json", "horizon_table", "measure_horizon"]

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.bench.measure import BenchRequest, BenchSecond, measure_stream, models_of
from evalkit.report.speech import count_words
from evalkit.report.tables import Column, Table
from evalkit.timing import MINUTE, minute_factors

_MEMORY = ("MemoryError", "OutOfMemoryError")


@dataclass(frozen=True, slots=True)
class Horizon:
    """When a stream first failed, and in which way; media seconds since its start, ``None`` for not at all.

    Args:
        model: Its name.
        seconds: Media seconds that ran.
        behind_at: The real-time factor of the last 60 s exceeded one.
        out_of_memory_at: Memory ran out.
        degenerate_at: For 60 s every second said nothing, or what the second before it said.
        stopped: Why the stream ended before its time, in the model's words.
    """

    model: str
    seconds: float
    behind_at: float | None
    out_of_memory_at: float | None
    degenerate_at: float | None
    stopped: str = ""

    @property
    def failed_at(self) -> float | None:
        """The earliest of the three."""
        known = (self.behind_at, self.out_of_memory_at, self.degenerate_at)
        return min((time for time in known if time is not None), default=None)

    @property
    def cause(self) -> str:
        """What came first: ``real-time factor``, ``out of memory``, ``degenerate output``, or nothing."""
        causes = {
            "real-time factor": self.behind_at,
            "out of memory": self.out_of_memory_at,
            "degenerate output": self.degenerate_at,
        }
        return next((name for name, at in causes.items() if at is not None and at == self.failed_at), "")


@dataclass(slots=True)
class HorizonWatch:
    """Told each second of a stream, it knows when the stream first fell behind and when its words degenerated.

    Args:
        span: Seconds that have to be bad for it to count.
    """

    span: float = MINUTE
    behind_at: float | None = None
    degenerate_at: float | None = None
    _media: list[float] = field(default_factory=list)
    _service: list[float] = field(default_factory=list)
    _now: float = 0.0
    _last: str | None = None
    _good: float = 0.0

    @property
    def now(self) -> float:
        """Media seconds so far."""
        return self._now

    def goes_on(self, media: float, service: float, text: str) -> bool:
        """Take note of a second; return whether the stream still keeps up.

        Args:
            media: Its length, media seconds.
            service: What it took, seconds.
            text: What was said in it.
        """
        self._media.append(media)
        self._service.append(service)
        self._now += media
        said = " ".join(text.split())
        if count_words(text) and said != self._last:
            self._good = self._now
        self._last = said
        if self.degenerate_at is None and self._now - self._good >= self.span - 1e-9:
            self.degenerate_at = self._now
        if self._behind():
            self.behind_at = self._now
        return self.behind_at is None

    def goes_on_after(self, second: BenchSecond) -> bool:
        """Take note of a measured second; return whether the stream still keeps up."""
        tick = second.tick
        return self.goes_on(tick.end - tick.start, tick.stages.total, second.text)

    def _behind(self) -> bool:
        # As many last ticks as make up the span, one more for a part of it.
        recent = int(self.span / min(self._media[-1], self.span)) + 1
        media, service = np.array(self._media[-recent:]), np.array(self._service[-recent:])
        factor = float(minute_factors(media, service, self.span)[-1])
        return factor > 1 + 1e-9


def measure_horizon(request: BenchRequest, out: Path) -> list[Horizon]:
    """Run every model until it falls behind, fails, or the stream ends; each second on record below ``out``.

    A model whose words degenerate goes on, so that the other figures are told too.

    Args:
        request: What is measured.
        out: Folder that gets a run folder per model.
    """
    found = []
    for recipe, model in models_of(request):
        watch = HorizonWatch()
        manifest = measure_stream(model, recipe, request, out / recipe.name, watch.goes_on_after)
        failure = manifest.failed[0] if manifest.failed else None
        memory = failure is not None and failure.error in _MEMORY
        found.append(
            Horizon(
                model=recipe.name,
                seconds=watch.now,
                behind_at=watch.behind_at,
                out_of_memory_at=watch.now if memory else None,
                degenerate_at=watch.degenerate_at,
                stopped="" if failure is None else f"{failure.error}: {failure.reason}",
            )
        )
    return found


def horizon_table(found: Sequence[Horizon], request: BenchRequest) -> Table:
    """Return how long each model lasted, one row per model."""
    columns = (
        Column("Model", text=True),
        Column("Fails at", text=True),
        Column("Cause", text=True),
        *(Column(name, text=True) for name in ("Falls behind at", "Out of memory at", "Degenerate at")),
    )

    def at(time: float | None, seconds: float) -> str:
        return f"not in {seconds:.0f} s" if time is None else f"{time:.0f} s"

    rows = tuple(
        (
            one.model,
            at(one.failed_at, one.seconds),
            one.cause or "–",
            at(one.behind_at, one.seconds),
            at(one.out_of_memory_at, one.seconds),
            at(one.degenerate_at, one.seconds),
        )
        for one in found
    )
    notes = [
        f"Stream time at {request.fps:g} fps and {request.tokens} tokens a second. Behind: the last 60 s took "
        "more than 60 s. Degenerate: for 60 s every second said nothing, or what the one before it said.",
        *(f"{one.model} stopped after {one.seconds:.0f} s: {one.stopped}" for one in found if one.stopped),
    ]
    return Table("Time to failure", columns, rows, tuple(notes), "time-to-failure")


def horizon_json(found: Sequence[Horizon]) -> dict[str, Any]:
    """Return the times to failure for ``--json``, media seconds."""
    return {
        "models": {
            one.model: {**asdict(one), "failed_at": one.failed_at, "cause": one.cause or None} for one in found
        }
    }
