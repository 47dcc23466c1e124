"""The toy benchmark in StreamingBench's JSON layout: matches asked about in all eighteen sub-tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit_tasks.demo import DemoMatch
from evalkit_tasks.streamingbench.published import ABBREVIATIONS, GROUPS
from evalkit_tasks.toy_qa.questions import ask
from evalkit_tasks.toy_qa.videos import Toy

__all__ = ["write"]

_LETTERS = "ABCD"
_ASKED = ("shown", "score", "before", "goals", "venue", "next")
"""What is asked in turn: each needs something else of the stream, and has four options."""
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
    """Yield one entry per sub-task, each about another moment of the match."""
    for index, task in enumerate(tasks):
        second = 12 + (7 * index + number) % (game.seconds - 14)
        asked = ask(_ASKED[index % len(_ASKED)], game, second, index + number)
        shown = list(asked.options)
        if task != "SQA":
            shown = [f"{letter}. {text}." for letter, text in zip(_LETTERS, shown, strict=False)]
        yield _entry(
            {
                "task_type": _NAMES[task],
                "question": asked.text,
                "time_stamp": _stamp(second + 1),
                "answer": _LETTERS[asked.gold],
                "options": shown,
                "required_ability": "working memory",
            },
            number,
            name,
        )


def _proactive(game: DemoMatch, number: int) -> Iterator[dict[str, Any]]:
    goal = game.latest("goal", game.seconds - 4) or game.moments[-4]
    yield _entry(
        {
            "task_type": _NAMES["PO"],
            "question": f'When a {goal.kind} is shown, output "{goal.kind}".',
            "time_stamp": _stamp(max(0, goal.at - 4)),
            "ground_truth_time_stamp": _stamp(goal.at),
            "ground_truth_output": goal.kind,
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
