"""The largest load that a policy sustains: frames a second, or streams, accepted by a rule and found by bisection.

Service times are measured back to back at each load tried and put behind the virtual clock (rule ``queue``): a
stream of that load arrives on time, and each second waits for the session. The caller runs a load.
"""

from __future__ import annotations

__all__ = [
    "LoadVerdict",
    "Run",
    "SustainRule",
    "SustainSearch",
    "Trial",
    "largest_load",
    "sustain_json",
    "sustain_table",
]

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from evalkit.report.tables import Cell, Column, Table
from evalkit.stats.series import Trend, trend
from evalkit.timing import EXACT, accepts_tail, needed_for_percentile, run_queue

Reason = Literal["", "misses", "backlog", "undecided", "growing", "failed"]

_GROWTH = 1e-3
"""Share by which a cache must outgrow its largest length to count as growing: a clock's next digit does not."""


@dataclass(frozen=True, slots=True)
class SustainRule:
    """When a load counts as sustained.

    Args:
        percentile: Share of seconds that is to be in time.
        confidence: Of that claim, by LoadGen's early stopping.
        deadline: Lag that is late, seconds; one chunk of stream where ``None``.
        least: Seconds of stream measured after the memory reached its cap: ten minutes.
        most: Seconds of stream after which a load that is not accepted is given up: the horizon.
        settle: Seconds without growth after which the memory counts as having reached its cap.
    """

    percentile: float = 0.99
    confidence: float = 0.99
    deadline: float | None = None
    least: float = 600.0
    most: float = 1800.0
    settle: float = 60.0

    def needed(self) -> int:
        """Return how many seconds without a miss the claim needs: 459 for the 99th percentile at 99 %."""
        return needed_for_percentile(self.percentile, self.confidence)

    def accepts(self, misses: int, hits: int) -> bool:
        """Whether so many misses and hits support the claim."""
        return accepts_tail(misses, hits, percentile=self.percentile, confidence=self.confidence)


@dataclass(frozen=True, slots=True)
class LoadVerdict:
    """What one load came to.

    Args:
        load: Frames a second, or streams.
        sustained: Whether the rule accepts it.
        reason: Why it does not: ``misses`` over the deadline, a ``backlog`` that grows, ``undecided`` at the
            horizon, a memory that is still ``growing``, or the model ``failed``.
        horizon: Seconds of stream that ran.
        measured: Seconds counted, all after the memory reached its cap.
        misses: Of them late.
        capped_at: Stream second from which on seconds count; ``None`` where the memory never stopped growing.
        trend: Of the backlog, chunks a second; ``None`` where nothing was measured.
        factor: Service time over media time of the seconds counted, else of all.
        said: What the model failed with.
    """

    load: float
    sustained: bool
    reason: Reason
    horizon: float
    measured: int
    misses: int
    capped_at: float | None
    trend: Trend | None
    factor: float | None
    said: str = ""


@dataclass(slots=True)
class Trial:
    """One load being tried: told each second, it says when enough is known.

    Args:
        load: Frames a second, or streams.
        rule: When it counts as sustained.
    """

    load: float
    rule: SustainRule = field(default_factory=SustainRule)
    _media: list[float] = field(default_factory=list, init=False)
    _service: list[float] = field(default_factory=list, init=False)
    _free: float = field(default=0.0, init=False)
    _now: float = field(default=0.0, init=False)
    _largest: float = field(default=0.0, init=False)
    _grew: float = field(default=0.0, init=False)
    _capped: int | None = field(default=None, init=False)
    _capped_at: float = field(default=0.0, init=False)
    _misses: int = field(default=0, init=False)
    _reason: Reason = field(default="", init=False)

    def goes_on(self, media: float, service: float, cache_tokens: int) -> bool:
        """Take note of a second and return whether another is wanted.

        Args:
            media: Its length, media seconds; it arrives at its end.
            service: What it took, seconds.
            cache_tokens: Keys per layer after it.
        """
        self._media.append(media)
        self._service.append(service)
        self._now += media
        self._free = max(self._free, self._now) + service
        if self._capped is None:
            self._watch_cap(cache_tokens)
            return self._before_cap()
        deadline = media if self.rule.deadline is None else self.rule.deadline
        self._misses += self._free - self._now > deadline + EXACT
        return self._after_cap()

    def _watch_cap(self, tokens: int) -> None:
        if tokens > self._largest * (1 + _GROWTH):
            self._largest, self._grew = tokens, self._now
        elif self._now - self._grew >= self.rule.settle - EXACT:
            self._capped, self._capped_at = len(self._media), self._now

    def _before_cap(self) -> bool:
        if self._now > self.rule.most - self.rule.least + EXACT and self._capped is None:
            self._reason = "growing"
        elif self._free - self._now > self.rule.settle:
            self._reason = "backlog"
        return not self._reason

    def _after_cap(self) -> bool:
        hits = len(self._media) - (self._capped or 0) - self._misses
        measured = self._now - self._capped_at
        left = max(0.0, self.rule.most - self._now) / self._media[-1]
        if measured >= self.rule.least - EXACT and self.rule.accepts(self._misses, hits):
            return False
        if not self.rule.accepts(self._misses, hits + int(left)):
            self._reason = "misses"
        elif left < 1:
            self._reason = "undecided"
        return not self._reason

    def verdict(self, failed: str = "") -> LoadVerdict:
        """Return what the load came to.

        Args:
            failed: What the model failed with, where it did.
        """
        media, service = np.array(self._media), np.array(self._service)
        times = run_queue(np.cumsum(media), service)
        counted = slice(self._capped, None) if self._capped is not None else slice(len(media), None)
        backlog, arrival = times.backlog[counted].astype(float), times.arrival[counted]
        slope = trend(backlog, arrival) if backlog.size >= 2 else None
        reason: Reason = "failed" if failed else self._reason
        if not reason and slope is not None and slope.low is not None and slope.low > 0:
            reason = "backlog"
        if not reason and not self.rule.accepts(self._misses, backlog.size - self._misses):
            reason = "undecided"
        part = counted if backlog.size else slice(None)
        length = float(media[part].sum())
        return LoadVerdict(
            load=self.load,
            sustained=not reason,
            reason=reason,
            horizon=self._now,
            measured=int(backlog.size),
            misses=self._misses,
            capped_at=None if self._capped is None else self._capped_at,
            trend=slope,
            factor=float(service[part].sum()) / length if length else None,
            said=failed,
        )


