"""What is said over a made-up match: a few words each second that follow from it without any freedom."""

from __future__ import annotations

__all__ = ["WORDS", "Word", "line", "transcript"]

import itertools
from collections.abc import Iterator
from typing import Final, NamedTuple

from evalkit_tasks.demo.match import COLOURS, POINTS, THIRDS, VENUES, DemoMatch, Moment

SCORERS: Final = tuple(colour.capitalize() for colour in COLOURS)
"""A scorer is called by a word of its own, as the venue is: what is asked for later can be found by its word."""

_CALLS: Final = {
    "clock": "score",
    "board": "board",
    "goal": "goal",
    "replay": "last",
    "card": "here",
    "house": "here",
}

WORDS: Final = (
    *COLOURS,
    *SCORERS,
    *THIRDS,
    *VENUES,
    *("foul", "corner", "save"),
    *dict.fromkeys(_CALLS.values()),
    *(str(points) for points in range(POINTS)),
    *(f"-{points}" for points in range(POINTS)),
)
"""Every word that is ever said."""


class Word(NamedTuple):
    """One spoken word.

    Args:
        start: Media second at which it begins.
        end: Media second at which it ends.
        word: The word.
    """

    start: float
    end: float
    word: str


def line(match: DemoMatch, moment: Moment) -> tuple[str, ...]:
    """Return the words of a second.

    A team on the ball is ``red left``, an event ``foul blue right``, a goal ``goal Red 3 -2`` with the score after
    it, the clock ``score 3 -2``, the board ``board 3 -2``, a replay ``last Red`` (the last scorer), opening card
    and house ``here Eastgate`` (the venue).
    """
    kind = moment.kind
    points = (str(moment.score[0]), f"-{moment.score[1]}")
    if kind in ("card", "house"):
        return ("here", VENUES[match.venue])
    if kind in ("clock", "board"):
        return (_CALLS[kind], *points)
    if kind == "goal":
        return ("goal", SCORERS[moment.side], *points)
    if kind == "replay":
        assert moment.scorer is not None, "a replay comes after a goal"
        return ("last", SCORERS[moment.scorer])
    event = () if kind == "play" else (kind,)
    return (*event, COLOURS[moment.side], THIRDS[moment.third])


def transcript(match: DemoMatch) -> Iterator[Word]:
    """Yield what is said over a match: the words of a second fill it, so that the last one ends with the match."""
    for moment in match.moments:
        words = line(match, moment)
        edges = [round(moment.at + index / len(words), 2) for index in range(len(words) + 1)]
        for word, (start, end) in zip(words, itertools.pairwise(edges), strict=True):
            yield Word(start, end, word)
