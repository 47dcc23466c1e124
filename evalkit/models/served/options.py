"""Comparing the options of a question by the log-probabilities a server gives for a reply's first token (pure)."""

from __future__ import annotations

__all__ = ["OptionChoice", "likeliest_option", "listed_tokens"]

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_LARGEST: Final = 2**53


@dataclass(frozen=True, slots=True)
class OptionChoice:
    """What the log-probabilities say.

    Args:
        option: The likeliest option; empty where none is among the tokens listed.
        logprobs: By option, of those that are listed.
        unknown: Options that are not listed: less likely than every listed one, by how much nobody knows.
    """

    option: str
    logprobs: Mapping[str, float]
    unknown: tuple[str, ...]


def likeliest_option(tokens: Sequence[Mapping[str, Any]], options: Sequence[str]) -> OptionChoice | None:
    """Choose among options by the first token of a reply.

    ``A`` and `` A`` are different tokens of one option; the likelier one counts. A token that is only the
    beginning of an option is none of it.

    Args:
        tokens: ``logprobs.content`` of a reply: per token its ``top_logprobs``.
        options: Option texts.

    Returns:
        The choice; ``None`` where the server listed nothing.
    """
    rows = listed_tokens(tokens)
    if rows is None:
        return None
    found: dict[str, float] = {}
    for token, value in rows:
        option = token.strip()
        if option in options:
            found[option] = max(found.get(option, -math.inf), value)
    best = max(found, key=lambda one: (found[one], -list(options).index(one)), default="")
    return OptionChoice(best, found, tuple(one for one in options if one not in found))


def listed_tokens(tokens: Sequence[Mapping[str, Any]]) -> list[tuple[str, float]] | None:
    """Return the tokens listed for the first place of a reply with their log-probabilities, without what is none.

    Args:
        tokens: ``logprobs.content`` of a reply.

    Returns:
        The rows; ``None`` where the server listed nothing.
    """
    listed = tokens[0].get("top_logprobs") if tokens else None
    if not isinstance(listed, list) or not listed:
        return None
    rows = [row for row in listed if isinstance(row, dict)]
    pairs = [(row.get("token"), _number(row.get("logprob"))) for row in rows]
    return [(token, value) for token, value in pairs if isinstance(token, str) and value is not None]


def _number(value: Any) -> float | None:
    """Return a log-probability; ``None`` for what is none, a whole number that no float holds among it."""
    if type(value) is int:
        return float(value) if abs(value) < _LARGEST else None
    return value if isinstance(value, float) and not math.isnan(value) else None
