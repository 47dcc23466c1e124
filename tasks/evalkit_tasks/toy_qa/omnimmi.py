"""The toy benchmark in the layout of OmniMMI's proactive alerting: be told of the next goal, foul or corner."""

from __future__ import annotations

import json
from pathlib import Path

from evalkit_tasks.toy_qa.videos import Toy

__all__ = ["write"]

_SECONDS = 3


def write(data: Path, toy: Toy) -> None:
    """Write ``proactive_alerting.json`` and ``videos`` below ``data``."""
    rows = []
    for match in toy.matches:
        toy.film(data / "videos" / match.video, match)
        for kind in ("goal", "foul", "corner"):
            first = next((moment for moment in match.moments if moment.kind == kind), None)
            if first is not None:
                end = min(first.at + _SECONDS, match.seconds)
                question = f"Signal me when the first {kind} is shown."
                rows.append({"video": match.video, "question": question, "answer": [first.at, end]})
    (data / "proactive_alerting.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
