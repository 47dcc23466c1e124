"""What a commentator says over a made-up match, word by word with times; leaves the match itself to `match`."""

from __future__ import annotations

__all__ = ["Word", "transcript"]

from typing import NamedTuple

import numpy as np

from evalkit_tasks.demo.match import DemoEvent, DemoMatch

_WORD_SECONDS = 0.30
_GAP_SECONDS = 0.04
_PAUSE_SECONDS = 0.20
_STEP = _WORD_SECONDS + _GAP_SECONDS


class Word(NamedTuple):
    """One spoken word.

    Args:
        start: Media second at which it begins.
        end: Media second at which it ends.
        word: The word with its punctuation.
    """

    start: float
    end: float
    word: str


_CALLS = {
    "kick-off": (
        "We are under way, {team} in {colour} kick off.",
        "Kick-off for {team}, the side in {colour}.",
    ),
    "pass": (
        "Neat pass by number {player} of {team}.",
        "{team} move it on, number {player} finds a team mate.",
    ),
    "shot": (
        "Number {player} of {team} shoots!",
        "A shot from {team}, number {player} lets fly!",
    ),
    "save": (
        "Saved! The {team} keeper gets there.",
        "What a save by the {team} keeper!",
    ),
    "corner": (
        "Corner for {team}, number {player} takes it.",
        "{team} win a corner, number {player} walks over.",
    ),
    "foul": (
        "Foul by number {player} of {team}, the referee stops it.",
        "The whistle goes, foul by {team} number {player}.",
    ),
    "goal": (
        "Goal! Number {player} scores for {team}! It is {home}-{away}!",
        "Goal for {team}! Number {player} makes it {home}-{away}!",
    ),
}

_FILLERS = (
    "The clock shows {clock} and it is {home}-{away}.",
    "{home_team} in {home_colour}, {away_team} in {away_colour}.",
    "Still {home}-{away} here.",
    "{clock} on the board.",
    "{home_team} {home}, {away_team} {away}, with {clock} gone.",
    "{away_team} drop back into their own half.",
    "Those {home_colour} shirts keep pressing.",
    "The {away_colour} side want the ball.",
    "The ball rolls across the grass and both sides keep moving.",
    "Look at the shape of {away_team} without the ball.",
    "{home_team} stay patient.",
    "Plenty of running in this one.",
    "Listen to that crowd.",
    "Lovely weather for it.",
)


def transcript(match: DemoMatch) -> tuple[Word, ...]:
    """Return what is said over a match.

    An event's call begins at the event or, where a sentence is being finished, less than a second after it;
    nothing is said before it can be seen. The time between is filled with talk about clock, score and play, so
    that speech runs at more than two words a second (the density that Inf-Streams-Eval asks of a scored window).

    Args:
        match: The match.

    Returns:
        The words in order; times are rounded to a hundredth of a second and do not overlap.
    """
    rng = np.random.default_rng([match.seed, match.seconds, 1])
    words: list[Word] = []
    now = 0.2
    for index, event in enumerate(match.events):
        words += _fill(match, now, event.at + 0.3, rng)
        now = max(float(event.at), words[-1].end + _GAP_SECONDS if words else 0.0)
        words += _spoken(_call(match, event, rng), now)
        now = words[-1].end + _PAUSE_SECONDS
        if index + 1 == len(match.events):
            words += _fill(match, now, match.seconds - 0.2, rng)
    return tuple(words)


def _call(match: DemoMatch, event: DemoEvent, rng: np.random.Generator) -> str:
    team = match.teams[event.side]
    home, away = match.score_at(event.at)
    options = _CALLS[event.kind]
    return options[int(rng.integers(len(options)))].format(
        team=team.name, colour=team.colour, player=event.player, home=home, away=away
    )


def _fill(match: DemoMatch, start: float, end: float, rng: np.random.Generator) -> list[Word]:
    """Fill ``[start, end)`` with sentences that fit into it, none of them twice."""
    words: list[Word] = []
    now = start
    for index in rng.permutation(len(_FILLERS)):
        sentence = _filler(match, _FILLERS[int(index)], now)
        if now + len(sentence.split()) * _STEP <= end:
            words += _spoken(sentence, now)
            now = words[-1].end + _PAUSE_SECONDS
    return words


def _filler(match: DemoMatch, template: str, second: float) -> str:
    home, away = match.score_at(second)
    home_team, away_team = match.teams
    return template.format(
        home=home,
        away=away,
        clock=match.clock_at(second),
        home_team=home_team.name,
        home_colour=home_team.colour,
        away_team=away_team.name,
        away_colour=away_team.colour,
    )


def _spoken(sentence: str, start: float) -> list[Word]:
    return [
        Word(round(start + index * _STEP, 2), round(start + index * _STEP + _WORD_SECONDS, 2), word)
        for index, word in enumerate(sentence.split())
    ]
