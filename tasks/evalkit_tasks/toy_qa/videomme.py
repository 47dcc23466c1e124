"""The toy benchmark in Video-MME's layout: matches called short, medium and long."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from evalkit_tasks.demo import DemoMatch, make_match
from evalkit_tasks.toy_qa.questions import ToyQuestion, spoken_lines, whole_match_questions
from evalkit_tasks.toy_qa.videos import Toy
from evalkit_tasks.videomme.prompts import LETTERS
from evalkit_tasks.videomme.published import DURATIONS

__all__ = ["write"]

_SHORT_MATCH = make_match(13, 20)
_TASK_TYPES = ("Action Reasoning", "Object Recognition", "Counting Problem")


def write(data: Path, toy: Toy) -> None:
    """Write ``videomme/test-00000-of-00001.parquet``, ``data`` and ``subtitle`` below ``data``.

    A short match comes before the toy's, which are called medium and long in turn. The long ones have no
    subtitles, as some published videos have none.
    """
    # pyarrow takes half a second to import; only writing the demo needs it here.
    import pyarrow
    import pyarrow.parquet

    for folder in ("subtitle", "videomme"):
        (data / folder).mkdir()
    rows: list[dict[str, Any]] = []
    durations = itertools.chain(DURATIONS[:1], itertools.cycle(DURATIONS[1:]))
    for duration, match in zip(durations, (_SHORT_MATCH, *toy.matches), strict=False):
        name = match.video.removesuffix(".mp4")
        toy.film(data / "data" / match.video, match)
        if duration != DURATIONS[-1]:
            (data / "subtitle" / f"{name}.srt").write_text(_srt(match), encoding="utf-8")
        rows += [_row(name, duration, k, question) for k, question in enumerate(whole_match_questions(match))]
    table = pyarrow.Table.from_pylist(rows)
    pyarrow.parquet.write_table(table, data / "videomme" / "test-00000-of-00001.parquet")


def _srt(match: DemoMatch) -> str:
    blocks = [
        f'{number}\n{_time(start)} --> {_time(end)}\n<font color="white" size=".72c">{text}</font>\n'
        for number, (start, end, text) in enumerate(spoken_lines(match), start=1)
    ]
    return "\n".join(blocks)


def _time(seconds: float) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d},{milliseconds:03d}"


def _row(name: str, duration: str, number: int, question: ToyQuestion) -> dict[str, Any]:
    return {
        "video_id": name,
        "duration": duration,
        "domain": "Sports Competition",
        "sub_category": "Football",
        "url": "",
        "videoID": name,
        "question_id": f"{name}-{number + 1}",
        "task_type": _TASK_TYPES[number],
        "question": question.text,
        "options": [f"{letter}. {text}" for letter, text in zip(LETTERS, question.options, strict=True)],
        "answer": LETTERS[question.gold],
    }
