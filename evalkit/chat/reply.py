"""What a chat server replied, read from a completion or put together from a stream's chunks; sends nothing."""

from __future__ import annotations

__all__ = ["ChatReply", "NotACompletionError", "TokenUsage", "completion_of_chunks", "read_completion"]

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_MOST_TOKENS: Final = 2**40
_TEXT_PARTS: Final = frozenset({"text", "output_text"})
_THOUGHT_PARTS: Final = frozenset({"thinking", "reasoning", "redacted_thinking", "reasoning_text"})
_REASONING_FIELDS: Final = ("reasoning_content", "reasoning")


class NotACompletionError(ValueError):
    """What came is no chat completion: it was cut, or something else answered."""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one reply as the server counted them; ``None`` where it does not say.

    Args:
        prompt: Tokens read.
        completion: Tokens written, those of hidden reasoning included.
        cached: Prompt tokens taken from the server's prefix cache.
        reasoning: Tokens of hidden reasoning.
        multimodal: Prompt tokens of images and video (vLLM).
    """

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    reasoning: int | None = None
    multimodal: int | None = None


@dataclass(frozen=True, slots=True)
class ChatReply:
    """One reply.

    Args:
        text: What was said, without reasoning; empty where nothing was.
        finish: Why it ended: ``stop``, ``length``, ``content_filter``, ...; empty where the server does not say.
        reasoning: Reasoning the server sent apart from the text.
        refusal: The model's own refusal, sent in place of a text.
        raw: ``content`` as it came (JSON), where it was no plain text.
        usage: Tokens.
        served: Model name in the reply.
        logprobs: Log-probabilities by token, as the server gives them; first token's first.
        extra: Further fields of the choice and the reply that were asked for (token ids).
        seconds: Wall time of the request that brought it, without earlier tries and waits.
        first_token: Seconds to the first piece of text; ``None`` where it was not streamed or nothing was said.
        first_thought: Seconds to the first piece of reasoning, likewise.
    """

    text: str
    finish: str = ""
    reasoning: str = ""
    refusal: str = ""
    raw: str = ""
    usage: TokenUsage = field(default_factory=TokenUsage)
    served: str = ""
    logprobs: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    first_token: float | None = None
    first_thought: float | None = None

    @property
    def lack(self) -> str:
        """Why there is no text: ``refusal``, ``content_filter``, ``length``, ``empty``; else empty."""
        if self.text.strip():
            return ""
        if self.refusal:
            return "refusal"
        return self.finish if self.finish in ("content_filter", "length") else "empty"


def read_completion(body: Any) -> ChatReply:
    """Read a completion's JSON.

    A message without ``content`` is a complete reply: a filter held the text back, or reasoning took the whole
    budget. ``content`` may be a list of parts; the text of those that are text is joined in order, thinking is
    left out of it.

    Raises:
        NotACompletionError: There is no message in it.
    """
    try:
        choice = body["choices"][0]
        message = choice["message"]
    except (KeyError, IndexError, TypeError) as error:
        raise NotACompletionError("no chat completion") from error
    if not isinstance(message, dict):
        raise NotACompletionError("no chat completion")
    finish = choice.get("finish_reason")
    if "content" not in message and not finish and not message.get("refusal") and not _reasoning(message):
        raise NotACompletionError("a message without content, and nothing says why")
    content = message.get("content")
    refusal = message.get("refusal")
    text, thoughts = _parts(content)
    probabilities = choice.get("logprobs")
    listed = probabilities.get("content") if isinstance(probabilities, dict) else None
    return ChatReply(
        text=text,
        finish=finish if isinstance(finish, str) else "",
        reasoning=_reasoning(message) or thoughts,
        refusal=refusal if isinstance(refusal, str) else "",
        raw="" if isinstance(content, str) or content is None else json.dumps(content, ensure_ascii=False),
        usage=_usage(body.get("usage")),
        served=str(body.get("model") or ""),
        logprobs=tuple(one for one in listed if isinstance(one, dict)) if isinstance(listed, list) else (),
        extra=_extra(body, choice),
    )


def _reasoning(message: Mapping[str, Any]) -> str:
    return next((message[name] for name in _REASONING_FIELDS if isinstance(message.get(name), str)), "")


def _extra(body: Mapping[str, Any], choice: Mapping[str, Any]) -> dict[str, Any]:
    found = {"prompt_token_ids": body.get("prompt_token_ids"), "token_ids": choice.get("token_ids")}
    return {name: value for name, value in found.items() if isinstance(value, list) and _are_tokens(value)}


def _are_tokens(values: Sequence[Any]) -> bool:
    return all(type(one) is int and 0 <= one < _MOST_TOKENS for one in values)


def _parts(content: Any) -> tuple[str, str]:
    """Return text and thinking of a message's content."""
    if not isinstance(content, list):
        return (content if isinstance(content, str) else ""), ""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and part.get("type", "text") in _TEXT_PARTS:
            texts.append(_text_of(part))
        elif isinstance(part, dict) and part.get("type") in _THOUGHT_PARTS:
            thoughts.append(_text_of(part))
    return "".join(texts), "".join(thoughts)


