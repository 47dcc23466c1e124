"""Whatever a chat server sends in place of a number, a list or an object is read or refused: never a crash."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from vllm_server import RECORDED

from evalkit.chat.reply import ChatReply, NotACompletionError, completion_of_chunks, read_completion
from evalkit.models.served.options import likeliest_option
from evalkit.models.served.vllm import first_retokenised, likeliest_by_id

STREAMS = [one["events"][:-1] for one in RECORDED.values() if isinstance(one, dict) and "events" in one]
WHOLE = [
    one["body"]
    for one in RECORDED.values()
    if isinstance(one, dict) and one.get("status") == 200 and "body" in one
]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**40), 10**40),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(-1, 3), max_size=2),
    st.dictionaries(st.sampled_from(["content", "token_ids", "type"]), st.none(), max_size=2),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value of a JSON, of a long list to its first ones."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value[:8]) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def changed(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    """Return a JSON with another value at one place."""
    if not path:
        return odd
    value = copy.deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = odd
    return value


def use(reply: ChatReply) -> None:
    """Do with a reply what a session does."""
    likeliest_option(reply.logprobs, ("A", "B"))
    likeliest_by_id(reply.logprobs, ("A", "B"), (32, 33))
    first_retokenised(reply.extra.get("prompt_token_ids", ()), [(0, tuple(reply.extra.get("token_ids", ())))])
    assert isinstance(reply.text, str)
    assert reply.lack in ("", "refusal", "content_filter", "length", "empty")


@given(st.data())
def test_an_odd_value_anywhere_in_a_stream_is_read_or_refused(data: Any) -> None:
    events = data.draw(st.sampled_from(STREAMS))
    path = data.draw(st.sampled_from([one for one in places(events) if one]))
    try:
        use(read_completion(completion_of_chunks(changed(events, path, data.draw(ODD)))))
    except NotACompletionError:
        return


@given(st.data())
def test_an_odd_value_anywhere_in_a_reply_is_read_or_refused(data: Any) -> None:
    body = data.draw(st.sampled_from(WHOLE))
    path = data.draw(st.sampled_from(list(places(body))))
    try:
        use(read_completion(changed(body, path, data.draw(ODD))))
    except NotACompletionError:
        return
