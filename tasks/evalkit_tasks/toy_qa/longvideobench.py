"""The toy benchmark in LongVideoBench's layout: matches with subtitles of both forms, and a test split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evalkit_tasks.demo import DemoMatch
from evalkit_tasks.longvideobench.annotations import DURATION_GROUPS, level_of
from evalkit_tasks.toy_qa.questions import ToyQuestion, spoken_lines, whole_match_questions
from evalkit_tasks.toy_qa.videos import Toy

__all__ = ["write"]

_OFFSET = 120.0
"""The clips begin so many seconds into their subtitle files."""
_CATEGORIES = ("E3E", "S2O", "TAA")


def write(data: Path, toy: Toy) -> None:
    """Write ``lvb_val.json``, ``lvb_test_wo_gt.json``, ``videos`` and ``subtitles`` below ``data``."""
    (data / "subtitles").mkdir()
    val: list[dict[str, Any]] = []
    for number, match in enumerate(toy.matches):
        toy.film(data / "videos" / match.video, match)
        lines = [_clock_form(line) if number % 2 else _timestamp_form(line) for line in spoken_lines(match)]
        _dump(data / "subtitles" / f"{_name(match)}_en.json", lines)
        val += [_row(match, k, question) for k, question in enumerate(whole_match_questions(match))]
    test = [{k: v for k, v in row.items() if k != "correct_choice"} | {"id": f"{row['id']}t"} for row in val[:2]]
    _dump(data / "lvb_val.json", val)
    _dump(data / "lvb_test_wo_gt.json", test)


def _dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def _name(match: DemoMatch) -> str:
    return match.video.removesuffix(".mp4")


def _timestamp_form(line: tuple[float, float, str]) -> dict[str, Any]:
    start, end, text = line
    return {"timestamp": [round(start + _OFFSET, 3), round(end + _OFFSET, 3)], "text": text}


def _clock_form(line: tuple[float, float, str]) -> dict[str, Any]:
    start, end, text = line
    return {"start": _clock(start + _OFFSET), "end": _clock(end + _OFFSET), "line": text}


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes) // 60:02d}:{int(minutes) % 60:02d}:{rest:06.3f}"


def _row(match: DemoMatch, number: int, question: ToyQuestion) -> dict[str, Any]:
    return {
        "video_id": _name(match),
        "question": question.text,
        "question_wo_referring_query": question.text,
        "candidates": list(question.options),
        "correct_choice": question.gold,
        "position": [0, match.seconds],
        "topic_category": "NP-News-Programs",
        "question_category": _CATEGORIES[number],
        "level": level_of(_CATEGORIES[number]),
        "id": f"{_name(match)}_{number}",
        "video_path": match.video,
        "subtitle_path": f"{_name(match)}_en.json",
        "duration_group": next(group for group in DURATION_GROUPS if match.seconds <= group),
        "starting_timestamp_for_subtitles": _OFFSET,
        "duration": float(match.seconds),
        "view_count": 0,
    }
