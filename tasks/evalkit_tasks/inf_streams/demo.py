"""The demo data of Inf-Streams-Eval: made-up matches in exactly the published layout."""

from __future__ import annotations

__all__ = ["DEMO_INSTRUCTION", "DEMO_WINDOW_SECONDS", "make_demo"]

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from evalkit.tasks import DemoSize, write_folder_settings
from evalkit_tasks.demo import DemoMatch, build_demo, demo_matches, generator_version, make_match_video, transcript
from evalkit_tasks.inf_streams.data import METADATA_NAME, SCORE_NAMES
from evalkit_tasks.inf_streams.rows import ContentRow, phrase_before
from evalkit_tasks.inf_streams.windows import MIN_WORDS, WINDOW_SECONDS, cut_windows

DEMO_INSTRUCTION: Final = "Call the match."
"""Text of the first turn; the published one asks for things that are not on these pictures."""

DEMO_WINDOW_SECONDS: Final = 10
"""Length of the scoring windows of matches shorter than two published windows."""


def make_demo(data: Path, size: DemoSize | None = None) -> None:
    """Write matches with transcripts below ``data``, unless they are there.

    The folder brings its own settings: narration starts at second 0, with an instruction of three words.

    Args:
        data: Empty or new folder.
        size: Which matches; two of a minute by default.

    Raises:
        UsageError: ``data`` holds other files.
    """
    matches = demo_matches(size)
    name = ",".join(f"{match.seed}:{match.seconds}" for match in matches)
    build_demo(data, f"{generator_version(__file__)}/{name}", lambda folder: _write(folder, matches))


def _write(data: Path, matches: Sequence[DemoMatch]) -> None:
    metadata: list[dict[str, Any]] = []
    clips: list[dict[str, Any]] = []
    for game in matches:
        make_match_video(data / game.video, game)
        content = tuple(ContentRow(*word) for word in transcript(game))
        metadata.append({"video": game.video, "title": game.title, "content": _rows(content)})
        clips += _clips(game, content)
    _write_jsonl(data / METADATA_NAME, metadata)
    _write_jsonl(data / SCORE_NAMES[0], clips)
    write_folder_settings(data, {"start_seconds": 0, "instruction": DEMO_INSTRUCTION, "reference": "exact"})


def _clips(game: DemoMatch, content: tuple[ContentRow, ...]) -> list[dict[str, Any]]:
    seconds = WINDOW_SECONDS if game.seconds >= 2 * WINDOW_SECONDS else DEMO_WINDOW_SECONDS
    windows = cut_windows(content, start=0, seconds=seconds, min_words=MIN_WORDS * seconds // WINDOW_SECONDS)
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
