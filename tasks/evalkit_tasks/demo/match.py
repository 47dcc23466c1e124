"""A made-up match, a pure function of a seed: what each second shows; leaves words and pixels to others."""

from __future__ import annotations

__all__ = [
    "COLOURS",
    "EVENT_KINDS",
    "POINTS",
    "STREAM_RATES",
    "THIRDS",
    "VENUES",
    "DemoMatch",
    "EventKind",
    "Moment",
    "Rates",
    "demo_matches",
    "make_match",
]

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from evalkit.errors import UsageError
from evalkit.tasks import DemoSize

EventKind = Literal["card", "play", "foul", "corner", "save", "goal", "clock", "replay", "house", "board"]
"""What a second shows: the opening card, a team on the ball, an event of that team, or a sign that asks."""

EVENT_KINDS: Final[tuple[EventKind, ...]] = get_args(EventKind)
COLOURS: Final = ("red", "blue")
THIRDS: Final = ("left", "middle", "right")
VENUES: Final = (
    "Harbour",
    "Northfield",
    "Millbrook",
    "Eastgate",
    "Lakeside",
    "Hilltown",
    "Riverside",
    "Oldbridge",
)
POINTS: Final = 5
"""A side's points run from 0 to 4; its fifth ends a set, and it counts from 0 again."""

_DEFAULT_SEEDS: Final = (7, 11)
_SEEDS_APART: Final = 1000


@dataclass(frozen=True, slots=True)
class Rates:
    """How often a second shows what, and how long a stream may do without.

    Args:
        shares: Share of the seconds by kind; what is left over is play.
        correction: Share of the boards that show another score than the goals so far add up to.
        score_within: Most seconds from one mention of the score to the next.
        goal_within: Most seconds from one goal to the next.
    """

    shares: dict[EventKind, float]
    correction: float = 0.25
    score_within: int = 8
    goal_within: int = 24


STREAM_RATES: Final = Rates(
    {
        "foul": 0.05,
        "corner": 0.05,
        "save": 0.05,
        "goal": 0.09,
        "clock": 0.12,
        "replay": 0.05,
        "house": 0.05,
        "board": 0.04,
    }
)
"""Rates of the demo's streams."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One second of a match.

    Args:
        at: Media second.
        kind: What it shows.
        side: Team on the ball, of the event or of the goal: 0 red, 1 blue.
        third: Third of the pitch: 0 left, 1 middle, 2 right.
        score: Points (red, blue) that stand when the second is over.
        scorer: Side of the last goal, this second's included; ``None`` before the first.
    """

    at: int
    kind: EventKind
    side: int
    third: int
    score: tuple[int, int]
    scorer: int | None


@dataclass(frozen=True, slots=True)
class DemoMatch:
    """All there is to know about a made-up match; transcript, video and questions are derived from it.

    Args:
        seed: What it was made from.
        venue: Index of where it is played in `VENUES`; shown by the opening card and never again.
        moments: One a second, from media second 0 on.
    """

    seed: int
    venue: int
    moments: tuple[Moment, ...]

    @property
    def video(self) -> str:
        """Return the file name of its video."""
        return f"demo_match_{self.seed:02d}.mp4"

    @property
    def seconds(self) -> int:
        """Return its length."""
        return len(self.moments)

    @property
    def title(self) -> str:
        """Return the match's title, which does not give the venue away."""
        return f"red vs blue, match {self.seed}"

    def score_at(self, second: float) -> tuple[int, int]:
        """Return the points (red, blue) that stand when a media second is over."""
        return self.moments[min(int(second), self.seconds - 1)].score

    def count(self, kind: EventKind, until: float) -> int:
        """Return how many seconds up to a media second, itself included, show a kind."""
        return sum(moment.kind == kind and moment.at <= until for moment in self.moments)

    def latest(self, kind: EventKind, second: float) -> Moment | None:
        """Return the last second of a kind that has begun by a media second, ``None`` before the first."""
        return next((m for m in reversed(self.moments) if m.kind == kind and m.at <= second), None)


def make_match(seed: int, seconds: int, rates: Rates = STREAM_RATES, venue: int | None = None) -> DemoMatch:
    """Make the match of a seed.

    Second 0 shows the opening card and second 1 the score board at 0-0; then each second is drawn by its own. A
    replay asks for the last scorer and comes only after a goal. A longer match of a seed goes on as a shorter one.

    Args:
        seed: Any whole number, 0 or more; equal seeds give equal matches.
        seconds: Length, 20 or more.
        rates: How often what is seen.
        venue: Index of the venue; drawn from the seed by default.

    Raises:
        UsageError: The match would be too short to hold events.
    """
    if seconds < 20:
        raise UsageError(f"a demo match lasts at least 20 s, not {seconds}")
    rng = np.random.default_rng([seed, 2026])
    drawn = int(rng.integers(len(VENUES)))
    moments = [Moment(0, "card", 0, 0, (0, 0), None), Moment(1, "board", 0, 0, (0, 0), None)]
    since_score, since_goal = 0, 0
    while len(moments) < seconds:
        last = moments[-1]
        kind = _kind(rng, rates, last, since_score, since_goal)
        side, third = int(rng.integers(2)), int(rng.integers(3))
        score, scorer = last.score, last.scorer
        if kind == "goal":
            score, scorer = _added(score, side), side
        elif kind == "board" and rng.random() < rates.correction:
            score = (int(rng.integers(POINTS)), int(rng.integers(POINTS)))
        since_score = 0 if kind in ("goal", "clock", "board") else since_score + 1
        since_goal = 0 if kind == "goal" else since_goal + 1
        moments.append(Moment(len(moments), kind, side, third, score, scorer))
    return DemoMatch(seed, drawn if venue is None else venue, tuple(moments))


def demo_matches(size: DemoSize | None = None) -> tuple[DemoMatch, ...]:
    """Return the matches that a demo data set is made of, the first eight at eight venues.

    Args:
        size: How many, how long and which; two of a minute by default.
    """
    chosen = size or DemoSize()
    if size is None:
        seeds = list(_DEFAULT_SEEDS)
    else:
        seeds = [chosen.seed * _SEEDS_APART + number for number in range(chosen.matches)]
    order = np.random.default_rng([chosen.seed, 8]).permutation(len(VENUES))
    return tuple(
        make_match(seed, chosen.seconds, venue=int(order[number % len(VENUES)]))
        for number, seed in enumerate(seeds)
    )


def _added(score: tuple[int, int], side: int) -> tuple[int, int]:
    red, blue = score
    return ((red + 1) % POINTS, blue) if side == 0 else (red, (blue + 1) % POINTS)


def _kind(rng: np.random.Generator, rates: Rates, last: Moment, since_score: int, since_goal: int) -> EventKind:
    drawn = rng.random()
    if since_goal >= rates.goal_within - 1:
        return "goal"
    if since_score >= rates.score_within - 1:
        return "clock"
    for kind, share in rates.shares.items():
        if drawn < share:
            return "play" if kind == "replay" and last.scorer is None else kind
        drawn -= share
    return "play"
