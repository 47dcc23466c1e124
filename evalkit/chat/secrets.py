"""Takes known secrets out of text that came back from a server, before anything else happens to it."""

from __future__ import annotations

__all__ = ["SHORTEST_PIECE", "Secrets"]

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

SHORTEST_PIECE: Final = 8
"""Pieces of a secret of so many characters and more are taken out."""

_SHORTEST_KEY: Final = 4
_MASK: Final = "***"
_END: Final = 3
"""So many characters of a secret beside a server's own asterisks are taken out with them."""
_STARS: Final = re.compile(r"[*•]{3}|\.{3}|…")
_STARRED: Final = re.compile(r"(?<![\w-])(?P<head>[\w-]*)(?:[*•]{3,}|\.{3,}|…)+(?P<tail>[\w-]*)")
_PUBLIC: Final = frozenset({"EMPTY", "none", "None", "null"})
"""Keys that servers without keys document; a text may well hold them."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets one client knows.

    A secret of eight and more characters is found whole and in pieces of eight and more; one of four to seven
    only as a word of its own, since it may be part of any word; a shorter one, such as the ``x`` that a server
    without keys is given, is no secret.

    Args:
        values: The secrets.
    """

    values: tuple[str, ...]
    _pieces: frozenset[str] = field(init=False, repr=False)
    _words: re.Pattern[str] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        long = [value for value in self.values if len(value) >= SHORTEST_PIECE]
        short = {v for v in self.values if _SHORTEST_KEY <= len(v) < SHORTEST_PIECE} - _PUBLIC
        pieces = {v[at : at + SHORTEST_PIECE] for v in long for at in range(len(v) - SHORTEST_PIECE + 1)}
        object.__setattr__(self, "_pieces", frozenset(pieces))
        word = "|".join(map(re.escape, sorted(short)))
        object.__setattr__(self, "_words", re.compile(rf"(?<!\w)(?:{word})(?!\w)") if short else None)

    @classmethod
    def of(cls, api_key: str | None, base_url: str | None) -> Secrets:
        """Return what must not be told of a server: its key, and user and password in its address.

        Args:
            api_key: The key.
            base_url: The address.
        """
        found = [api_key or ""]
        target = urlsplit(base_url or "")
        if target.password:
            user, password = unquote(target.username or ""), unquote(target.password)
            found += [password, target.password, base64.b64encode(f"{user}:{password}".encode()).decode()]
        return cls(tuple(dict.fromkeys(filter(None, found))))

    def clean(self, text: str) -> str:
        """Return the text with every known secret, whole or in pieces, replaced by ``***``.

        Lone surrogates, which half an escape in JSON leaves and no file can hold, become ``?``.
        """
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode()
        if any(piece in text for piece in self._pieces):
            text = _masked(text, self._spans(text))
        if _STARS.search(text):
            text = _STARRED.sub(self._without_ends, text)
        return self._words.sub(_MASK, text) if self._words else text

    def _without_ends(self, found: re.Match[str]) -> str:
        """Return the mask where a server's own masking left the first or last characters of a secret."""
        head, tail = found["head"], found["tail"]
        known = [value for value in self.values if len(value) >= SHORTEST_PIECE]
        told = (len(head) >= _END and any(value.startswith(head) for value in known)) or (
            len(tail) >= _END and any(value.endswith(tail) for value in known)
        )
        return _MASK if told else found[0]

    def clean_json(self, value: Any) -> Any:
        """Return a JSON value with every text in it cleaned, names of fields too."""
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, list):
            return [self.clean_json(item) for item in value]
        if isinstance(value, dict):
            return {self.clean(str(name)): self.clean_json(item) for name, item in value.items()}
        return value

    def _spans(self, text: str) -> Iterable[tuple[int, int]]:
        for at in range(len(text) - SHORTEST_PIECE + 1):
            if text[at : at + SHORTEST_PIECE] in self._pieces:
                yield at, at + SHORTEST_PIECE


def _masked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Replace each run of overlapping or touching spans, given in order, by one mask."""
    parts: list[str] = []
    done = 0
    open_span: tuple[int, int] | None = None
    for first, end in spans:
        if open_span is not None and first <= open_span[1]:
            open_span = (open_span[0], end)
            continue
        if open_span is not None:
            parts += [text[done : open_span[0]], _MASK]
            done = open_span[1]
        open_span = (first, end)
    if open_span is not None:
        parts += [text[done : open_span[0]], _MASK]
        done = open_span[1]
    return "".join([*parts, text[done:]])
