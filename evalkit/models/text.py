"""The little a session needs from a tokenizer, so that tests and backbones can bring their own."""

from __future__ import annotations

__all__ = ["HuggingFaceText", "TextCodec", "single_token"]

from collections.abc import Sequence
from typing import Any, Protocol

from evalkit.errors import ModelError


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


def single_token(text: TextCodec, token: str) -> int:
    """Return the id of a special token.

    Raises:
        ModelError: The tokenizer does not know it as one token.
    """
    ids = text.encode(token)
    if len(ids) != 1:
        raise ModelError(f"the tokenizer does not know {token} as one token; is it a Qwen chat tokenizer?")
    return ids[0]
