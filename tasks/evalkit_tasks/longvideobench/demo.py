"""The demo data of LongVideoBench: made-up matches with subtitles, asked about in the published layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit_tasks.demo import DemoMatch, build_demo, demo_matches, generator_version, make_match_video, transcript
from evalkit_tasks.longvideobench.annotations import DURATION_GROUPS, level_of

__all__ = ["DemoQuestion", "demo_questions", "make_demo", "spoken_lines"]

_OFFSET = 120.0
"""The demo clips begin so many seconds into their subtitle files."""


@dataclass(frozen=True, slots=True)
class DemoQuestion:
    """A question about a match.

    Args:
        category: LongVideoBench's category.
        text: The question.
        options: Options without letters, in alphabetical order.
        gold: Index of the right one.
    """

    category: str
    text: str
    options: tuple[str, ...]
    gold: int


def demo_questions(match: DemoMatch) -> tuple[DemoQuestion, ...]:
    """Return three questions about a whole match."""
    home, away = (team.name for team in match.teams)
    first, second, last = match.events[0], match.events[1], match.events[-1]
    goals = match.count("goal", match.seconds)
    kinds = sorted({event.kind for event in match.events})
    return (
        _question("E3E", f"What happens first after the {first.kind}?", second.kind, [*kinds, "red card"]),
        _question("S2O", "Which team is the last event of?", match.teams[last.side].name, [home, away, "Rovers"]),
        _question("TAA", "How many goals are scored?", str(goals), [str(goals + step) for step in (1, 2, 3)]),
    )


def _question(category: str, text: str, gold: str, others: list[str]) -> DemoQuestion:
    spare = ["none of these", "it cannot be seen"]
    wrong = [option for option in dict.fromkeys([*others, *spare]) if option != gold][:3]
    options = tuple(sorted([gold, *wrong]))
    return DemoQuestion(category, text, options, options.index(gold))


def spoken_lines(match: DemoMatch) -> Iterator[tuple[float, float, str]]:
    """Yield what is said over a match, sentence by sentence: start, end (seconds) and text."""
    words = []
    for word in transcript(match):
        words.append(word)
        if word.word[-1] in ".!?":
            yield words[0].start, words[-1].end, " ".join(said.word for said in words)
            words = []
    if words:
        yield words[0].start, words[-1].end, " ".join(said.word for said in words)


def make_demo(data: Path) -> None:
    """Write ``lvb_val.json``, ``lvb_test_wo_gt.json``, ``videos`` and ``subtitles`` unless they are there.

    Raises:
        UsageError: ``data`` holds other files.
    """
    build_demo(data, generator_version(__file__), _write)


def _write(data: Path) -> None:
    (data / "videos").mkdir()
    (data / "subtitles").mkdir()
    val: list[dict[str, Any]] = []
    for number, match in enumerate(demo_matches()):
        make_match_video(data / "videos" / match.video, match)
        lines = [_clock_form(line) if number % 2 else _timestamp_form(line) for line in spoken_lines(match)]
        _dump(data / "subtitles" / f"{_name(match)}_en.json", lines)
        val += [_row(match, k, question) for k, question in enumerate(demo_questions(match))]
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


def _row(match: DemoMatch, number: int, question: DemoQuestion) -> dict[str, Any]:
    return {
        "video_id": _name(match),
        "question": question.text,
        "question_wo_referring_query": question.text,
        "candidates": list(question.options),
        "correct_choice": question.gold,
        "position": [0, match.seconds],
        "topic_category": "NP-News-Programs",
        "question_category": question.category,
        "level": level_of(question.category),
        "id": f"{_name(match)}_{number}",
        "video_path": match.video,
        "subtitle_path": f"{_name(match)}_en.json",
        "duration_group": next(group for group in DURATION_GROUPS if match.seconds <= group),
        "starting_timestamp_for_subtitles": _OFFSET,
        "duration": float(match.seconds),
        "view_count": 0,
    }
