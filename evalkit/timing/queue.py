"""The virtual clock: seconds arrive on time and wait behind a session of given service times (no torch).

Media time runs from 0 at the stream's start; chunk k covers ``[k d, (k+1) d)`` and arrives at its end. What runs
here is a pure recursion over recorded service times, so any recorded run can be put behind any clock.
"""

from __future__ import annotations

__all__ = ["EXACT", "OVERLOAD_RULES", "Asked", "Overload", "QueueTimes", "answer_times", "run_queue"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

Overload = Literal["queue", "drop-new", "skip-to-latest"]
OVERLOAD_RULES: tuple[Overload, ...] = get_args(Overload)

# Sums of recorded seconds carry rounding of this size; a lag is late only by more.
EXACT = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class QueueTimes:
    """When each chunk of one stream arrived, was begun, was done, and left; seconds since the stream's start.

    Args:
        arrival: Shape ``(n,)``, ascending.
        begin: Shape ``(n,)``; NaN where the chunk was dropped.
        end: Shape ``(n,)``; NaN where the chunk was dropped.
        left: Shape ``(n,)``: when it left the system, done or dropped.
    """

    arrival: Floats
    begin: Floats
    end: Floats
    left: Floats

    @property
    def dropped(self) -> Bools:
        """Which chunks were never begun."""
        return np.isnan(self.end)

    @property
    def lag(self) -> Floats:
        """From arrival to the end of work on each chunk; NaN where it was dropped."""
        return self.end - self.arrival

    @property
    def backlog(self) -> NDArray[np.int64]:
        """Chunks in the system at each arrival, the new one included: ``#{j <= k: left_j > arrival_k}``.

        The count rises only at arrivals, so its largest value is the largest over all time.
        """
        # Whoever came later leaves later than now, so that all who have left are among those who came.
        gone = np.searchsorted(np.sort(self.left), self.arrival + EXACT, side="right")
        waiting: NDArray[np.int64] = np.maximum(np.arange(1, self.arrival.size + 1) - gone, 0)
        return waiting

    def missed(self, deadline: float) -> Bools:
        """Which chunks were dropped, or done more than ``deadline`` seconds after their arrival."""
        return self.dropped | (self.lag > deadline + EXACT)


def run_queue(arrival: Floats, service: Floats, overload: Overload = "queue") -> QueueTimes:
    """Put the chunks of one stream behind a session that works on one at a time.

    Begin and end are ``b_k = max(a_k, c_(k-1))`` and ``c_k = b_k + S_k``. What happens to a chunk that comes while
    the session works is the overload rule: ``queue`` lets it wait, ``drop-new`` drops it at once (LoadGen's
    MultiStream scenario up to v1.1), ``skip-to-latest`` lets it wait until the session is free, which then takes
    the latest and drops the others (streaming perception, Li et al. 2020, arXiv 2005.10420).

    Args:
        arrival: Shape ``(n,)``, seconds, ascending.
        service: Shape ``(n,)``, seconds, none negative.
        overload: The rule.

    Raises:
        ValueError: Shapes differ, arrivals go back, or a service time is negative or no number.
    """
    if arrival.shape != service.shape or arrival.ndim != 1:
        raise ValueError(f"arrivals {arrival.shape} and service times {service.shape} do not match")
    if not (np.isfinite(arrival).all() and np.isfinite(service).all() and (service >= 0).all()):
        raise ValueError("arrivals and service times are finite numbers, and no service time is negative")
    if (np.diff(arrival) < 0).any():
        raise ValueError("chunks arrive in order")
    begin, left = _RULES[overload](arrival.tolist(), service.tolist())
    started = np.array(begin, dtype=np.float64)
    return QueueTimes(arrival, started, started + service, np.array(left, dtype=np.float64))


_NEVER = float("nan")


def _in_turn(arrival: list[float], service: list[float], *, drops: bool) -> tuple[list[float], list[float]]:
    """Serve one after the other; whoever comes while another is served waits, or is dropped."""
    begin, left, free = [], [], 0.0
    for came, takes in zip(arrival, service, strict=True):
        if drops and free > came + EXACT:
            begin.append(_NEVER)
            left.append(came)
            continue
        began = max(came, free)
        free = began + takes
        begin.append(began)
        left.append(free)
    return begin, left


def _skip_to_latest(arrival: list[float], service: list[float]) -> tuple[list[float], list[float]]:
    n = len(arrival)
    begin, left, free, place = [_NEVER] * n, [0.0] * n, 0.0, 0
    while place < n:
        began = max(arrival[place], free)
        latest = place
        while latest + 1 < n and arrival[latest + 1] <= began + EXACT:
            latest += 1
        begin[latest] = began = max(began, arrival[latest])
        free = began + service[latest]
        left[place : latest + 1] = [*[began] * (latest - place), free]
        place = latest + 1
    return begin, left


_RULES: dict[Overload, Callable[[list[float], list[float]], tuple[list[float], list[float]]]] = {
    "queue": partial(_in_turn, drops=False),
    "drop-new": partial(_in_turn, drops=True),
    "skip-to-latest": _skip_to_latest,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question among the chunks of a stream.

    Args:
        at: When it is asked, seconds since the stream's start.
        takes: Seconds that answering it takes.
        after: How many chunks it comes behind: those that have arrived when it is asked.
    """

    at: float
    takes: float
    after: int


def answer_times(
    arrival: Floats, service: Floats, questions: Sequence[Asked], overload: Overload = "queue"
) -> list[float]:
    """Return when each answer is out, where answering holds the session up as seconds do.

    A question waits for the chunks before it, under ``drop-new`` and ``skip-to-latest`` for those of them that are
    not dropped, and is itself never dropped.

    Args:
        arrival: As in `run_queue`.
        service: As there.
        questions: In the order in which they are asked.
        overload: The rule.

    Returns:
        Seconds since the stream's start, one a question.
    """
    came, takes = arrival.tolist(), service.tolist()
    free, place = 0.0, 0
    out: list[float] = []
    for question in questions:
        stop = min(question.after, len(came))
        while place < stop:
            if overload == "drop-new" and free > came[place] + EXACT:
                place += 1
                continue
            if overload == "skip-to-latest":
                began = max(free, came[place])
                while place + 1 < stop and came[place + 1] <= began + EXACT:
                    place += 1
            free = max(free, came[place]) + takes[place]
            place += 1
        free = max(free, question.at) + question.takes
        out.append(free)
    return out
