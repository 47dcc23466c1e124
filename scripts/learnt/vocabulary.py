"""The tokenizer of the checkpoint `learnt`: byte-level BPE in which every word of the demo is one token."""

from __future__ import annotations

__all__ = ["END_OF_LINE", "SPECIAL", "make_tokenizer"]

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

END_OF_LINE = " ..."
"""Last token of every answer: a retired answer loses its last token, as in StreamingVLM's released code."""

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_LAYOUT = (
    *("system\n", "user\n", "assistant\n", "previous", " text\n", "Time=", ".0-", ".0s"),
    *("You", " are", " a", " helpful", " assistant"),
)
_SPLIT = r"Time=|\.0-|\.0s|\d{1,2}| -?\d| \.\.\.| ?[A-Za-z]+\n?|\s|."


def make_tokenizer(words: Iterable[str], phrases: Iterable[str] = ()) -> Tokenizer:
    """Return a tokenizer.

    Args:
        words: Words that are said, each one token with the space before it.
        phrases: Further pieces that shall be one token each, spaces as they stand in the text.
    """
    byte_of = dict(zip(range(256), sorted(pre_tokenizers.ByteLevel.alphabet()), strict=True))
    pieces = [*(f" {word}" for word in words), END_OF_LINE, *_LAYOUT, *phrases]
    pieces += [f"{tens}{ones}" for tens in range(10) for ones in range(10)]
    # A chain that begins with a space can only be entered at its beginning, so these go first and never interfere.
    pieces = sorted(dict.fromkeys(pieces), key=lambda piece: not piece.startswith(" "))
    splitter = pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    vocabulary = {character: index for index, character in enumerate(byte_of.values())}
    merges: dict[tuple[str, str], None] = {}
    for piece in pieces:
        [(letters, _)] = byte_level.pre_tokenize_str(piece)
        for end in range(1, len(letters)):
            merges.setdefault((letters[:end], letters[end]))
            vocabulary.setdefault(letters[: end + 1], len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([splitter, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer
