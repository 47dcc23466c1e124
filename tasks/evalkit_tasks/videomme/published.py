"""What the published 2,700 questions of Video-MME are; predictions are checked against it where no data are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

__all__ = [
    "DOMAINS",
    "DURATIONS",
    "QUESTIONS",
    "QUESTIONS_PER_VIDEO",
    "SUB_CATEGORIES",
    "TASK_COUNTS",
    "TASK_TYPES",
    "VIDEOS_PER_DURATION",
    "published_duration",
    "published_ids",
]

DURATIONS = ("short", "medium", "long")
"""Below 2 minutes, 4 to 15 minutes, 30 to 60 minutes."""

VIDEOS_PER_DURATION = 300
QUESTIONS_PER_VIDEO = 3
QUESTIONS = len(DURATIONS) * VIDEOS_PER_DURATION * QUESTIONS_PER_VIDEO

DOMAINS: Mapping[str, int] = MappingProxyType(
    {
        "Knowledge": 270,
        "Film & Television": 120,
        "Sports Competition": 150,
        "Artistic Performance": 120,
        "Life Record": 210,
        "Multilingual": 30,
    }
)
"""Videos by domain, a third of them in each duration, which is also their questions in each duration."""

SUB_CATEGORIES = (
    *("Humanity & History", "Literature & Art", "Biology & Medicine", "Finance & Commerce", "Astronomy"),
    *("Geography", "Law", "Life Tip", "Technology", "Animation", "Movie & TV Show", "Documentary", "News Report"),
    *("Esports", "Basketball", "Football", "Athletics", "Other Sports", "Stage Play", "Magic Show"),
    *("Variety Show", "Acrobatics", "Handicraft", "Food", "Fashion", "Daily Life", "Travel", "Pet & Animal"),
    *("Exercise", "Multilingual"),
)
"""Thirty, each with 10 videos and 30 questions in each duration."""

TASK_COUNTS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "Temporal Perception": (18, 31, 6),
        "Spatial Perception": (30, 21, 3),
        "Attribute Perception": (122, 73, 27),
        "Action Recognition": (131, 119, 63),
        "Object Recognition": (168, 132, 54),
        "OCR Problems": (57, 68, 14),
        "Counting Problem": (125, 95, 48),
        "Temporal Reasoning": (13, 73, 91),
        "Spatial Reasoning": (27, 18, 11),
        "Action Reasoning": (47, 58, 180),
        "Object Reasoning": (80, 134, 240),
        "Information Synopsis": (82, 78, 163),
    }
)
"""Questions by task type, of short, medium and long videos (counted)."""

TASK_TYPES = tuple(TASK_COUNTS)

_ID = re.compile(r"(\d{3})-([123])")


def published_duration(question_id: str) -> str | None:
    """Return the duration of a published question: videos 001-300 are short, 301-600 medium, 601-900 long.

    Returns:
        ``None`` where the id is not of the form ``001-1`` to ``900-3``.
    """
    match = _ID.fullmatch(question_id)
    if match is None or not 1 <= int(match[1]) <= len(DURATIONS) * VIDEOS_PER_DURATION:
        return None
    return DURATIONS[(int(match[1]) - 1) // VIDEOS_PER_DURATION]


def published_ids() -> tuple[str, ...]:
    """Return all 2,700 question ids, in order."""
    videos = range(1, len(DURATIONS) * VIDEOS_PER_DURATION + 1)
    return tuple(f"{video:03d}-{k}" for video in videos for k in range(1, QUESTIONS_PER_VIDEO + 1))
