"""Where LongVideoBench puts subtitles between frames (``longvideobench_dataset.py``), as a pure function."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal

from evalkit.tasks.subtitles import Subtitle

__all__ = ["InterleaveRule", "all_texts", "interleave", "interleaved_texts"]

InterleaveRule = Literal["faithful", "mended"]
_SHORTEST = 1.0


def interleave(
    frame_times: Sequence[float],
    subtitles: Sequence[Subtitle],
    offset: float,
    duration: float,
    *,
    rule: InterleaveRule = "faithful",
) -> list[int | str]:
    """Order frames and subtitles as the official loader does.

    For each subtitle in the file's order: shift it by ``offset``; emit the frames up to its middle; widen
    it to one second about its middle if it is shorter; emit its text if a frame lies strictly inside.
    Then emit the frames that are left (``insert_subtitles_into_frames``).

    Args:
        frame_times: Times of the frames, seconds of the clip, ascending.
        subtitles: Subtitles in the time of their file.
        offset: ``starting_timestamp_for_subtitles``, seconds.
        duration: Length of the clip, seconds.
        rule: ``faithful`` repeats two faults of the loader: an end given as a whole number counts as
            missing, and a missing end becomes ``duration`` before the shift, so that it lies ``offset``
            seconds too early. ``mended`` keeps whole ends and lets a missing one reach the clip's end.

    Returns:
        Indices into ``frame_times`` (each once, in order) and texts.
    """
    ordered = sorted(frame_times)
    items: list[int | str] = []
    emitted = 0
    for subtitle in subtitles:
        start = subtitle.start - offset
        end = _end(subtitle, offset, duration, rule)
        middle = (start + end) / 2
        while emitted < len(frame_times) and frame_times[emitted] <= middle:
            items.append(emitted)
            emitted += 1
        if end - start < _SHORTEST:
            start, end = middle - _SHORTEST / 2, middle + _SHORTEST / 2
        after_start = bisect_right(ordered, start)
        if after_start < len(ordered) and ordered[after_start] < end:
            items.append(subtitle.text)
    items.extend(range(emitted, len(frame_times)))
    return items


def _end(subtitle: Subtitle, offset: float, duration: float, rule: InterleaveRule) -> float:
    if rule == "faithful":
        if subtitle.end is None or subtitle.whole_end:
            return duration - offset
        return subtitle.end - offset
    return duration if subtitle.end is None else subtitle.end - offset


def all_texts(subtitles: Sequence[Subtitle]) -> list[str]:
    """Return every subtitle's text (the official ``max_num_frames=-1``: subtitles and no frames)."""
    return [subtitle.text for subtitle in subtitles]


def interleaved_texts(
    frame_times: Sequence[float],
    subtitles: Sequence[Subtitle],
    offset: float,
    duration: float,
    *,
    rule: InterleaveRule = "faithful",
) -> tuple[tuple[float, str], ...]:
    """Return the interleaved texts with the second after whose frames each one stands.

    Merging them into the frames (all frames up to ``at``, then the text, ties in this order) gives what
    ``interleave`` gives.

    Args:
        frame_times: Times of the frames, seconds of the clip, ascending.
        subtitles: Subtitles in the time of their file.
        offset: ``starting_timestamp_for_subtitles``, seconds.
        duration: Length of the clip, seconds.
        rule: As for ``interleave``.

    Returns:
        ``(at, text)``, ``at`` never falling; -1 before the first frame.
    """
    texts: list[tuple[float, str]] = []
    at = -1.0
    for item in interleave(frame_times, subtitles, offset, duration, rule=rule):
        if isinstance(item, int):
            at = frame_times[item]
        else:
            texts.append((at, item))
    return tuple(texts)
