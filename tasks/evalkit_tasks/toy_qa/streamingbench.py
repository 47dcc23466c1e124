"""The toy benchmark in StreamingBench's JSON layout: matches asked about in all eighteen sub-tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit_tasks.demo import DemoMatch
from evalkit_tasks.streamingbench.published import ABBREVIATIONS, GROUPS
from evalkit_tasks.toy_qa.videos import Toy

__all__ = ["write"]

_LETTERS = "ABCD"
_NAMES = {task: name for name, task in reversed(list(ABBREVIATIONS.items()))}


def write(data: Path, toy: Toy) -> None:
    """Write ``questions_*.json`` and ``videos`` below ``data``."""
    entries: dict[str, list[Any]] = {"real": [], "omni": [], "sqa": [], "proactive_50": []}
    for number, game in enumerate(toy.matches, start=1):
        names = ["real", *(_NAMES[task].replace(" ", "_") for task in (*GROUPS["omni"], "ACU", "MCU"))]
        for name in (*names, "sqa", "proactive"):
            toy.film(data / "videos" / f"sample_{number}_{name}.mp4", game)
        entries["real"] += _choices(game, number, GROUPS["real"], "real")
        for task in (*GROUPS["omni"], "ACU", "MCU"):
            entries["omni"] += _choices(game, number, (task,), _NAMES[task].replace(" ", "_"))
        entries["sqa"].append(list(_choices(game, number, ("SQA",) * 3, "sqa")))
        entries["proactive_50"] += _proactive(game, number)
    for name, found in entries.items():
        text = json.dumps(found, ensure_ascii=False, indent=1)
        (data / f"questions_{name}.json").write_text(text, encoding="utf-8")


def _choices(game: DemoMatch, number: int, tasks: Sequence[str], name: str) -> Iterator[dict[str, Any]]:
    """Yield one entry per sub-task, asked a second after one event after the other."""
    for index, task in enumerate(tasks):
        event = game.events[index % len(game.events)]
        at = event.at + 1
        clocks = [game.clock_at(at + shift) for shift in (0, 60, 120, 180)]
        place = (index + number) % len(_LETTERS)
        shown = clocks[-place:] + clocks[:-place]
        if task != "SQA":
            shown = [f"{letter}. {text}." for letter, text in zip(_LETTERS, shown, strict=True)]
        yield _entry(
            {
                "task_type": _NAMES[task],
                "question": f"What does the clock show after event {index + 1}?",
                "time_stamp": _stamp(at),
                "answer": _LETTERS[place],
                "options": shown,
                "required_ability": "working memory",
            },
            number,
            name,
        )


def _proactive(game: DemoMatch, number: int) -> Iterator[dict[str, Any]]:
    event = game.events[-1]
    yield _entry(
        {
            "task_type": _NAMES["PO"],
            "question": f'When the last {event.kind} is shown, output "{event.kind}".',
            "time_stamp": _stamp(max(0, event.at - 4)),
            "ground_truth_time_stamp": _stamp(event.at),
            "ground_truth_output": event.kind,
            "required_ability": "working memory",
        },
        number,
        "proactive",
    )


def _entry(question: Mapping[str, Any], number: int, name: str) -> dict[str, Any]:
    return {
        "time": f"[0:00:00 - {question['time_stamp'][1:]}]",
        "questions": [question],
        "video_categories": "made-up match",
        "video_path": f"./videos/sample_{number}_{name}.mp4",
    }


def _stamp(second: int) -> str:
    minutes, seconds = divmod(second, 60)
    return f"00:{minutes:02d}:{seconds:02d}"
