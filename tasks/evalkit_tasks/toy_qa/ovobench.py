"""The toy benchmark in OVO-Bench's layout: matches asked about in all twelve sub-tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evalkit_tasks.demo import DemoEvent, DemoMatch
from evalkit_tasks.toy_qa.questions import multiple_choice
from evalkit_tasks.toy_qa.videos import Toy

__all__ = ["write"]

_SOURCE = "demo"
_NEVER = "Unable to answer"


def write(data: Path, toy: Toy) -> None:
    """Write ``ovo_bench_new.json`` and ``src_videos`` below ``data``."""
    rows: list[dict[str, Any]] = []
    for game in toy.matches:
        toy.film(data / "src_videos" / _SOURCE / game.video, game)
        rows += _rows(game)
    numbered = [{"id": index, **row} for index, row in enumerate(rows)]
    (data / "ovo_bench_new.json").write_text(json.dumps(numbered, ensure_ascii=False, indent=1), encoding="utf-8")


def _rows(game: DemoMatch) -> Iterator[dict[str, Any]]:
    """Yield one record of each sub-task for a match."""
    video = f"{_SOURCE}/{game.video}"
    first, last = game.events[0], game.events[-1]
    middle = game.events[len(game.events) // 2]
    end = game.seconds - 1
    home, away = game.teams
    kinds = sorted({event.kind for event in game.events})
    for task, at, question, gold, others in (
        ("EPM", end, "What was the first event of the match?", first.kind, kinds),
        (
            "ASI",
            end,
            "Which team did the first event belong to?",
            game.teams[first.side].name,
            [home.name, away.name],
        ),
        ("HLD", end, "What did the referee eat?", _NEVER, ["an apple", "a sandwich", "a banana"]),
        (
            "OCR",
            middle.at + 1,
            "What does the clock show now?",
            game.clock_at(middle.at + 1),
            _clocks(game, middle),
        ),
        ("ACR", middle.at + 1, "What is happening now?", middle.kind, kinds),
        (
            "ATR",
            middle.at + 1,
            "What colour does the home team wear?",
            home.colour,
            [home.colour, away.colour, "pink"],
        ),
        (
            "STU",
            middle.at + 1,
            "Where is the score board?",
            "top left",
            ["top right", "bottom left", "bottom right"],
        ),
        ("FPD", last.at - 0.5, "What happens next?", last.kind, kinds),
        ("OJR", middle.at + 1, "Which team has the ball?", game.teams[middle.side].name, [home.name, away.name]),
    ):
        yield {"task": task, "video": video, "realtime": at, "question": question, **_choice(gold, others)}
    yield from _forward(game, video)


def _clocks(game: DemoMatch, event: DemoEvent) -> list[str]:
    return [game.clock_at(event.at + shift) for shift in (60, 120, 600)]


def _choice(gold: str, others: Sequence[str]) -> dict[str, Any]:
    """Return two to four options in alphabetical order and the index of the gold one."""
    asked = multiple_choice("", gold, others, fill=False)
    return {"answer": gold, "options": list(asked.options), "gt": asked.gold}


def _forward(game: DemoMatch, video: str) -> Iterator[dict[str, Any]]:
    first, last = game.events[0], game.events[-1]
    seconds = range(4, game.seconds, 6)
    counts = [{"realtime": second, "count": game.count(first.kind, second)} for second in seconds]
    starts = [event.at for event in game.events if event.kind == first.kind]
    yield {
        "task": "REC",
        "video": video,
        "activity": f"take part in a {first.kind}",
        "start_times": starts,
        "end_times": starts,
        "test_info": counts,
    }
    steps = [(event.at, min(event.at + 3, game.seconds), f"a {event.kind}") for event in game.events[:3]]
    yield {
        "task": "SSR",
        "video": video,
        "tutorial": game.title,
        "all_steps": [step for _, _, step in steps],
        "start_time": [start for start, _, _ in steps],
        "end_time": [stop for _, stop, _ in steps],
        "test_info": [
            {"realtime": second, "step": step, "type": int(start <= second <= stop)}
            for start, stop, step in steps
            for second in (max(0, start - 2), start + 1)
        ],
    }
    ask, clue = max(0, last.at - 6), last.at
    probes = [ask, (ask + clue) / 2, clue + 1, clue + 2, clue + 3]
    yield {
        "task": "CRR",
        "video": video,
        "question": f"Which team takes part in the last {last.kind}?",
        "answer": game.teams[last.side].name,
        "ask_time": ask,
        "clue_time": clue,
        "test_info": [{"realtime": at, "type": int(at >= clue)} for at in probes if at <= game.seconds],
    }
