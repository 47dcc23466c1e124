"""When a failed request is worth another try, and after how long; sends nothing."""

from __future__ import annotations

__all__ = ["RetryPolicy", "parse_retry_after"]

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with jitter.

    Args:
        first: Upper end of the first wait, seconds.
        factor: Growth of the upper end from try to try.
        longest: Largest wait that is our own choice, seconds.
        longest_asked: Largest wait a server may ask for, seconds.
    """

    first: float = 0.5
    factor: float = 2.0
    longest: float = 30.0
    longest_asked: float = 300.0

    def wait(self, failures: int, jitter: random.Random, asked: float | None = None) -> float:
        """Return the seconds to wait after the ``failures``-th failure in a row (1, 2, ...).

        Half of the wait is fixed, half is random, so that many clients do not come back at once. A
        ``Retry-After`` is never undercut; up to a quarter of our own wait is put on top of it.
        """
        own = min(self.longest, self.first * self.factor ** (failures - 1))
        if asked is not None:
            return min(asked, self.longest_asked) + own * jitter.uniform(0.0, 0.25)
        return own * jitter.uniform(0.5, 1.0)


def parse_retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Read ``retry-after-ms`` or ``Retry-After`` (seconds or an HTTP date, RFC 9110 section 10.2.3).

    Args:
        headers: Response headers, looked up without regard to case by the mapping itself.
        now: Time a date is compared with; the present by default.

    Returns:
        Seconds to wait, >= 0, or ``None`` where nothing usable is said.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000.0
    said = headers.get("retry-after")
    seconds = _number(said)
    if seconds is not None or said is None:
        return seconds
    try:
        date = parsedate_to_datetime(said)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0.0 <= value < float("inf") else None
