"""The toy benchmark in LiveSports-3K's layouts: events with transcripts, captions to judge against, questions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evalkit_tasks.demo import DemoMatch, transcript
from evalkit_tasks.toy_qa.questions import ask, whole_match_questions
from evalkit_tasks.toy_qa.videos import Toy

__all__ = ["BASELINE_FILE", "write_cc", "write_qa"]

BASELINE_FILE = "captions_baseline.jsonl"
_EVENT_SECONDS = 10
_BEGIN = 0.25
"""Published events begin at fractions of a second."""


def write_cc(data: Path, toy: Toy) -> None:
    """Write ``LiveSports-3K-CC.json``, ``videos`` and captions to judge against below ``data``."""
    rows: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    for match in toy.matches:
        toy.film(data / "videos" / match.video, match)
        for row in _events(match):
            rows.append(row)
            words = row["event_asr_text"].split()
            said = " ".join(words[: len(words) // 2]) + "..."
            captions.append({**{key: row[key] for key in ("video_id", "event_id", "begin", "end")}, "pred": said})
    _dump(data / "LiveSports-3K-CC.json", rows)
    lines = "".join(json.dumps(row) + "\n" for row in captions)
    (data / BASELINE_FILE).write_text(lines, encoding="utf-8")


def _events(match: DemoMatch) -> Iterator[dict[str, Any]]:
    said = list(transcript(match))
    name = match.video.removesuffix(".mp4")
    for number, start in enumerate(range(0, match.seconds - _EVENT_SECONDS + 1, 2 * _EVENT_SECONDS), start=1):
        begin, end = start + _BEGIN, float(start + _EVENT_SECONDS)
        inside = [word for word in said if begin <= word.start and word.end <= end]
        before = [word for word in said if word.end <= begin]
        yield {
            "video_id": name,
            "url": "",
            "event_id": number,
            "begin": begin,
            "end": end,
            "event_type": 1,
            "video": match.video,
            "class": "Football",
            "event_title": match.title,
            "event_asr": json.dumps([list(word) for word in inside]),
            "event_asr_text": " ".join(word.word for word in inside),
            "preasr": json.dumps([list(word) for word in before]),
            "preasr_text": " ".join(word.word for word in before[-20:]),
        }


def write_qa(data: Path, toy: Toy) -> None:
    """Write ``LiveSports-3K-QA.json`` and ``videos`` below ``data``."""
    rows: list[dict[str, Any]] = []
    for match in toy.matches:
        toy.film(data / "videos" / match.video, match)
        asked = [*whole_match_questions(match), ask("score", match, match.seconds // 2 - 1, match.seed)]
        for number, question in enumerate(asked):
            end = match.seconds if number < len(asked) - 1 else match.seconds // 2
            rows.append(
                {
                    "question_id": f"{match.video.removesuffix('.mp4')}_{number}",
                    "video_id": match.video.removesuffix(".mp4"),
                    "video": match.video,
                    "video_start": 0.0,
                    "video_end": float(end),
                    "question": question.text,
                    "options": [
                        f"{letter}. {text}" for letter, text in zip("ABCD", question.options, strict=True)
                    ],
                    "answer": "ABCD"[question.gold],
                    "q_type": "what" if number else "where",
                    "OCR": int(number % 2),
                }
            )
    _dump(data / "LiveSports-3K-QA.json", rows)


def _dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
