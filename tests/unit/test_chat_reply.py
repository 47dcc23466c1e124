"""Replies as servers send them, read from their JSON, whole or in chunks."""

from __future__ import annotations

from typing import Any

import pytest

from evalkit.chat.reply import NotACompletionError, TokenUsage, completion_of_chunks, read_completion


def completion(message: Any, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "finish_reason": finish, "message": message}], **more}


@pytest.mark.parametrize(
    ("message", "finish", "text", "lack"),
    [
        ({"content": "A"}, "stop", "A", ""),
        ({"content": None}, "stop", "", "empty"),
        ({"content": "  "}, None, "  ", "empty"),
        ({"content": None, "refusal": "I cannot help with that."}, "stop", "", "refusal"),
        ({}, "content_filter", "", "content_filter"),
        ({"reasoning": "First, the scores"}, "length", "", "length"),
        ({"content": [{"type": "text", "text": "A"}]}, "stop", "A", ""),
        ({"content": [{"type": "text", "text": "A "}, "or ", {"text": "B"}]}, "stop", "A or B", ""),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "B?"}]}]}, "stop", "", "empty"),
        (
            {"content": [{"type": "reasoning", "text": "B?"}, {"type": "output_text", "text": "A"}]},
            "stop",
            "A",
            "",
        ),
        ({"content": [{"type": "text", "text": {"value": "A"}}]}, "stop", "A", ""),
        ({"content": 7}, "stop", "", "empty"),
    ],
)
def test_the_text_is_what_the_model_said_and_a_lack_is_named(
    message: dict[str, Any], finish: str | None, text: str, lack: str
) -> None:
    reply = read_completion(completion(message, finish))
    assert (reply.text, reply.lack) == (text, lack)


def test_what_was_no_plain_text_is_kept_raw_with_its_thinking_apart() -> None:
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "A"}]
    reply = read_completion(completion({"content": parts}))
    assert (reply.text, reply.reasoning) == ("A", "hm")
    assert reply.raw == '[{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "A"}]'
    assert read_completion(completion({"content": "A"})).raw == ""


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_stands_apart_from_the_text(field: str) -> None:
    assert read_completion(completion({"content": "A", field: "because"})).reasoning == "because"


@pytest.mark.parametrize(
    "body", [None, [], {}, {"choices": []}, {"choices": [{}]}, {"choices": [{"message": {}}]}]
)
def test_what_is_no_completion_is_refused(body: Any) -> None:
    with pytest.raises(NotACompletionError):
        read_completion(body)


def test_tokens_are_the_servers_own_and_nonsense_is_none() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 40,
        "prompt_tokens_details": {"cached_tokens": 64, "multimodal_tokens": {"image": 20, "video": 30}},
        "completion_tokens_details": {"reasoning_tokens": 32},
    }
    assert read_completion(completion({"content": "A"}, usage=usage)).usage == TokenUsage(100, 40, 64, 32, 50)
    for nonsense in (
        None,
        [],
        "100",
        {"prompt_tokens": "1", "completion_tokens": -2, "prompt_tokens_details": None},
    ):
        assert read_completion(completion({"content": "A"}, usage=nonsense)).usage == TokenUsage()


@pytest.mark.parametrize("ids", [None, "7", [7, None], [7, "8"], [True], [-1], [10**30], [7.0]])
def test_token_ids_are_whole_numbers_or_none_at_all(ids: Any) -> None:
    body = completion({"content": "A"}) | {"prompt_token_ids": ids}
    assert read_completion(body).extra == {}


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish, **more}]}


def test_chunks_make_the_completion_they_are_pieces_of() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 3}
    chunks = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "th"}),
        chunk({"reasoning_content": "ink"}),
        chunk({"content": "A "}, logprobs={"content": [{"token": "A", "logprob": -0.1}]}),
        chunk({"content": "goal"}, token_ids=[7, 8]),
        chunk({}, "stop"),
        {"choices": [], "usage": usage},
    ]
    reply = read_completion(completion_of_chunks(chunks))
    assert (reply.text, reply.reasoning, reply.finish, reply.served) == ("A goal", "think", "stop", "m")
    assert (reply.usage.prompt, reply.usage.completion) == (5, 3)
    assert reply.logprobs == ({"token": "A", "logprob": -0.1},)
    assert reply.extra == {"token_ids": [7, 8]}


def test_a_stream_that_ends_early_is_no_reply() -> None:
    with pytest.raises(NotACompletionError, match="middle"):
        completion_of_chunks([chunk({"content": "A go"})])


def test_a_streamed_reply_without_a_word_is_empty() -> None:
    chunks = [chunk({"role": "assistant", "content": ""}), chunk({}, "stop")]
    assert read_completion(completion_of_chunks(chunks)).lack == "empty"
