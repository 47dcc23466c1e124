"""A made-up match, a pure function of a seed: events at known seconds; leaves words and pixels to others."""

from __future__ import annotations

__all__ = ["EVENT_KINDS", "DemoEvent", "DemoMatch", "EventKind", "Team", "demo_matches", "make_match"]

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from evalkit.errors import UsageError

EventKind = Literal["kick-off", "pass", "shot", "save", "corner", "foul", "goal"]
EVENT_KINDS: tuple[EventKind, ...] = get_args(EventKind)

DEFAULT_SECONDS = 60
DEFAULT_SEEDS = (7, 11)
PLAYERS_PER_TEAM = 5
_EVENT_GAPS = (5, 6, 7)


@dataclass(frozen=True, slots=True)
class Team:
    """One side of a match.

    Args:
        name: Name on the score board.
        colour: Word for its shirts.
        rgb: Its shirts, 0-255.
    """

    name: str
    colour: str
    rgb: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class DemoEvent:
    """Something that happens at a known second.

    Args:
        at: Media second from which it is on screen.
        kind: What happens.
        side: Side that does it: 0 home, 1 away.
        player: Shirt number, 1 to 5.
    """

    at: int
    kind: EventKind
    side: int
    player: int


@dataclass(frozen=True, slots=True)
class DemoMatch:
    """All there is to know about a made-up match; transcript, video and questions are derived from it.

    Args:
        seed: What it was made from.
        video: File name of its video.
        seconds: Length.
        teams: Home and away.
        clock_start: What the clock on the score board shows at media second 0, in seconds of play.
        events: In order of ``at``, which are distinct.
    """

    seed: int
    video: str
    seconds: int
    teams: tuple[Team, Team]
    clock_start: int
    events: tuple[DemoEvent, ...]

    @property
    def title(self) -> str:
        """Return the match's title, such as ``Harbour vs Northfield``."""
        return f"{self.teams[0].name} vs {self.teams[1].name}"

    def score_at(self, second: float) -> tuple[int, int]:
        """Return the goals (home, away) that the score board shows at a media second."""
        goals = [event.side for event in self.events if event.kind == "goal" and event.at <= second]
        return goals.count(0), goals.count(1)

    def clock_at(self, second: float) -> str:
        """Return the clock (``mm:ss``) that the score board shows at a media second."""
        minutes, seconds = divmod(self.clock_start + int(second), 60)
        return f"{minutes:02d}:{seconds:02d}"

    def count(self, kind: EventKind, until: float) -> int:
        """Return how many events of a kind have begun by a media second."""
        return sum(event.kind == kind and event.at <= until for event in self.events)

    def latest(self, second: float) -> DemoEvent | None:
        """Return the last event that has begun by a media second, ``None`` before the first."""
        return next((event for event in reversed(self.events) if event.at <= second), None)


_TEAMS = (
    Team("Harbour", "red", (214, 46, 46)),
    Team("Northfield", "blue", (44, 84, 214)),
    Team("Millbrook", "yellow", (236, 196, 40)),
    Team("Eastgate", "purple", (142, 60, 190)),
    Team("Lakeside", "orange", (240, 124, 32)),
    Team("Hilltown", "black", (24, 24, 28)),
)


def make_match(seed: int, seconds: int = DEFAULT_SECONDS) -> DemoMatch:
    """Make the match of a seed.

    It starts with a kick-off at second 1; then an event follows every 5 to 7 s. Every third event or so is a
    goal, and a match of at least 30 s has a goal.

    Args:
        seed: Any whole number, 0 or more; equal seeds give equal matches.
        seconds: Length, 20 or more.

    Raises:
        UsageError: The match would be too short to hold events.
    """
    if seconds < 20:
        raise UsageError(f"a demo match lasts at least 20 s, not {seconds}")
    rng = np.random.default_rng([seed, seconds])
    home, away = (_TEAMS[int(index)] for index in rng.choice(len(_TEAMS), size=2, replace=False))
    events = [DemoEvent(1, "kick-off", int(rng.integers(2)), 5)]
    since_goal = 0
    at = 1 + int(rng.choice(_EVENT_GAPS))
    while at <= seconds - 4:
        kind = _next_kind(rng, events[-1], since_goal)
        side = _next_side(rng, events[-1], kind)
        events.append(DemoEvent(at, kind, side, _next_player(rng, events[-1], kind)))
        since_goal = 0 if kind == "goal" else since_goal + 1
        at += int(rng.choice(_EVENT_GAPS))
    return DemoMatch(
        seed=seed,
        video=f"demo_match_{seed:02d}.mp4",
        seconds=seconds,
        teams=(home, away),
        clock_start=60 * int(rng.integers(10, 40)),
        events=tuple(events),
    )


def demo_matches() -> tuple[DemoMatch, ...]:
    """Return the matches that the demo data sets are made of."""
    return tuple(make_match(seed) for seed in DEFAULT_SEEDS)


def _next_kind(rng: np.random.Generator, before: DemoEvent, since_goal: int) -> EventKind:
    if before.kind == "shot":
        return "goal" if since_goal >= 2 else "save"
    if before.kind == "save":
        return "corner"
    if since_goal >= 3:
        return "goal"
    options: tuple[EventKind, ...] = (
        ("shot", "foul", "shot") if before.kind == "pass" else ("pass", "shot", "foul")
    )
    return options[int(rng.integers(len(options)))]


def _next_side(rng: np.random.Generator, before: DemoEvent, kind: EventKind) -> int:
    if before.kind == "shot":
        return before.side if kind == "goal" else 1 - before.side
    if before.kind == "save":
        return 1 - before.side
    return int(rng.integers(2))


def _next_player(rng: np.random.Generator, before: DemoEvent, kind: EventKind) -> int:
    if kind == "save":
        return 1
    if kind == "goal" and before.kind == "shot":
        return before.player
    return int(rng.integers(2, PLAYERS_PER_TEAM + 1))
