"""What a vLLM server takes beyond OpenAI's API: fields of requests, frames by name, options by token id (pure).

Written for vLLM 0.32; docs/vllm.md says what it was tried with.
"""

from __future__ import annotations

__all__ = [
    "first_retokenised",
    "likeliest_by_id",
    "opened_reply",
    "option_fields",
    "qwen_tokens",
    "stream_fields",
    "without_known_frames",
]

import re
from array import array
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Final

from evalkit.models.served.options import OptionChoice, listed_tokens
from evalkit.models.served.settings import ServedSettings
from evalkit.video import QWEN_FACTOR

Message = dict[str, Any]

_ID: Final = re.compile(r"token_id:([0-9]{1,9})")
"""How vLLM writes a token as its id."""
_ITEM: Final = array("q").itemsize
_MEDIA: Final = ("image_url", "video_url")


def stream_fields(settings: ServedSettings, fps: float, salt: str) -> dict[str, Any]:
    """Return the fields of every request about a stream.

    Left to itself vLLM takes 32 frames of a video, silently, and a frame rate of 1, which enters the positions of
    Qwen2.5-VL; both are said here, which a server takes that runs with ``--trust-request-mm-kwargs``.

    Args:
        settings: How frames are sent.
        fps: Frames per second of the stream.
        salt: Of the run: its prompts hit what it sent itself in the server's prefix cache, and nothing older.
    """
    fields: dict[str, Any] = {"return_token_ids": True, "cache_salt": salt}
    if settings.frames_as == "video":
        fields["media_io_kwargs"] = {"video": {"num_frames": -1, "fps": fps, "do_sample_frames": False}}
    return fields


def opened_reply(messages: Sequence[Message], prefix: str) -> tuple[list[Message], dict[str, Any]]:
    """Put text into the assistant's mouth, as a local session does.

    Args:
        messages: The chat so far.
        prefix: The beginning of the reply; empty for none.

    Returns:
        The chat, and the fields of a request that has it gone on with.
    """
    if not prefix:
        return list(messages), {}
    opening = {"role": "assistant", "content": prefix}
    return [*messages, opening], {"continue_final_message": True, "add_generation_prompt": False}


def option_fields(ids: Sequence[int]) -> dict[str, Any]:
    """Return the fields of a request that asks for the log-probabilities of so many tokens, and no others."""
    return {"logprobs": True, "logprob_token_ids": list(ids), "return_tokens_as_token_ids": True}


def likeliest_by_id(
    tokens: Sequence[Mapping[str, Any]], options: Sequence[str], ids: Sequence[int]
) -> OptionChoice | None:
    """Choose among options by the log-probabilities of their tokens; of equals the first.

    Args:
        tokens: ``logprobs.content`` of a reply whose tokens are written as ids.
        options: Option texts.
        ids: Their tokens.

    Returns:
        The choice; ``None`` where not every option has its log-probability.
    """
    numbered = [(_ID.fullmatch(token), value) for token, value in listed_tokens(tokens) or ()]
    found = {int(token[1]): value for token, value in numbered if token}
    if not all(token in found for token in ids):
        return None
    values = {option: found[token] for option, token in zip(options, ids, strict=True)}
    return OptionChoice(max(values, key=values.__getitem__), values, ())


def without_known_frames(messages: Sequence[Message], known: Set[str]) -> tuple[list[Message], set[str]]:
    """Leave out the bytes of frames that the server has seen, and return the names of all that are in the chat.

    Args:
        messages: A chat whose frames have names.
        known: Names of frames that the server has.
    """
    names: set[str] = set()

    def slimmer(part: Any) -> Any:
        name = part.get("uuid") if isinstance(part, dict) else None
        if name is None:
            return part
        names.add(name)
        return {**part, **dict.fromkeys(part.keys() & set(_MEDIA))} if name in known else part

    slim = [
        {**message, "content": [slimmer(part) for part in message["content"]]}
        if isinstance(message["content"], list)
        else message
        for message in messages
    ]
    return slim, names


def qwen_tokens(shape: tuple[int, int, int], settings: ServedSettings) -> int:
    """Return the tokens that Qwen2-VL's processor makes of frames whose sides are multiples of its factor.

    Args:
        shape: ``(T, H, W)``; two frames of a video are one step in time, the last of an odd number is shown twice.
        settings: Whether they go as a video.
    """
    frames, height, width = shape
    steps = -(-frames // 2) if settings.frames_as == "video" else frames
    return steps * (height // QWEN_FACTOR) * (width // QWEN_FACTOR)


def first_retokenised(prompt: Sequence[int], replies: Iterable[tuple[int, Sequence[int]]]) -> int | None:
    """Return the second of the first reply whose tokens do not stand in a prompt as they were said.

    A chat server gets a reply back as text, and its tokenizer may cut the text otherwise than the model did.

    Args:
        prompt: Token ids of the prompt that held the replies.
        replies: Second and token ids of each, in their order, without what ended them.
    """
    text, at = array("q", prompt).tobytes(), 0
    for second, ids in replies:
        said = array("q", ids).tobytes()
        found = text.find(said, at)
        while found > 0 and found % _ITEM:  # amid a number
            found = text.find(said, found + 1)
        if found < 0:
            return second
        at = found + len(said)
    return None
