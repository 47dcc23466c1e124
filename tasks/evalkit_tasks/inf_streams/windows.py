"""Scoring windows and the text each side said in them; leaves the judging to evalkit.judge."""

from __future__ import annotations

__all__ = [
    "MIN_WORDS",
    "WINDOW_SECONDS",
    "Said",
    "Spoken",
    "Uncovered",
    "Window",
    "candidate_text",
    "cut_ending",
    "cut_windows",
    "join_spans",
    "pairs",
    "spoken_from_records",
    "windows_from_rows",
]

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from evalkit.judge.pairs import Pair
from evalkit.records import AnswerRecord
from evalkit.tasks import Problem
from evalkit_tasks.inf_streams.prompts import ENDING
from evalkit_tasks.inf_streams.rows import ContentRow, VideoRow, short_names

WINDOW_SECONDS: Final = 100
MIN_WORDS: Final = 200
"""The paper (arXiv 2510.09608, section 2.3.3) scores segments of 100 s that have at least 200 words."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a video in which two narrations are compared.

    Args:
        id: Video name without ending, start and end; unique.
        video: File name of the video.
        start: ``int(content[0][0])``, seconds.
        end: ``int(content[-1][1])``, seconds.
        reference: Transcript, one content row a line.
        title: Title of the match.
        line: Line in the scoring file.
    """

    id: str
    video: str
    start: int
    end: int
    reference: str
    title: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """What one side said in one stretch, mostly a second.

    Args:
        video: File name of the video.
        start: Where it starts, seconds; ``None`` where the file does not tell (GPT baseline).
        end: Where it ends, seconds.
        text: The text, its ending cut.
    """

    video: str
    start: float | None
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """All that one side said.

    Args:
        said: In order of time within a video.
        covered: By video, the stretches ``(start, end)`` that were narrated, seconds, joined and in order. Silence
            is covered too.
    """

    said: tuple[Said, ...]
    covered: Mapping[str, tuple[tuple[float, float], ...]]

    def covers(self, video: str, start: float, end: float) -> bool:
        """Return whether a stretch lies wholly in what was narrated."""
        return any(begin <= start and end <= until for begin, until in self.covered.get(video, ()))


@dataclass(frozen=True, slots=True)
class Uncovered:
    """A window that cannot be judged because a side did not narrate it.

    Args:
        window: The window.
        side: Who is missing.
        reason: One line for people.
    """

    window: Window
    side: Literal["test", "baseline", "both"]
    reason: str


def cut_ending(text: str) -> str:
    """Return an answer without the literal ending `` ...`` where it has one; nothing else is cut."""
    return text.removesuffix(ENDING)


def windows_from_rows(rows: Iterable[VideoRow], file: str) -> tuple[tuple[Window, ...], list[Problem]]:
    """Return the windows of a scoring file (``seg_bounds_from_content`` of ``score_segments.py``).

    Args:
        rows: Its rows.
        file: Its name, for the problems.

    Returns:
        The windows in file order, and the rows refused: no length, or a window that stands there twice.
    """
    rows = list(rows)
    called = short_names(row.name for row in rows)
    windows: dict[str, Window] = {}
    problems: list[Problem] = []
    for row in rows:
        reference = "\n".join(entry.text for entry in row.content)
        window = Window(
            f"{called[row.name]}:{row.start}-{row.end}",
            row.name,
            row.start,
            row.end,
            reference,
            row.title,
            row.line,
        )
        if window.end <= window.start:
            message = f"window refused: it goes from {window.start} s to {window.end} s"
            problems.append(Problem("empty-window", message, file=file, line=row.line, item=row.name))
        elif window.id in windows:
            message = f"window refused: it stands in line {windows[window.id].line} already"
            problems.append(Problem("duplicate", message, file=file, line=row.line, item=window.id))
        else:
            windows[window.id] = window
    return tuple(windows.values()), problems


