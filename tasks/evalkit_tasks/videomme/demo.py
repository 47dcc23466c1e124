"""The demo data of Video-MME: three made-up matches in the published layout, one called short, medium and long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalkit_tasks.demo import DemoMatch, build_demo, demo_matches, generator_version, make_match, make_match_video
from evalkit_tasks.longvideobench import demo as lvb_demo
from evalkit_tasks.longvideobench.demo import DemoQuestion, demo_questions, spoken_lines
from evalkit_tasks.videomme.prompts import LETTERS
from evalkit_tasks.videomme.published import DURATIONS

__all__ = ["make_demo"]

_SHORT_MATCH = make_match(13, 20)
_TASK_TYPES = ("Action Reasoning", "Object Recognition", "Counting Problem")


def make_demo(data: Path) -> None:
    """Write ``videomme/test-00000-of-00001.parquet``, ``data`` and ``subtitle`` unless they are there.

    The third video has no subtitles, as some published ones have none.

    Raises:
        UsageError: ``data`` holds other files.
    """
    build_demo(data, generator_version(__file__, lvb_demo.__file__), _write)


def _write(data: Path) -> None:
    # pyarrow takes half a second to import; only writing the demo needs it here.
    import pyarrow
    import pyarrow.parquet

    for folder in ("data", "subtitle", "videomme"):
        (data / folder).mkdir()
    rows: list[dict[str, Any]] = []
    for duration, match in zip(DURATIONS, (_SHORT_MATCH, *demo_matches()), strict=True):
        name = match.video.removesuffix(".mp4")
        make_match_video(data / "data" / match.video, match)
        if duration != DURATIONS[-1]:
            (data / "subtitle" / f"{name}.srt").write_text(_srt(match), encoding="utf-8")
        rows += [_row(name, duration, k, question) for k, question in enumerate(demo_questions(match))]
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


def _row(name: str, duration: str, number: int, question: DemoQuestion) -> dict[str, Any]:
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
