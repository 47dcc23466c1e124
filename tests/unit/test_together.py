"""Streams that advance together: who is served when, what fails alone, and what is unwound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from evalkit.models.together import LATER, Together


def recording(batches: list[list[Any]], answer: Callable[[Any], Any] = lambda request: request) -> Together:
    def serve(requests: Sequence[Any]) -> list[Any]:
        batches.append(list(requests))
        return [answer(request) for request in requests]

    return Together(serve)


def test_what_all_streams_ask_at_once_is_one_batch() -> None:
    batches: list[list[Any]] = []
    group = recording(batches, lambda request: request * 10)
    got: dict[str, list[int]] = {"a": [], "b": [], "c": []}

    def stream(name: str, asks: int) -> None:
        for number in range(asks):
            got[name].append(group.ask(number))

    group.run([partial(stream, "a", 3), partial(stream, "b", 1), partial(stream, "c", 2)], at_once=3)
    assert batches == [[0, 0, 0], [1, 1], [2]]
    assert got == {"a": [0, 10, 20], "b": [0], "c": [0, 10]}


def test_a_stream_begins_when_one_before_it_has_ended() -> None:
    batches: list[list[Any]] = []
    group = recording(batches)

    def stream(name: str) -> None:
        group.ask(name)
        group.ask(name)

    group.run((partial(stream, name) for name in "abc"), at_once=2)
    assert batches == [["a", "b"], ["a", "b"], ["c"], ["c"]]


def test_streams_meet_when_none_of_them_wants_the_network_any_more() -> None:
    order: list[str] = []
    group = recording([])

    def stream(name: str, asks: int) -> None:
        for _ in range(asks):
            group.ask(name)
            order.append(f"{name} served")
        group.meet()
        order.append(f"{name} on")

    group.run([partial(stream, "a", 0), partial(stream, "b", 2), partial(stream, "c", 1)], at_once=3)
    assert order == ["b served", "c served", "b served", "a on", "c on", "b on"]
    group.meet()  # outside a stream there is nobody to meet


def test_a_request_that_is_put_off_meets_the_streams_behind_it() -> None:
    batches: list[list[str]] = []

    def serve(requests: Sequence[str]) -> list[Any]:
        first = min(requests)
        batches.append([one for one in requests if one == first])
        return [one if one == first else LATER for one in requests]

    group = Together(serve)
    group.run([lambda: group.ask("2"), lambda: [group.ask("1"), group.ask("2")]], at_once=2)
    assert batches == [["1"], ["2", "2"]]


def test_an_error_is_raised_where_it_was_asked_and_costs_no_other_stream() -> None:
    batches: list[list[Any]] = []
    group = recording(batches, lambda request: ValueError("no") if request == "bad" else request)
    ended: list[str] = []

    def good() -> None:
        group.ask("good")
        group.ask("good")
        ended.append("good")

    def bad() -> None:
        with pytest.raises(ValueError, match="no"):
            group.ask("bad")
        ended.append("bad")

    group.run([good, bad], at_once=2)
    assert ended == ["bad", "good"]
    assert batches == [["good", "bad"], ["good"]]


def test_what_a_stream_raises_ends_the_group_and_every_stream_frees_what_it_holds() -> None:
    group = recording([])
    freed: list[str] = []

    def holding(name: str) -> None:
        try:
            while True:
                group.ask(name)
        finally:
            freed.append(name)

    def breaking() -> None:
        group.ask("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        group.run([partial(holding, "a"), breaking, partial(holding, "b")], at_once=3)
    assert sorted(freed) == ["a", "b"]
    group.run([lambda: group.ask("again")], at_once=1)


def test_calls_of_one_stream_are_served_with_the_other_streams() -> None:
    batches: list[list[Any]] = []
    group = recording(batches)
    results: list[list[str]] = []

    def asking() -> None:
        results.append(group.gather([lambda: group.ask("q1"), lambda: group.ask("q2"), lambda: "none"]))

    group.run([asking, lambda: group.ask("other")], at_once=2)
    assert results == [["q1", "q2", "none"]]
    assert sorted(batches[0]) == ["other", "q1", "q2"]


def test_a_call_that_fails_is_raised_in_its_stream_when_the_others_have_ended() -> None:
    group = recording([])
    done: list[str] = []

    def fails() -> str:
        raise ValueError("question 2")

    def asking() -> None:
        with pytest.raises(ValueError, match="question 2"):
            group.gather([fails, lambda: done.append(group.ask("q1"))])
        done.append("after")

    group.run([asking], at_once=1)
    assert done == ["q1", "after"]


def test_a_sleeping_stream_leaves_the_network_to_the_others() -> None:
    batches: list[list[Any]] = []
    group = recording(batches)
    order: list[str] = []

    def sleeper() -> None:
        group.sleep(0.05)
        order.append("woke")
        group.ask("late")

    def worker() -> None:
        for _ in range(3):
            group.ask("work")
        order.append("worked")

    group.run([sleeper, worker], at_once=2)
    assert order == ["worked", "woke"]
    assert batches == [["work"], ["work"], ["work"], ["late"]]


def test_outside_a_stream_a_request_is_served_at_once() -> None:
    batches: list[list[Any]] = []
    group = recording(batches)
    assert group.ask("alone") == "alone"
    assert group.gather([lambda: 1, lambda: 2]) == [1, 2]
    assert batches == [["alone"]]
