"""Subtitle files as the benchmarks publish them: SRT and LongVideoBench's two JSON forms (no torch).

Reads, checks and selects; what a prompt does with the texts is the benchmark's own affair.
"""

from __future__ import annotations

__all__ = [
    "Subtitle",
    "SubtitleForm",
    "clock_seconds",
    "frame_subtitles",
    "parse_json_subtitles",
    "parse_srt",
    "plain_text",
    "read_subtitles",
    "timed_texts",
]

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evalkit.errors import DataError
from evalkit.records import NotJsonError, decode_json, read_plain
from evalkit.tasks.contract import Problem

SubtitleForm = Literal["srt", "timestamp", "clock"]

_CLOCK = re.compile(r"(\d{1,6}):([0-5]?\d):([0-5]?\d(?:[.,]\d+)?)")
_YEAR = 366 * 86400
_SRT_TIMES = re.compile(r"\s*(\S+)\s*-->\s*(\S+)")
_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Subtitle:
    """One subtitle line.

    Args:
        start: First second it is on screen, in the time of the subtitle file.
        end: Second at which it disappears; ``None`` where the file gives none.
        text: Its text as the file has it, lines joined with a blank.
        form: Which layout it was read from.
        whole_end: The file gives the end as a whole number (``timestamp`` form), which LongVideoBench's
            own loader mistakes for a missing one.
    """

    start: float
    end: float | None
    text: str
    form: SubtitleForm = "srt"
    whole_end: bool = False


def clock_seconds(text: str) -> float:
    """Turn ``HH:MM:SS.mmm`` or ``HH:MM:SS,mmm`` into seconds.

    Raises:
        ValueError: The text is no such time.
    """
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not HH:MM:SS.mmm")
    hours, minutes, seconds = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))


def plain_text(text: str) -> str:
    r"""Drop markup (``<font ...>``, ``{\\an8}``) and fold white space."""
    return " ".join(_TAG.sub("", text).split())


def parse_srt(content: str, file: str) -> tuple[tuple[Subtitle, ...], tuple[Problem, ...]]:
    """Read the text of an SRT file.

    A block needs its line of times; the counter above it may be missing. A bad block fails alone.

    Args:
        content: The file's text.
        file: Its name, for problems.

    Returns:
        Subtitles in the file's order, and problems named by line (from 1).
    """
    lines = content.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    starts = [number for number, line in enumerate(lines) if "-->" in line]
    subtitles: list[Subtitle] = []
    problems: list[Problem] = []
    for place, number in enumerate(starts):
        end = starts[place + 1] if place + 1 < len(starts) else len(lines)
        body = lines[number + 1 : end]
        if place + 1 < len(starts) and body and body[-1].strip().isdigit():
            body = body[:-1]
        try:
            subtitles.append(_srt_block(lines[number], body))
        except ValueError as error:
            problems.append(Problem("bad-subtitle", str(error), file, number + 1, "time"))
    if not starts and content.strip():
        problems.append(Problem("bad-subtitle", "no line of times (00:00:00,000 --> 00:00:01,000)", file, 1))
    return tuple(subtitles), tuple(problems)


def _srt_block(times: str, body: Sequence[str]) -> Subtitle:
    match = _SRT_TIMES.match(times)
    if match is None:
        raise ValueError(f"{times.strip()!r} is not a line of times")
    start, end = clock_seconds(match[1]), clock_seconds(match[2])
    if end < start:
        raise ValueError(f"ends at {end:g} s before it starts at {start:g} s")
    return Subtitle(start, end, " ".join(line.strip() for line in body if line.strip()))


def parse_json_subtitles(content: Any, file: str) -> tuple[tuple[Subtitle, ...], tuple[Problem, ...]]:
    """Read LongVideoBench's subtitle JSON, either form, also mixed.

    The forms are ``{"timestamp": [start, end or null], "text": ...}`` and ``{"start": "HH:MM:SS.mmm",
    "end": ..., "line": ...}`` (``longvideobench_dataset.py``). A bad row fails alone.

    Args:
        content: The decoded JSON.
        file: Name of the file, for problems.

    Returns:
        Subtitles in the file's order, and problems named by record index (from 1).
    """
    if not isinstance(content, list):
        return (), (Problem("bad-subtitle", "not a list of subtitles", file),)
    subtitles: list[Subtitle] = []
    problems: list[Problem] = []
    for index, row in enumerate(content, start=1):
        try:
            subtitles.append(_json_row(row))
        except _RowError as error:
            problems.append(Problem("bad-subtitle", str(error), file, index, error.field))
    return tuple(subtitles), tuple(problems)


