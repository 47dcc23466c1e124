"""The little a session needs from a tokenizer, so that tests and backbones can bring their own."""

from __future__ import annotations

__all__ = ["HuggingFaceText", "TextCodec"]

from collections.abc import Sequence
from typing import Any, Protocol


class TextCodec(Protocol):
    """Text to token ids and back."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; special tokens in it count as such."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens left out."""


class HuggingFaceText:
    """A transformers tokenizer as a ``TextCodec``.

    Args:
        tokenizer: Any ``PreTrainedTokenizerBase``.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; special tokens in it count as such."""
        return [int(i) for i in self._tokenizer.encode(text, add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))
