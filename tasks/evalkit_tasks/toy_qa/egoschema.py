"""The toy benchmark in EgoSchema's layout: each question on a clip of its own, one a match without gold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evalkit_tasks.toy_qa.questions import whole_match_questions
from evalkit_tasks.toy_qa.videos import Toy

__all__ = ["write"]

_FIFTH = "nothing of this is shown"


def write(data: Path, toy: Toy) -> None:
    """Write ``questions.json``, ``subset_answers.json``, ``uid_to_ego4d.json`` and ``videos`` below ``data``."""
    rows: list[dict[str, Any]] = []
    golds: dict[str, int] = {}
    clips: dict[str, dict[str, Any]] = {}
    for match in toy.matches:
        video = match.video.removesuffix(".mp4")
        for number, asked in enumerate(whole_match_questions(match)):
            id_ = f"{video}-{number}"
            toy.film(data / "videos" / f"{id_}.mp4", match)
            options = {f"option {place}": text for place, text in enumerate((*asked.options, _FIFTH))}
            rows.append({"q_uid": id_, "google_drive_id": "", "question": asked.text, **options})
            clips[id_] = {"video_uid": video, "starting_sec": 0, "ending_sec": match.seconds}
            if number < 2:
                golds[id_] = asked.gold
    for name, content in (("questions", rows), ("subset_answers", golds), ("uid_to_ego4d", clips)):
        (data / f"{name}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
