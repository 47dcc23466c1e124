"""One entry point to the parsers by answer kind; what each kind accepts is written in the parser's own module."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from evalkit.parse.choice import parse_choice
from evalkit.parse.count import parse_count
from evalkit.parse.result import Parsed, Unparsed
from evalkit.parse.text import answer_fields, spoken, tidy, without_markup
from evalkit.parse.yes_no import parse_yes_no

__all__ = ["PARSER_VERSION", "letters_for", "parse", "parse_open"]

PARSER_VERSION = "3"
"""Goes into fingerprints; changes whenever any reply may be read differently."""

_MOST_OPTIONS = 5
_OPTION_MARK = re.compile(r"\(?[A-Z][.):]\s*")
_SHORTEST_ECHO = 2
"""Characters of the shortest option that can be told from a letter."""
_SHORT = 200
"""Characters of the longest reply whose reading is remembered, so that memory stays within some megabytes."""
_OUTER = string.whitespace + string.punctuation


def letters_for(choices: Sequence[str]) -> str:
    """Return the letters of a list of options; ``ABCDE`` where the options are not known.

    Args:
        choices: Option texts in letter order.
    """
    return string.ascii_uppercase[: len(choices) or _MOST_OPTIONS]


def parse_open(text: str) -> Parsed | Unparsed:
    """Return a free-text reply without thinking block, markup and outer white space (rule ``text``).

    Args:
        text: The model's reply as it stands.
    """
    said = without_markup(text)
    return said if isinstance(said, Unparsed) else Parsed(said, "text")


def parse(kind: str, text: str, choices: Sequence[str] = ()) -> Parsed | Unparsed:
    """Read a reply by the kind of its question.

    Where the options are known, a reply that is one option word for word is read as its letter before anything
    else (rule ``verbatim-option``), since an option's own text may name letters (``A. Gene activation by Vitamin
    D.``); and one that states no letter but is exactly one option's text is (rule ``option-text``; case, outer
    punctuation and letter marks aside). The same holds for what stands in an answer tag, a box or an answer field.

    Args:
        kind: ``choice``, ``count``, ``yes-no``, ``open``, or ``proactive`` (a poll answered with yes or no).
        text: The model's reply as it stands.
        choices: Option texts in letter order (``choice`` only).

    Raises:
        ValueError: The kind is not known.
    """
    if kind == "choice":
        return _parse_choice(text, choices)
    if kind == "count":
        return parse_count(text)
    if kind in ("yes-no", "proactive"):
        return parse_yes_no(text)
    if kind == "open":
        return parse_open(text)
    raise ValueError(f"no parser for answers of kind {kind!r}; known are choice, count, yes-no, open, proactive")


def _parse_choice(text: str, choices: Sequence[str]) -> Parsed | Unparsed:
    if len(text) <= _SHORT:
        return _parse_short_choice(text, tuple(choices))
    return _parse_any_choice(text, choices)


@lru_cache(maxsize=1 << 14)
def _parse_short_choice(text: str, choices: tuple[str, ...]) -> Parsed | Unparsed:
    """Read a reply once of the several times a score sheet asks for it, and of the many that are alike."""
    return _parse_any_choice(text, choices)


def _parse_any_choice(text: str, choices: Sequence[str]) -> Parsed | Unparsed:
    said = list(_said(text)) if choices else []
    echoed = _one(_verbatim_option(part, choices) for part in said)
    if echoed is not None:
        return echoed
    found = parse_choice(text, letters_for(choices))
    if isinstance(found, Unparsed) and found.reason.startswith("no-statement"):
        return _one(_option_text(part, choices) for part in said) or found
    return found


def _said(text: str) -> Iterator[str]:
    """Yield what a reply says, and what stands where it marks its answer."""
    whole, plain = spoken(text), tidy(text)
    if isinstance(whole, str) and isinstance(plain, str):
        yield whole
        yield from (field.text for field in answer_fields(plain))


def _one(found: Iterable[Parsed | None]) -> Parsed | None:
    """Return what was found if it is one thing only."""
    distinct = {parsed for parsed in found if parsed}
    return distinct.pop() if len(distinct) == 1 else None


def _verbatim_option(text: str, choices: Sequence[str]) -> Parsed | None:
    """Return the letter of the one option that the reply repeats; a lone letter is left to the letter rules."""
    reply = text.strip()
    if len(reply.strip(_OUTER)) < _SHORTEST_ECHO:
        return None
    same = [i for i, choice in enumerate(choices) if choice.strip() == reply]
    return Parsed(string.ascii_uppercase[same[0]], "verbatim-option") if len(same) == 1 else None


def _option_text(text: str, choices: Sequence[str]) -> Parsed | None:
    wanted = text.strip(_OUTER).casefold()
    same = [i for i, choice in enumerate(choices) if _bare(choice) == wanted]
    return Parsed(string.ascii_uppercase[same[0]], "option-text") if wanted and len(same) == 1 else None


def _bare(choice: str) -> str:
    return _OPTION_MARK.sub("", choice, count=1).strip(_OUTER).casefold() if choice else ""