@dataclass(frozen=True, slots=True)
class SustainSearch:
    """All loads tried, in the order of trying.

    Args:
        verdicts: One a load.
        step: What the bisection goes down to.
        most: The largest load that was allowed.
    """

    verdicts: tuple[LoadVerdict, ...]
    step: float
    most: float

    @property
    def best(self) -> LoadVerdict | None:
        """The largest load that was sustained; ``None`` where none was."""
        return max((one for one in self.verdicts if one.sustained), key=lambda one: one.load, default=None)

    @property
    def bounded(self) -> bool:
        """Whether a load above the best was tried and refused, so that the best is the largest."""
        best = self.best
        return best is not None and any(not one.sustained and one.load > best.load for one in self.verdicts)


Run = Callable[[float, Trial], str]
"""Runs a stream, or streams, of one load and tells the trial each second while it goes on; returns what the model
failed with, empty where it did not."""


def largest_load(
    run: Run, rule: SustainRule, *, first: float, step: float, least: float, most: float
) -> SustainSearch:
    """Find the largest load that is sustained: doubled or halved to a bracket, then bisected to ``step``.

    A load at which the memory never stops growing ends the search: no smaller one would cap it.

    Args:
        run: Runs one load.
        rule: When a load counts as sustained.
        first: The load tried first.
        step: Distance of loads that are told apart; every load is a multiple of it.
        least: Smallest load tried.
        most: Largest load tried.
    """
    low, high = round(least / step), round(most / step)
    held: int | None = None  # the largest sustained
    lost: int | None = None  # the smallest refused
    place = min(max(round(first / step), low), high)
    tried: list[LoadVerdict] = []
    while True:
        trial = Trial(place * step, rule)
        found = trial.verdict(run(trial.load, trial))
        tried.append(found)
        if found.reason == "growing":
            break
        held, lost = (place, lost) if found.sustained else (held, place)
        if held is None:
            if place == low:
                break
            place = max(place // 2, low)
        elif lost is None:
            if place == high:
                break
            place = min(2 * place, high)
        elif lost - held <= 1:
            break
        else:
            place = (held + lost) // 2
    return SustainSearch(tuple(tried), step, most)


_WHY: dict[Reason, str] = {
    "": "sustained",
    "misses": "too many late seconds",
    "backlog": "the backlog grows",
    "undecided": "too few seconds for the claim",
    "growing": "the memory never stops growing",
    "failed": "the model failed",
}


def sustain_table(found: Mapping[str, SustainSearch], rule: SustainRule, unit: str) -> Table:
    """Return the largest sustained load of each model, with the horizon it holds for.

    Args:
        found: What was tried, by model.
        rule: By which it was judged.
        unit: Of the loads: ``fps`` or ``streams``.
    """
    columns = (
        Column("Model", text=True),
        Column("Sustained", unit, text=True),
        Column("Horizon", "s", digits=0),
        Column("Measured", "s", digits=0),
        Column("Missed", digits=0),
        Column("RTF"),
        Column("Memory capped at", "s", digits=0),
        Column("Refused above", unit, text=True),
    )
    rows: list[tuple[Cell, ...]] = []
    for name, search in found.items():
        best = search.best
        above = [one for one in search.verdicts if not one.sustained and (best is None or one.load > best.load)]
        nearest = min(above, key=lambda one: one.load, default=None)
        refused = "–" if nearest is None else f"{nearest.load:g}: {_WHY[nearest.reason]}"
        if best is None:
            rows.append((name, "none", nearest.horizon if nearest else None, None, None, None, None, refused))
            continue
        load = f"{best.load:g}" if search.bounded else f"at least {best.load:g}"
        rows.append((name, load, best.horizon, best.measured, best.misses, best.factor, best.capped_at, refused))
    deadline = "one chunk" if rule.deadline is None else f"{rule.deadline:g} s"
    note = (
        f"Sustained: {100 * rule.percentile:g} % of seconds done within {deadline} at {100 * rule.confidence:g} % "
        f"(LoadGen's early stopping; {rule.needed()} without a miss), no growing backlog, over at least "
        f"{rule.least:g} s after the memory had not grown for {rule.settle:g} s. Service times as measured back "
        "to back at each load, behind the virtual clock (rule queue). A figure holds for its horizon, not beyond."
    )
    return Table(f"Largest load sustained ({unit})", columns, tuple(rows), (note,), "sustain")


def sustain_json(found: Mapping[str, SustainSearch], rule: SustainRule) -> dict[str, Any]:
    """Return everything tried, for ``--json``."""
    models = {
        name: {
            "sustained": None if search.best is None else search.best.load,
            "horizon": None if search.best is None else search.best.horizon,
            "bounded": search.bounded,
            "step": search.step,
            "tried": [asdict(one) for one in search.verdicts],
        }
        for name, search in found.items()
    }
    return {"models": models, "rule": asdict(rule) | {"needed": rule.needed()}}
