"""What every parser does to a reply before reading it: length limit, thinking blocks, markup, quotes."""

from __future__ import annotations

import re

from evalkit.parse.result import Parsed, Unparsed

__all__ = ["CLAUSE_LOOKBACK", "MAX_CHARACTERS", "agree", "hedged", "tidy"]

MAX_CHARACTERS = 32_768
"""A longer reply is not read: no protocol here asks for more than a few words."""

CLAUSE_LOOKBACK = 200
"""How many characters before a statement are searched for a negation or a hedge."""

_MARKUP = re.compile(r"[*`_]{1,3}|~~|\$|\\(?:text|mathrm|textbf|mathbf)(?=\{)")
_QUOTES = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "：": ":", "．": ".", "（": "(", "）": ")"})
_CLAUSE_END = re.compile(r"[.,;:!?\n]")
_HEDGE = re.compile(
    r"\b(?:not|never|neither|nor|doubt|unsure|unclear|unlikely|cannot|can't|don't|doesn't|didn't|isn't|wasn't"
    r"|won't|wouldn't|wrong|incorrect|if|whether|unless|maybe|perhaps|either)\b",
    re.IGNORECASE,
)


def tidy(reply: str) -> str | Unparsed:
    """Return the reply without a finished thinking block, markup and outer white space.

    Args:
        reply: A model's text as it stands.

    Returns:
        The tidy text (never empty), or why there is nothing to read: ``empty``, ``too-long`` or
        ``unfinished-thinking``.
    """
    text = reply.strip()
    if len(text) > MAX_CHARACTERS:
        return Unparsed(f"too-long: {len(text)} characters, more than {MAX_CHARACTERS}")
    if text.startswith("<think>"):
        close = text.rfind("</think>")
        if close < 0:
            return Unparsed("unfinished-thinking: the reply has no text after its thinking")
        text = text[close + len("</think>") :]
    text = _MARKUP.sub("", text.translate(_QUOTES)).strip()
    return text or Unparsed("empty: the reply has no text")


def hedged(text: str, start: int) -> bool:
    """Say whether the clause that leads up to ``start`` denies or questions what follows.

    Args:
        text: Tidy reply.
        start: Where the statement begins.
    """
    lead = text[max(0, start - CLAUSE_LOOKBACK) : start]
    clause = _CLAUSE_END.split(lead)[-1]
    return _HEDGE.search(clause) is not None


def agree(values: set[str], rule: str) -> Parsed | Unparsed | None:
    """Turn what one rule found into a result: one value is parsed, several contradict each other.

    Args:
        values: Distinct values the rule found.
        rule: Name of the rule.
    """
    if not values:
        return None
    if len(values) > 1:
        return Unparsed(f"ambiguous: the reply states {', '.join(sorted(values))}")
    return Parsed(next(iter(values)), rule)
