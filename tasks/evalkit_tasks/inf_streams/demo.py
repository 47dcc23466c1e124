"""The demo data of Inf-Streams-Eval: made-up matches in exactly the published layout."""

from __future__ import annotations

__all__ = ["DEMO_START_SECONDS", "DEMO_WINDOW_SECONDS", "make_demo"]

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from evalkit_tasks.demo import (
    DemoMatch,
    build_demo,
    demo_matches,
    generator_version,
    make_match_video,
    transcript,
)
from evalkit_tasks.inf_streams.data import METADATA_NAME, SCORE_NAMES
from evalkit_tasks.inf_streams.rows import ContentRow, phrase_before
from evalkit_tasks.inf_streams.windows import MIN_WORDS, WINDOW_SECONDS, cut_windows

DEMO_START_SECONDS: Final = 10
"""Where narration of the demo starts; the published 1000 s would lie behind its end."""

DEMO_WINDOW_SECONDS: Final = 10
"""Length of its scoring windows; they hold words in the proportion that the paper asks of 100 s."""


def make_demo(data: Path) -> None:
    """Write two short matches with transcripts below ``data``, unless they are there.

    Raises:
        UsageError: ``data`` holds other files.
    """
    build_demo(data, generator_version(__file__), _write)


def _write(data: Path) -> None:
    metadata: list[dict[str, Any]] = []
    clips: list[dict[str, Any]] = []
    for game in demo_matches():
        make_match_video(data / game.video, game)
        content = tuple(ContentRow(*word) for word in transcript(game))
        metadata.append({"video": game.video, "title": game.title, "content": _rows(content)})
        clips += _clips(game, content)
    _write_jsonl(data / METADATA_NAME, metadata)
    _write_jsonl(data / SCORE_NAMES[0], clips)


def _clips(game: DemoMatch, content: tuple[ContentRow, ...]) -> list[dict[str, Any]]:
    min_words = MIN_WORDS * DEMO_WINDOW_SECONDS // WINDOW_SECONDS
    windows = cut_windows(content, start=DEMO_START_SECONDS, seconds=DEMO_WINDOW_SECONDS, min_words=min_words)
    return [
        {
            "video": game.video,
            "title": game.title,
            "content": _rows(window),
            "preasr": phrase_before(content, window[0].start).strip(),
        }
        for window in windows
    ]


def _rows(content: Sequence[ContentRow]) -> list[list[Any]]:
    return [[row.start, row.end, row.text] for row in content]


def _write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
