"""The toy benchmark in MLVU's layout: seven choice tasks, the two open ones, and a test set without gold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evalkit_tasks.demo import DemoMatch, line
from evalkit_tasks.toy_qa.questions import ToyQuestion, ask
from evalkit_tasks.toy_qa.videos import Toy

__all__ = ["write"]

_FILES = (
    ("1_plotQA", "plotQA", "venue"),
    ("2_needle", "findNeedle", "before"),
    ("3_ego", "ego", "shown"),
    ("4_count", "count", "goals"),
    ("5_order", "order", "next"),
    ("6_anomaly_reco", "anomaly_reco", "scorer"),
    ("7_topic_reasoning", "topic_reasoning", "score"),
)
"""File, sub-task as it is called there, and what is asked in it (a key of ``toy_qa.questions.ASKED``)."""

_TEST_FILLS = ("none of these", "it cannot be seen")


def write(data: Path, toy: Toy) -> None:
    """Write ``json``, ``video`` and ``test_question.json`` below ``data``."""
    (data / "json").mkdir()
    test: list[dict[str, Any]] = []
    for place, (file, task, name) in enumerate(_FILES):
        rows = []
        for number, match in enumerate(toy.matches):
            toy.film(data / "video" / file / match.video, match)
            asked = ask(name, match, match.seconds - 1, place + number)
            rows.append(_row(match, asked, task))
            test.append(_test_row(match, asked, task, f"T{place}_{number}"))
        _dump(data / "json" / f"{file}.json", rows)
    for file, task in (("8_sub_scene", "subPlot"), ("9_summary", "summary")):
        for match in toy.matches:
            toy.film(data / "video" / file / match.video, match)
        _dump(data / "json" / f"{file}.json", [_open_row(match, task) for match in toy.matches])
    _dump(data / "test_question.json", test)


def _dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def _row(match: DemoMatch, asked: ToyQuestion, task: str) -> dict[str, Any]:
    row = {"video": match.video, "duration": match.seconds, "question": asked.text}
    return row | {"candidates": list(asked.options), "answer": asked.options[asked.gold], "question_type": task}


def _test_row(match: DemoMatch, asked: ToyQuestion, task: str, id_: str) -> dict[str, Any]:
    six = [*dict.fromkeys([*asked.options, *_TEST_FILLS, "all of these", "something else"])][:6]
    called = "needleQA" if task == "findNeedle" else task
    return {
        "question_id": id_,
        "question_type": called,
        "video": match.video,
        "question": asked.text,
        "candidates": six,
    }


def _open_row(match: DemoMatch, task: str) -> dict[str, Any]:
    shown = [" ".join(line(match, moment)) for moment in match.moments]
    row = {"video": match.video, "duration": match.seconds, "question_type": task}
    if task == "summary":
        said = f"A match in {match.title}: {', '.join(shown[::5])}."
        return row | {"question": "Please summarize this video, including its main content.", "answer": said}
    points = [f"{text} is shown" for text in shown[:3]]
    return row | {
        "question": "Please describe the scene when the match begins.",
        "answer": f"{', then '.join(shown[:3])}.",
        "scoring_points": points,
    }
