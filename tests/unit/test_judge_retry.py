"""How long to wait before the next try."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from evalkit.judge.retry import RetryPolicy, parse_retry_after

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:20 GMT"}, 20.0),
        ({"retry-after": "Thu, 01 Jan 2025 00:00:20 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-4"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
    ],
)
def test_retry_after_is_read_as_seconds_milliseconds_or_a_date(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert parse_retry_after(headers, NOW) == seconds


def test_waits_grow_and_stay_below_the_longest() -> None:
    policy = RetryPolicy(first=1.0, factor=2.0, longest=10.0)
    jitter = random.Random(0)
    for failures, upper in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 10.0), (9, 10.0)]:
        waits = [policy.wait(failures, jitter) for _ in range(200)]
        assert upper / 2 <= min(waits) < max(waits) <= upper


def test_the_jitter_repeats_with_its_seed() -> None:
    policy = RetryPolicy()
    assert policy.wait(3, random.Random("0:key")) == policy.wait(3, random.Random("0:key"))
    assert policy.wait(3, random.Random("0:key")) != policy.wait(3, random.Random("1:key"))


def test_what_the_server_asks_for_is_never_undercut_but_bounded() -> None:
    policy = RetryPolicy(first=1.0, longest_asked=60.0)
    assert all(7.0 <= policy.wait(1, random.Random(seed), 7.0) <= 7.25 for seed in range(50))
    assert policy.wait(1, random.Random(0), 86400.0) <= 60.25
