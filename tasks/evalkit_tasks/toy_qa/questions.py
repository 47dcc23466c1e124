"""What can be asked about a made-up match, and what is said over it, without any benchmark's layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evalkit_tasks.demo import DemoMatch, transcript

__all__ = ["ToyQuestion", "multiple_choice", "spoken_lines", "whole_match_questions"]

_SPARE = ("none of these", "it cannot be seen")


@dataclass(frozen=True, slots=True)
class ToyQuestion:
    """A multiple-choice question.

    Args:
        text: The question.
        options: Options without letters, in alphabetical order.
        gold: Index of the right one.
    """

    text: str
    options: tuple[str, ...]
    gold: int


def multiple_choice(text: str, gold: str, others: Sequence[str], *, fill: bool = True) -> ToyQuestion:
    """Make a question of a gold answer and up to three others.

    Args:
        text: The question.
        gold: The right option.
        others: Wrong options, the gold one among them or not; the first three are taken.
        fill: Whether to add ``none of these`` and the like until there are four.
    """
    given = [*others, *_SPARE] if fill else list(others)
    wrong = [option for option in dict.fromkeys(given) if option != gold][:3]
    options = tuple(sorted([gold, *wrong]))
    return ToyQuestion(text, options, options.index(gold))


def whole_match_questions(match: DemoMatch) -> tuple[ToyQuestion, ToyQuestion, ToyQuestion]:
    """Return three questions about a whole match: order of events, who did what, how many."""
    first, second, last = match.events[0], match.events[1], match.events[-1]
    goals = match.count("goal", match.seconds)
    kinds = sorted({event.kind for event in match.events})
    teams = [team.name for team in match.teams]
    return (
        multiple_choice(f"What happens first after the {first.kind}?", second.kind, [*kinds, "red card"]),
        multiple_choice("Which team is the last event of?", match.teams[last.side].name, [*teams, "Rovers"]),
        multiple_choice("How many goals are scored?", str(goals), [str(goals + more) for more in (1, 2, 3)]),
    )


def spoken_lines(match: DemoMatch) -> Iterator[tuple[float, float, str]]:
    """Yield what is said over a match, sentence by sentence: start, end (seconds) and text."""
    words = []
    for word in transcript(match):
        words.append(word)
        if word.word[-1] in ".!?":
            yield words[0].start, words[-1].end, " ".join(said.word for said in words)
            words = []
    if words:
        yield words[0].start, words[-1].end, " ".join(said.word for said in words)
