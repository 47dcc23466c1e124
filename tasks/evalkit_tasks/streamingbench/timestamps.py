"""StreamingBench's time stamps: what the official parser makes of them, and what the malformed ones mean."""

from __future__ import annotations

import re

__all__ = ["BadTime", "clock_seconds"]

_PARTS = re.compile(r"\d{1,6}(?::\d{1,6}){1,2}")
_WINDOW = re.compile(r"\[(\d{1,6}:\d{1,6}:\d{1,6}) - (\d{1,6}:\d{1,6}:\d{1,6})\]")
_SLACK = 90.0
"""Questions are asked up to this many seconds outside their entry's window in the published files."""


class BadTime(ValueError):
    """A time stamp cannot be read."""


def clock_seconds(stamp: str, window: str | None = None) -> tuple[float, float]:
    """Return the official parser's second and the mended second of a time stamp.

    The official parser adds ``60 ** i`` times each part from the right, so ``00:12450`` becomes 12,450 s. Where a
    part has more than two digits, the stamp lost its colon: the first two digits are minutes, the next two
    seconds.

    Args:
        stamp: ``HH:MM:SS``, ``H:MM:SS`` or one of the malformed forms (``00:24``, ``00:00:8``, ``00:12450``).
        window: ``time`` of the entry (``[0:12:00 - 0:13:00]``), in which a mended second must lie.

    Raises:
        BadTime: The stamp is none, or the mended second lies outside the window.
    """
    text = stamp.strip()
    if not _PARTS.fullmatch(text):
        raise BadTime(f"must be a time HH:MM:SS (it is {stamp!r:.80})")
    parts = [int(part) for part in text.split(":")]
    official = float(sum(part * 60**i for i, part in enumerate(reversed(parts))))
    if all(part < 60 for part in parts[1:]):
        return official, official
    last = text.rsplit(":", 1)[1]
    if len(last) < 4 or int(last[2:4]) > 59:
        raise BadTime(f"must be a time HH:MM:SS (it is {stamp!r:.80})")
    mended = float(parts[0] * 3600 + int(last[:2]) * 60 + int(last[2:4]))
    bounds = _WINDOW.fullmatch(window.strip()) if window else None
    if bounds is not None and not _inside(mended, bounds.group(1), bounds.group(2)):
        raise BadTime(f"cannot be mended into the entry's window {window} (it is {stamp!r:.80})")
    return official, mended


def _inside(second: float, start: str, stop: str) -> bool:
    return _plain(start) - _SLACK <= second <= _plain(stop) + _SLACK


def _plain(text: str) -> int:
    hours, minutes, seconds = (int(part) for part in text.split(":"))
    return hours * 3600 + minutes * 60 + seconds
