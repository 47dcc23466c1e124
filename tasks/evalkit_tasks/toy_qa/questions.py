"""What can be asked about a made-up match, and what is said over it, without any benchmark's layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from evalkit_tasks.demo import COLOURS, POINTS, THIRDS, VENUES, DemoMatch, Moment, line

__all__ = ["ASKED", "ToyQuestion", "ask", "multiple_choice", "spoken_lines", "whole_match_questions"]

_LINE_SECONDS: Final = 2
_SPARE = ("none of these", "it cannot be seen")


@dataclass(frozen=True, slots=True)
class ToyQuestion:
    """A multiple-choice question.

    Args:
        text: The question.
        options: Options without letters.
        gold: Index of the right one.
    """

    text: str
    options: tuple[str, ...]
    gold: int


def multiple_choice(text: str, gold: str, others: Sequence[str], place: int, *, fill: bool = True) -> ToyQuestion:
    """Make a question of a gold answer and up to three others.

    Args:
        text: The question.
        gold: The right option.
        others: Wrong options, the gold one among them or not; the first three are taken.
        place: Where the gold one stands, counted round the options; whoever asks goes on by one each time, so that
            no letter is right more often than another.
        fill: Whether to add ``none of these`` and the like until there are four.
    """
    given = [*others, *_SPARE] if fill else list(others)
    options = [option for option in dict.fromkeys(given) if option != gold][:3]
    at = place % (len(options) + 1)
    return ToyQuestion(text, (*options[:at], gold, *options[at:]), at)


def _score(pair: tuple[int, int]) -> str:
    return f"{pair[0]}-{pair[1]}"


def _around(pair: tuple[int, int]) -> list[str]:
    """Return three scores near one, which differ from it in one number or in both."""
    red, blue = pair
    near = ((red + 1) % POINTS, blue), (red, (blue + 1) % POINTS), ((red + 1) % POINTS, (blue + 1) % POINTS)
    return [_score(other) for other in near]


def _shown(match: DemoMatch, moment: Moment, place: int) -> ToyQuestion:
    gold = " ".join(line(match, moment))
    others = [f"{COLOURS[moment.side]} {third}" for third in THIRDS] if moment.kind == "play" else []
    others += [f"{COLOURS[1 - moment.side]} {THIRDS[moment.third]}", "foul red left", "corner blue right"]
    return multiple_choice("What is shown right now?", gold, others, place)


def _score_now(match: DemoMatch, moment: Moment, place: int) -> ToyQuestion:
    return multiple_choice("What is the score now?", _score(moment.score), _around(moment.score), place)


def _venue(match: DemoMatch, moment: Moment, place: int) -> ToyQuestion:
    at = match.venue
    others = [VENUES[(at + step) % len(VENUES)] for step in (1, 3, 6)]
    return multiple_choice("Which venue did the opening card show?", VENUES[at], others, place)


def _scorer(match: DemoMatch, moment: Moment, place: int) -> ToyQuestion:
    gold = "nobody yet" if moment.scorer is None else COLOURS[moment.scorer]
    return multiple_choice("Which team scored last?", gold, [*COLOURS, "nobody yet"], place, fill=False)


def _goals(match: DemoMatch, moment: Moment, place: int) -> ToyQuestion:
    count = match.count("goal", moment.at)
    others = [str(count + step) for step in (1, 2, 3)] if count < 2 else [str(count + s) for s in (-1, 1, 2)]
    return multiple_choice("How many goals have there been so far?", str(count), others, place)


def _before(match: DemoMatch, moment: Moment, place: int) -> ToyQuestion:
    before = match.moments[max(moment.at - 10, 0)]
    gold = " ".join(line(match, before))
    others = [" ".join(line(match, match.moments[max(moment.at - back, 0)])) for back in (3, 6, 14, 17, 20)]
    return multiple_choice("What was shown ten seconds ago?", gold, others, place)


def _next(match: DemoMatch, moment: Moment, place: int) -> ToyQuestion:
    red, blue = moment.score
    return multiple_choice(
        "Red scores next. What will the score be?",
        _score(((red + 1) % POINTS, blue)),
        [_score(moment.score), _score((red, (blue + 1) % POINTS)), _score(((red + 2) % POINTS, blue))],
        place,
    )


ASKED: Final[Mapping[str, Callable[[DemoMatch, Moment, int], ToyQuestion]]] = MappingProxyType(
    {
        "shown": _shown,
        "score": _score_now,
        "venue": _venue,
        "scorer": _scorer,
        "goals": _goals,
        "before": _before,
        "next": _next,
    }
)
"""Questions about a match by what they need: the picture, the running score, the opening, a count, the past."""


def ask(name: str, match: DemoMatch, second: int, place: int) -> ToyQuestion:
    """Return a question about a match at the end of one of its seconds.

    Args:
        name: Key of ``ASKED``.
        match: The match.
        second: The last second that has been shown.
        place: Where the gold option stands; see `multiple_choice`.
    """
    return ASKED[name](match, match.moments[min(second, match.seconds - 1)], place)


def whole_match_questions(match: DemoMatch) -> tuple[ToyQuestion, ToyQuestion, ToyQuestion]:
    """Return three questions about a whole match: its opening, its last score, how many goals."""
    names = ("venue", "score", "goals")
    end = match.seconds - 1
    return (
        ask(names[0], match, end, match.seed),
        ask(names[1], match, end, match.seed + 1),
        ask(names[2], match, end, match.seed + 2),
    )


def spoken_lines(match: DemoMatch) -> Iterator[tuple[float, float, str]]:
    """Yield what is said over a match, two seconds a line: start, end (seconds) and text."""
    for start in range(0, match.seconds, _LINE_SECONDS):
        moments = match.moments[start : start + _LINE_SECONDS]
        text = ", ".join(" ".join(line(match, moment)) for moment in moments)
        yield start + 0.05, start + len(moments) - 0.05, text
