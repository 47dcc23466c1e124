"""The toy benchmark in OVO-Bench's layout: matches asked about in all twelve sub-tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from evalkit_tasks.demo import COLOURS, DemoMatch
from evalkit_tasks.toy_qa.questions import ask, multiple_choice
from evalkit_tasks.toy_qa.videos import Toy

__all__ = ["write"]

_SOURCE = "demo"
_NEVER = "Unable to answer"

_ASKED: Final = {
    "EPM": "venue",
    "ASI": "before",
    "OCR": "score",
    "ACR": "shown",
    "ATR": "shown",
    "STU": "shown",
    "FPD": "next",
    "OJR": "scorer",
}
"""What each multiple-choice sub-task asks, in the sub-task's own sense: memory, the present, the future."""


def write(data: Path, toy: Toy) -> None:
    """Write ``ovo_bench_new.json`` and ``src_videos`` below ``data``."""
    rows: list[dict[str, Any]] = []
    for number, game in enumerate(toy.matches):
        toy.film(data / "src_videos" / _SOURCE / game.video, game)
        rows += _rows(game, number)
    numbered = [{"id": index, **row} for index, row in enumerate(rows)]
    (data / "ovo_bench_new.json").write_text(json.dumps(numbered, ensure_ascii=False, indent=1), encoding="utf-8")


def _rows(game: DemoMatch, number: int) -> Iterator[dict[str, Any]]:
    """Yield one record of each sub-task for a match."""
    video = f"{_SOURCE}/{game.video}"
    shown = [
        moment.at for moment in game.moments[game.seconds // 3 :] if moment.kind in ("play", "foul", "corner")
    ]
    for index, (task, name) in enumerate(_ASKED.items()):
        second = game.seconds - 2 if name == "venue" else shown[3 * index % len(shown)]
        asked = ask(name, game, second, number + index)
        yield _choice(task, video, second + 0.9, asked.text, asked.options, asked.gold)
    never = multiple_choice("", _NEVER, ["an apple", "a sandwich", "a banana"], number)
    yield _choice("HLD", video, game.seconds - 1, "What did the referee eat?", never.options, never.gold)
    yield from _forward(game, video)


def _choice(task: str, video: str, at: float, text: str, options: tuple[str, ...], gold: int) -> dict[str, Any]:
    row = {"task": task, "video": video, "realtime": at, "question": text}
    return row | {"answer": options[gold], "options": list(options), "gt": gold}


def _forward(game: DemoMatch, video: str) -> Iterator[dict[str, Any]]:
    goals = [moment.at for moment in game.moments if moment.kind == "goal"]
    yield {
        "task": "REC",
        "video": video,
        "activity": "score a goal",
        "start_times": goals,
        "end_times": [at + 1 for at in goals],
        "test_info": [
            {"realtime": second, "count": game.count("goal", second - 1)} for second in range(5, game.seconds, 6)
        ],
    }
    steps = [
        (m.at, m.at + 1, f"a {m.kind}") for m in game.moments if m.kind in ("foul", "corner", "save", "goal")
    ][:3]
    yield {
        "task": "SSR",
        "video": video,
        "tutorial": game.title,
        "all_steps": [step for _, _, step in steps],
        "start_time": [start for start, _, _ in steps],
        "end_time": [stop for _, stop, _ in steps],
        "test_info": [
            {"realtime": at, "step": step, "type": int(start <= at <= stop)}
            for start, stop, step in steps
            for at in (max(0.0, start - 0.5), start + 0.9)
        ],
    }
    last = game.latest("goal", game.seconds - 4)
    clue = (game.seconds - 4 if last is None else last.at) + 1
    sought = COLOURS[game.moments[clue - 1].side]
    asked = max(0, clue - 6)
    probes = [asked, (asked + clue) / 2, clue, clue + 1, clue + 2]
    yield {
        "task": "CRR",
        "video": video,
        "question": "Which team scores the next goal?",
        "answer": sought,
        "ask_time": asked,
        "clue_time": clue,
        "test_info": [{"realtime": at, "type": int(at >= clue)} for at in probes if at <= game.seconds],
    }