def _text_of(part: Mapping[str, Any]) -> str:
    """Return a part's text; some servers nest it (``{"thinking": [{"type": "text", "text": ...}]}``)."""
    for name in ("text", "thinking", "reasoning"):
        value = part.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, dict) and isinstance(value.get("value"), str):
            return str(value["value"])
        if isinstance(value, list):
            return _parts(value)[0]
    return ""


def _usage(usage: Any) -> TokenUsage:
    if not isinstance(usage, dict):
        return TokenUsage()
    read, written = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    media = read.get("multimodal_tokens") if isinstance(read, dict) else None
    counted = [_count(media, name) for name in media] if isinstance(media, dict) else []
    return TokenUsage(
        prompt=_count(usage, "prompt_tokens"),
        completion=_count(usage, "completion_tokens"),
        cached=_count(read, "cached_tokens"),
        reasoning=_count(written, "reasoning_tokens"),
        multimodal=sum(count or 0 for count in counted) if counted else None,
    )


def _count(usage: Any, name: str) -> int | None:
    """Return a number of tokens; ``None`` where the server gives none or something else."""
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if type(count) is int and 0 <= count < _MOST_TOKENS else None


def completion_of_chunks(chunks: Sequence[Any]) -> dict[str, Any]:
    """Put the chunks of a stream together into the JSON of the completion they are pieces of.

    Args:
        chunks: ``chat.completion.chunk`` objects, in order; the usage stands in one of them, mostly the last.

    Raises:
        NotACompletionError: The stream ended before a chunk said why the reply ended.
    """
    message: dict[str, Any] = {"role": "assistant", "content": None}
    whole: dict[str, Any] = {}
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": None}
    probabilities: list[Any] = []
    ids: list[Any] = []
    for chunk in chunks:
        if not isinstance(chunk, dict):
            raise NotACompletionError("a chunk that is no object")
        for name in ("model", "usage", "prompt_token_ids"):
            if chunk.get(name):
                whole[name] = chunk[name]
        choices = chunk.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(first, dict):
            continue
        _add_delta(message, first.get("delta"))
        choice["finish_reason"] = first.get("finish_reason") or choice["finish_reason"]
        said = first.get("logprobs")
        probabilities += (
            said["content"] if isinstance(said, dict) and isinstance(said.get("content"), list) else []
        )
        ids += first["token_ids"] if isinstance(first.get("token_ids"), list) else []
    if not choice["finish_reason"]:
        raise NotACompletionError("the stream ended in the middle of the reply")
    if probabilities:
        choice["logprobs"] = {"content": probabilities}
    if ids:
        choice["token_ids"] = ids
    return {**whole, "choices": [choice]}


def _add_delta(message: dict[str, Any], delta: Any) -> None:
    if not isinstance(delta, dict):
        return
    for name in ("content", "refusal", *_REASONING_FIELDS):
        piece = delta.get(name)
        before = message.get(name)
        if isinstance(piece, str):
            message[name] = [*before, piece] if isinstance(before, list) else (before or "") + piece
        elif isinstance(piece, list):
            message[name] = [*(before if isinstance(before, list) else [before] if before else []), *piece]
