"""Turns: who goes on when, what is read once, and what happens to those who wait when one breaks."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from toy_runs import NotingModel, runner, toy_data

from evalkit.errors import DecodeError
from evalkit.run.side_by_side import Turns, _Decoding, _SharedReads
from evalkit.run.stop import StopRequest
from evalkit.stream import FrameBatch
from evalkit.tasks.catalog import task_named


def batch(number: int) -> FrameBatch:
    return FrameBatch(np.full((1, 2, 2, 3), number, np.uint8), ())


def test_those_who_want_the_same_get_one_reading_and_the_one_ahead_waits() -> None:
    turns, read, order = Turns(), [], []

    def look(number: int) -> int:
        read.append(number)
        return number

    def call(name: str, first: int) -> None:
        for number in range(first, 4):
            assert turns.want((0, number), number, partial(look, number)).value == number
            order.append((name, number))

    turns.run([partial(call, "a", 0), partial(call, "b", 2)])
    assert read == [0, 1, 2, 3]
    assert order == [("a", 0), ("a", 1), ("b", 2), ("a", 2), ("b", 3), ("a", 3)]


def test_what_reading_ends_with_meets_each_who_wanted_it() -> None:
    turns, met = Turns(), []

    def broken() -> None:
        raise DecodeError("no picture")

    def call(name: str) -> None:
        met.append((name, str(turns.want((0, 0), "x", broken).error)))

    turns.run([partial(call, "a"), partial(call, "b")])
    assert met == [("a", "no picture"), ("b", "no picture")]


def test_where_one_breaks_those_who_wait_are_unwound() -> None:
    turns, unwound = Turns(), []

    def waits() -> None:
        try:
            turns.want((0, 0), "x", lambda: None)
        except KeyboardInterrupt:
            unwound.append("waits")
            raise

    def breaks() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        turns.run([waits, breaks])
    assert unwound == ["waits"]


def test_frames_are_kept_until_all_followers_have_had_them_and_no_longer() -> None:
    closed = []

    def decode() -> Iterator[FrameBatch]:
        try:
            for number in range(3):
                yield batch(number)
        finally:
            closed.append(True)

    decoding = _Decoding(decode())
    for reader in ("a", "b"):
        decoding.follow(reader)
    for number in range(2):
        found = decoding.take(number)
        assert found is not None
        decoding.passed("a", number)
    assert not decoding.begun
    first = decoding.take(0)
    assert first is not None
    assert first.frames[0, 0, 0, 0] == 0
    decoding.passed("b", 0)
    assert decoding.begun
    decoding.leave("a")
    assert not closed
    decoding.leave("b")
    assert closed
    assert not decoding.followed


def test_one_request_stops_all_runs_and_a_run_of_its_own_stops_no_other() -> None:
    every = StopRequest()
    one, other = StopRequest(every), StopRequest(every)
    one.ask()
    assert (one(), other(), every()) == (True, False, False)
    every.ask()
    assert other()


@pytest.mark.parametrize("protocol", ["streaming", "official"])
def test_models_beside_one_another_see_what_each_would_alone(protocol: str, tmp_path: Path) -> None:
    """Streams and clips alike, though the second model has its first sample behind it."""
    task, data = task_named("ovobench"), toy_data("ovobench", tmp_path / "data")
    samples = task.load(data, task.settings(protocol=protocol)).samples
    alone = NotingModel()
    with runner(alone, tmp_path / "alone") as (run, _):
        for sample in samples:
            run.run(sample)
    turns = Turns()
    passes: dict[Hashable, _Decoding] = {}
    order = {sample.id: place for place, sample in enumerate(samples)}
    models = [NotingModel(), NotingModel()]

    def call(number: int) -> None:
        reads = _SharedReads(turns, passes, order)
        with runner(models[number], tmp_path / str(number), reads=reads) as (run, _):
            for sample in samples[number:]:
                run.run(sample)

    turns.run([partial(call, number) for number in range(2)])
    seen = [(one.key, one.items) for one in alone.asked]
    assert [(one.key, one.items) for one in models[0].asked] == seen
    skipped = len(samples[0].queries)
    assert [(one.key, one.items) for one in models[1].asked] == seen[skipped:]