class _RowError(ValueError):
    def __init__(self, field: str | None, message: str) -> None:
        super().__init__(message)
        self.field = field


def _json_row(row: Any) -> Subtitle:
    if not isinstance(row, dict):
        raise _RowError(None, "not an object")
    if "timestamp" in row:
        times = row["timestamp"]
        if not isinstance(times, list | tuple) or len(times) != 2:
            raise _RowError("timestamp", "not a pair of seconds")
        start = _number("timestamp", times[0])
        end = None if times[1] is None else _number("timestamp", times[1])
        _check_order("timestamp", start, end)
        whole = isinstance(times[1], int)
        return Subtitle(start, end, _text("text", row), "timestamp", whole)
    start = _clock("start", row)
    end = _clock("end", row)
    _check_order("end", start, end)
    return Subtitle(start, end, _text("line", row), "clock")


def _number(field: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _YEAR:
        raise _RowError(field, f"{str(value)[:40]!r} is not a number of seconds")
    return float(value)


def _clock(field: str, row: dict[str, Any]) -> float:
    value = row.get(field)
    if not isinstance(value, str):
        raise _RowError(field, "missing" if value is None else f"{value!r} is not HH:MM:SS.mmm")
    try:
        return clock_seconds(value)
    except ValueError as error:
        raise _RowError(field, str(error)) from error


def _text(field: str, row: dict[str, Any]) -> str:
    value = row.get(field)
    if not isinstance(value, str):
        raise _RowError(field, "missing" if value is None else f"{value!r} is not text")
    return value


def _check_order(field: str, start: float, end: float | None) -> None:
    if end is not None and end < start:
        raise _RowError(field, f"ends at {end:g} s before it starts at {start:g} s")


def read_subtitles(path: Path) -> tuple[tuple[Subtitle, ...], tuple[Problem, ...]]:
    """Read a subtitle file, ``.srt`` or ``.json``.

    Args:
        path: The file; a missing or unreadable one is a problem, never an exception.

    Returns:
        Subtitles in the file's order, and problems.
    """
    try:
        content = read_plain(path).decode("utf-8-sig")
    except DataError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return (), (Problem("missing-subtitles", f"{path} is not there", path.name),)
        return (), (Problem("bad-subtitle", str(error), path.name),)
    except UnicodeDecodeError as error:
        return (), (Problem("not-utf8", f"not UTF-8 at byte {error.start}", path.name),)
    if path.suffix.lower() == ".srt":
        return parse_srt(content, path.name)
    try:
        decoded = decode_json(content)
    except NotJsonError as error:
        return (), (Problem("bad-subtitle", f"not valid JSON ({error})", path.name),)
    return parse_json_subtitles(decoded, path.name)


def frame_subtitles(subtitles: Sequence[Subtitle], times: Sequence[float]) -> tuple[Subtitle, ...]:
    """Select the subtitles on screen at the shown frames.

    A subtitle is on screen at ``t`` where ``start <= t < end``; each is taken once, in the file's order
    (Video-MME README: "10 frames, 10 subtitles", those at the times of the frames).

    Args:
        subtitles: All subtitles of the video.
        times: Times of the shown frames, seconds, in any order.
    """
    ordered = sorted(times)
    shown: list[Subtitle] = []
    for subtitle in subtitles:
        end = math.inf if subtitle.end is None else subtitle.end
        first = bisect_right(ordered, subtitle.start)
        if first and ordered[first - 1] == subtitle.start:
            first -= 1
        if first < len(ordered) and ordered[first] < end:
            shown.append(subtitle)
    return tuple(shown)


def timed_texts(
    subtitles: Sequence[Subtitle], *, offset: float = 0.0, start: float = 0.0, end: float
) -> tuple[tuple[float, str], ...]:
    """Turn subtitles into texts of a stream: each becomes known at the second it has been said wholly.

    Args:
        subtitles: All subtitles of the file.
        offset: Second of the subtitle file at which the video begins.
        start: First media second shown.
        end: Media second at which the stream ends.

    Returns:
        ``(at, text)`` in order of ``at`` (media seconds), markup dropped; only subtitles that overlap
        ``[start, end)``; one that reaches its end becomes known just before it, so that it still belongs to
        the last second.
    """
    texts: list[tuple[float, str]] = []
    latest = math.nextafter(end, -math.inf)
    for subtitle in subtitles:
        first = subtitle.start - offset
        last = end if subtitle.end is None else subtitle.end - offset
        text = plain_text(subtitle.text)
        if text and first < end and last > start:
            texts.append((min(last, latest), text))
    return tuple(sorted(texts, key=lambda pair: pair[0]))
