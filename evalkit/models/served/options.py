"""Comparing the options of a question by the log-probabilities a server gives for a reply's first token (pure)."""

from __future__ import annotations

__all__ = ["OptionChoice", "likeliest_option"]

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


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
    listed = tokens[0].get("top_logprobs") if tokens else None
    if not isinstance(listed, list) or not listed:
        return None
    found: dict[str, float] = {}
    for row in listed:
        token, value = (row.get("token"), row.get("logprob")) if isinstance(row, dict) else (None, None)
        if not isinstance(token, str) or not isinstance(value, int | float) or math.isnan(value):
            continue
        option = token.strip()
        if option in options:
            found[option] = max(found.get(option, -math.inf), float(value))
    best = max(found, key=lambda one: (found[one], -list(options).index(one)), default="")
    return OptionChoice(best, found, tuple(one for one in options if one not in found))
