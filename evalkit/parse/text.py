r"""What every parser does to a reply before reading it, and the ways in which a reply marks its own answer.

* **Thinking.** Only what stands after the last ``</think>`` is read, whether or not ``<think>`` stands before it:
  many chat templates open the thinking in the prompt. ``</thinking>``, ``◁/think▷`` (Kimi-VL) and ``[/THINK]``
  (Magistral) are the same. Thinking that is opened and not closed leaves nothing to read.
* **Length** counts from there.
* **Markup.** Bold, code, ``$``, LaTeX's ``\(...\)``, ``\[...\]`` and ``\text{...}`` go; curly quotes and
  East Asian full-width forms become the plain ones (``答案：Ｂ。`` reads as ``答案:B.``).
* **Fields.** ``<answer>...</answer>`` in any case (unclosed at the end of the reply too), ``\boxed{...}``, GLM's
  ``<|begin_of_box|>...<|end_of_box|>`` and ``"answer": ...`` of a JSON object hold an answer, which is read by the
  same rules as a reply. Fields that hold different answers contradict each other.
* **Last line.** A last line that holds a value alone states it, unless another line holds another value alone or
  the line before breaks off at a word such as ``or`` and ``not``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from evalkit.parse.result import Parsed, Unparsed

__all__ = [
    "CLAUSE_LOOKBACK",
    "MAX_CHARACTERS",
    "AnswerField",
    "agree",
    "answer_fields",
    "hedged",
    "lines_alone",
    "read_fields",
    "spoken",
    "tidy",
    "trimmed",
    "without_markup",
]

MAX_CHARACTERS = 32_768
"""A longer reply is not read: no protocol here asks for more than a few words after the thinking."""

CLAUSE_LOOKBACK = 200
"""How many characters before a statement are searched for a negation or a hedge."""

_THOUGHT = (
    *((f"<{name}>", f"</{name}>") for name in ("think", "thinking", "THINK", "THINKING", "Think", "Thinking")),
    ("◁think▷", "◁/think▷"),
    ("[THINK]", "[/THINK]"),
)
"""What opens and closes thinking; searched as plain text, since a reply may be a megabyte of anything."""
_UNSEEN = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200b\u200e\u200f\u2060\ufeff"
_MARKUP = re.compile(
    r"[*`_]{1,3}|~~|\$|\\(?=[()\[\]])|\\(?:text|math)[a-z]{0,6}\s{0,2}(?=\{)|[\u200b\u200e\u200f\u2060\ufeff]"
)
_PLAIN_FORMS = str.maketrans(
    {
        **dict.fromkeys("“”„「」『』", '"'),
        **dict.fromkeys("‘’‚‹›", "'"),
        **dict(zip("【】〔〕。、", "[][].,", strict=True)),
        **{chr(ord(plain) + 0xFEE0): plain for plain in map(chr, range(0x21, 0x7F))},
    }
)
"""Curly quotes, and the full-width forms of ASCII (U+FF01 to U+FF5E) with their CJK relatives."""
_CLAUSE_END = re.compile(r"[.,;:!?\n]")
_HEDGE = re.compile(
    r"\b(?:not|never|neither|nor|doubt|unsure|unclear|unlikely|cannot|can't|don't|doesn't|didn't|isn't|wasn't"
    r"|won't|wouldn't|wrong|incorrect|if|whether|unless|maybe|perhaps|either)\b"
    r"|如果|假如|也许|可能|或许|不确定|不知道|是否|并非|不认为",
    re.IGNORECASE,
)
_DANGLING = re.compile(r"(?:\b(?:or|and|nor|not|neither|either)|[/&+,]|或|和)\s{0,4}$", re.IGNORECASE)
_LONGEST_FIELD = 400
_TAG_NAME = r"\s{0,2}(?:final[ -]?)?answer\s{0,2}"
_TAGGED = re.compile(
    rf"<{_TAG_NAME}>(.{{0,{_LONGEST_FIELD}}}?)(?:<\s{{0,2}}/{_TAG_NAME}>|\Z)"
    rf"|<\|beginofbox\|>(.{{0,{_LONGEST_FIELD}}}?)(?:<\|endofbox\|>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
"""The underscores of ``final_answer`` and ``begin_of_box`` are gone with the markup."""
_BOX = re.compile(r"\\f?box(?:ed)?\s{0,2}\{")
_BRACE = re.compile(r"[{}]")
_NAMED = re.compile(
    r"[\"'](?:final[ -]?)?(?:answer|choice|option)[\"']\s{0,4}:\s{0,4}"
    r"(?:\"((?:[^\"\\]|\\.){0,400})\"|'([^'\n]{0,400})'|\[([^\[\]]{0,400})\]|([A-Za-z0-9.+/-]{1,40}))",
    re.IGNORECASE,
)


def trimmed(text: str) -> str:
    """Return a text without white space and marks that nobody sees (a byte order mark, say) around it."""
    return text.strip(_UNSEEN)


def spoken(reply: str) -> str | Unparsed:
    """Return what a reply says after its thinking, without outer white space.

    Args:
        reply: A model's text as it stands.

    Returns:
        The text, which may be empty, or ``unfinished-thinking``.
    """
    end = max((at + len(close) for _, close in _THOUGHT if (at := reply.rfind(close)) >= 0), default=0)
    if any(reply.find(start, end) >= 0 for start, _ in _THOUGHT):
        return Unparsed("unfinished-thinking: the reply has no text after its thinking")
    return trimmed(reply[end:])


def without_markup(reply: str) -> str | Unparsed:
    """Return what a reply says, without markup and outer white space; its quotes and letters stay as they are.

    Args:
        reply: A model's text as it stands.

    Returns:
        The text (never empty), or why there is nothing to read: ``empty``, ``too-long``,
        ``unfinished-thinking``.
    """
    text = spoken(reply)
    if isinstance(text, Unparsed):
        return text
    if len(text) > MAX_CHARACTERS:
        return Unparsed(f"too-long: {len(text)} characters, more than {MAX_CHARACTERS}")
    return _MARKUP.sub("", text).strip() or Unparsed("empty: the reply has no text")


def tidy(reply: str) -> str | Unparsed:
    """Return what a reply says, without markup and outer white space and in plain forms of letters and quotes.

    Args:
        reply: A model's text as it stands.

    Returns:
        The tidy text (never empty), or the reasons of `without_markup`.
    """
    text = without_markup(reply)
    if isinstance(text, Unparsed):
        return text
    # Full-width markup is markup only once it is plain.
    return _MARKUP.sub("", text.translate(_PLAIN_FORMS)).strip() or Unparsed("empty: the reply has no text")


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


@dataclass(frozen=True, slots=True)
class AnswerField:
    """A place that a reply marks as its answer.

    Args:
        text: What stands there, without outer white space.
        rule: ``answer-tag`` for tags and boxes, ``answer-field`` for JSON.
    """

    text: str
    rule: str


def answer_fields(text: str) -> list[AnswerField]:
    """Return the places that a tidy reply marks as its answer; empty ones are left out.

    Args:
        text: Tidy reply.
    """
    tagged = [AnswerField((m[1] or m[2] or "").strip(), "answer-tag") for m in _TAGGED.finditer(text)]
    boxed = [AnswerField(inner.strip(), "answer-tag") for inner in _boxes(text)]
    named = [
        AnswerField((m[1] or m[2] or m[3] or m[4] or "").strip(), "answer-field") for m in _NAMED.finditer(text)
    ]
    return [found for found in (*tagged, *boxed, *named) if found.text]


def _boxes(text: str) -> Iterator[str]:
    r"""Yield the contents of every outermost ``\boxed{...}`` whose brace is closed, without inner braces."""
    end = 0
    for match in _BOX.finditer(text):
        if match.start() < end:
            continue
        depth = 1
        for brace in _BRACE.finditer(text, match.end(), match.end() + _LONGEST_FIELD):
            depth += 1 if brace[0] == "{" else -1
            if not depth:
                end = brace.end()
                yield _BRACE.sub(" ", text[match.end() : brace.start()])
                break


def read_fields(text: str, read: Callable[[str], Parsed | Unparsed]) -> Parsed | Unparsed | None:
    """Read the places that a reply marks as its answer.

    Args:
        text: Tidy reply.
        read: Reads the text of one field.

    Returns:
        The value that all readable fields hold, ``ambiguous`` where one holds several or two differ, ``None``
        where none can be read.
    """
    found = [(field, read(field.text)) for field in answer_fields(text)]
    for _, result in found:
        if isinstance(result, Unparsed) and result.reason.startswith("ambiguous"):
            return result
    values = [(result.value, field.rule) for field, result in found if isinstance(result, Parsed)]
    return agree({value for value, _ in values}, values[0][1] if values else "")


def lines_alone(text: str, value: re.Pattern[str]) -> set[str]:
    """Return what the lines hold that hold a value alone; nothing where the last line is none of them.

    Args:
        text: Tidy reply.
        value: Matches a whole line that holds a value alone, which is its first group.
    """
    before, newline, last = text.rpartition("\n")
    if not newline or not value.fullmatch(last.strip()) or _DANGLING.search(before[-40:]):
        return set()
    found = (value.fullmatch(line.strip()) for line in text.split("\n") if len(line) < _LONGEST_FIELD)
    return {match[1] for match in found if match}
