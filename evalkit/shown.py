"""The one way out for text that is shown: on a terminal, in report.md, in captions."""

from __future__ import annotations

__all__ = ["shown", "shown_in_json", "shown_on_one_line", "videos_of"]

import re
from typing import Final

# Control characters but newline and tab, lone surrogates, line and paragraph separators, and format characters
# that cannot be seen or turn the text about them round; the joiners stay, which scripts and emoji need.
_UNSHOWN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0001\U000e0020-\U000e007f]"
)


LONGEST_WORD: Final = 500
"""Characters of a word that are shown on one line; longer than the paths of most systems in use."""


def shown(text: str) -> str:
    r"""Return text that cannot steer a terminal: ``\x1b`` stands where the escape character stood.

    Names, replies and error texts come from files and servers of other people.

    Args:
        text: Any text; newlines and tabs stay.
    """
    return _UNSHOWN.sub(_escaped, text)


def shown_on_one_line(text: str) -> str:
    """Return the text with every run of white space folded to a blank, and the rest as `shown` has it.

    Of a word longer than any that a person reads, such as a path of thousands of letters, both ends are shown.
    """
    return shown(" ".join(map(_shortened, text.split())))


def _shortened(word: str) -> str:
    left_out = len(word) - LONGEST_WORD
    if left_out <= 0:
        return word
    half = LONGEST_WORD // 2
    return f"{word[:half]}[{left_out} characters more]{word[-half:]}"


def shown_in_json(text: str) -> str:
    """Return JSON in which every such character is an escape of JSON, so that it reads as the same value."""
    return _UNSHOWN.sub(lambda match: "".join(f"\\u{unit:04x}" for unit in _utf16(match[0])), text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _utf16(character: str) -> tuple[int, ...]:
    code = ord(character)
    if code < 0x10000:
        return (code,)
    return 0xD800 + ((code - 0x10000) >> 10), 0xDC00 + ((code - 0x10000) & 0x3FF)


def videos_of(count: int) -> str:
    """Return ``1 video``, ``2 videos``."""
    return f"{count} video{'' if count == 1 else 's'}"
