"""WebVTT captions of what was said, one file a video; leaves the records to evalkit.records."""

from __future__ import annotations

__all__ = ["caption_name", "webvtt", "write_captions"]

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from evalkit.records import AnswerRecord, write_atomic
from evalkit.shown import shown_on_one_line

ENDING = " ..."
"""How a narrated second ends; shown to nobody."""

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def webvtt(records: Iterable[AnswerRecord]) -> str:
    """Return one video's narration as a WebVTT file (W3C WebVTT: The Web Video Text Tracks Format).

    Every second that has words is a cue; silent and failed seconds have none. The text is escaped; line breaks
    become a blank and other control characters are shown escaped: nothing said can end a cue or mark one up.

    Args:
        records: Answers of one video; those that are no narration are passed over.
    """
    cues = [
        f"{_timestamp(record.start)} --> {_timestamp(record.end)}\n{text}\n"
        for record in sorted(records, key=lambda record: (record.start, record.end))
        if _is_spoken(record) and (text := _cue_text(record.text))
    ]
    return "\n".join(["WEBVTT\n", *cues])


def write_captions(folder: Path, records: Iterable[AnswerRecord]) -> list[Path]:
    """Write ``<video>.vtt`` for every video that was narrated; its chunks come together in one file.

    Args:
        folder: Where to; made if missing.
        records: A run's answers.

    Returns:
        The files written, sorted by name.
    """
    by_video: defaultdict[str, list[AnswerRecord]] = defaultdict(list)
    for record in records:
        if record.kind == "narration":
            by_video[record.cluster or record.sample].append(record)
    names = _distinct_names(sorted(by_video))
    if names:
        folder.mkdir(parents=True, exist_ok=True)
    for video, name in names.items():
        write_atomic(folder / name, webvtt(by_video[video]))
    return sorted(folder / name for name in names.values())


def caption_name(video: str) -> str:
    """Return a caption file's name: the video's, without its ending and anything but ``A-Za-z0-9._-``."""
    stem = PurePosixPath(video.replace("\\", "/")).name
    stem = PurePosixPath(stem).stem if "." in stem.strip(".") else stem
    return (re.sub(r"[^A-Za-z0-9._-]+", "_", stem).strip(".") or "video") + ".vtt"


def _distinct_names(videos: Iterable[str]) -> dict[str, str]:
    """Name each video's file; videos whose names would fall together are numbered."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for video in videos:
        stem = caption_name(video).removesuffix(".vtt")
        name, number = f"{stem}.vtt", 2
        while name.lower() in taken:
            name, number = f"{stem}-{number}.vtt", number + 1
        taken.add(name.lower())
        names[video] = name
    return names


def _is_spoken(record: AnswerRecord) -> bool:
    return record.kind == "narration" and record.status == "ok" and record.end > record.start


def _cue_text(text: str) -> str:
    """Return the escaped text of a cue, empty where nothing was said (dots alone are silence)."""
    words = shown_on_one_line(text.removesuffix(ENDING))
    return "" if not words.strip(". …") else words.translate(_ESCAPES)


def _timestamp(seconds: float) -> str:
    milliseconds = round(max(seconds, 0.0) * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