def cut_windows(
    content: Sequence[ContentRow], *, start: int, seconds: int = WINDOW_SECONDS, min_words: int = MIN_WORDS
) -> list[tuple[ContentRow, ...]]:
    """Cut a transcript into scoring windows, as the published scoring file was made from the paper's rule.

    Args:
        content: Transcript rows in order.
        start: Media second of the first window.
        seconds: Length of a window.
        min_words: A window with fewer words is left out.

    Returns:
        The rows of each window; a row belongs to the window in which it ends.
    """
    groups: defaultdict[int, list[ContentRow]] = defaultdict(list)
    for row in content:
        if row.start >= start:
            groups[int((row.end - start) // seconds)].append(row)
    return [
        tuple(rows)
        for _, rows in sorted(groups.items())
        if sum(len(row.text.split()) for row in rows) >= min_words
    ]


def candidate_text(said: Iterable[Said], start: int, end: int) -> str:
    """Return what was said in a window: seconds with ``start < int(end_time) <= end``, stripped, joined by spaces.

    (``extract_commentary`` of ``score_segments.py``; empty seconds leave no trace, the result may be empty.)

    Args:
        said: One video's seconds, in order.
        start: Start of the window, seconds.
        end: End of the window, seconds.
    """
    texts = (second.text.strip() for second in said if start < int(second.end) <= end)
    return " ".join(text for text in texts if text)


def pairs(test: Spoken, baseline: Spoken, windows: Iterable[Window]) -> tuple[list[Pair], list[Uncovered]]:
    """Return what can be judged, and what cannot and why; together they are all windows.

    Args:
        test: The model under test.
        baseline: What it is held against.
        windows: Scoring windows.
    """
    by_video = {side: _by_video(spoken.said) for side, spoken in (("test", test), ("baseline", baseline))}
    judged: list[Pair] = []
    uncovered: list[Uncovered] = []
    for window in windows:
        gap = _uncovered(test, baseline, window)
        if gap is not None:
            uncovered.append(gap)
            continue
        texts = {
            side: candidate_text(seconds.get(window.video, ()), window.start, window.end)
            for side, seconds in by_video.items()
        }
        judged.append(
            Pair(
                id=window.id,
                cluster=window.video,
                start=float(window.start),
                end=float(window.end),
                reference=window.reference,
                test=texts["test"],
                baseline=texts["baseline"],
            )
        )
    return judged, uncovered


def spoken_from_records(records: Iterable[AnswerRecord]) -> Spoken:
    """Return what a run said.

    A sample covers the time from its first to its last spoken second; seconds that failed do not extend it.
    Those that a paced run dropped do: a viewer heard nothing in them, and is to judge that.

    Args:
        records: The run's answers; those of another kind than ``narration`` are passed over.
    """
    said: list[Said] = []
    spans: dict[tuple[str, str], tuple[float, float]] = {}
    for record in records:
        if record.kind != "narration" or record.status == "failed":
            continue
        if record.status == "ok":
            said.append(Said(record.cluster, record.start, record.end, cut_ending(record.text)))
        key = (record.cluster, record.sample)
        start, end = spans.get(key, (record.start, record.end))
        spans[key] = (min(start, record.start), max(end, record.end))
    ordered = sorted(said, key=lambda second: (second.video, second.end))
    return Spoken(tuple(ordered), join_spans((video, *span) for (video, _), span in spans.items()))


def join_spans(spans: Iterable[tuple[str, float, float]]) -> dict[str, tuple[tuple[float, float], ...]]:
    """Return narrated stretches by video, in order, those that touch or overlap made one.

    Args:
        spans: ``(video, start, end)``, seconds, in any order.
    """
    joined: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for video, start, end in sorted(spans):
        before = joined[video][-1] if joined[video] else None
        if before is not None and start <= before[1]:
            joined[video][-1] = (before[0], max(before[1], end))
        else:
            joined[video].append((start, end))
    return {video: tuple(stretches) for video, stretches in joined.items()}


def _by_video(said: Iterable[Said]) -> dict[str, list[Said]]:
    by_video: defaultdict[str, list[Said]] = defaultdict(list)
    for second in said:
        by_video[second.video].append(second)
    return dict(by_video)


def _uncovered(test: Spoken, baseline: Spoken, window: Window) -> Uncovered | None:
    gaps = {
        side: _gap(spoken, window)
        for side, spoken in (("test", test), ("baseline", baseline))
        if not spoken.covers(window.video, window.start, window.end)
    }
    if not gaps:
        return None
    reason = "; ".join(f"{side} {gap}" for side, gap in gaps.items())
    if len(gaps) == 2:
        return Uncovered(window, "both", reason)
    return Uncovered(window, "test" if "test" in gaps else "baseline", reason)


def _gap(spoken: Spoken, window: Window) -> str:
    spans = spoken.covered.get(window.video, ())
    if not spans:
        return f"has nothing of {window.video}"
    return "narrates only " + ", ".join(f"{start:g}-{end:g} s" for start, end in spans)
