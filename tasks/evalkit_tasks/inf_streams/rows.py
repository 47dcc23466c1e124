"""The two annotation files row by row: checked, mended where the fault is known, else refused by line number."""

from __future__ import annotations

__all__ = [
    "LATEST",
    "AnnotationFile",
    "ContentRow",
    "VideoRow",
    "phrase_before",
    "read_annotations",
    "short_names",
]

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from evalkit.records import NotJsonError, decode_json, has_lone_surrogate, real_number, require_plain
from evalkit.tasks import Problem
from evalkit.tasks.rows import require_name

LATEST = 1e9
"""No time in a file is as late, seconds (31 years)."""


class ContentRow(NamedTuple):
    """A timed piece of transcript, ``[ws, we, word]`` in the files.

    Args:
        start: Media second at which it begins.
        end: Media second at which it ends, >= ``start``.
        text: A word, or a phrase.
    """

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class VideoRow:
    """One line of an annotation file.

    Args:
        line: Its number, from 1.
        video: Path below the data folder, as published.
        title: Title of the match; may be empty.
        content: Transcript, at least one row.
        preasr: What was said before (scoring file only).
    """

    line: int
    video: str
    title: str
    content: tuple[ContentRow, ...]
    preasr: str = ""

    @property
    def name(self) -> str:
        """Return the file name of the video, by which the official code tells videos apart."""
        return PurePosixPath(self.video).name

    @property
    def start(self) -> int:
        """Return ``int(content[0][0])``, where a scoring window starts (``score_segments.py``)."""
        return int(self.content[0].start)

    @property
    def end(self) -> int:
        """Return ``int(content[-1][1])``, where narration and a scoring window end."""
        return int(self.content[-1].end)


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """An annotation file read.

    Args:
        rows: The rows that hold, in file order.
        problems: Rows mended or refused.
        digest: SHA-256 of the file, in hex.
    """

    rows: tuple[VideoRow, ...]
    problems: tuple[Problem, ...]
    digest: str


class _BadRowError(Exception):
    """A row breaks the layout; ``field`` names where."""

    def __init__(self, field: str | None, message: str) -> None:
        super().__init__(message)
        self.field = field


def read_annotations(path: Path) -> AnnotationFile:
    """Read ``eval_all_metadata.jsonl`` or ``score_all_clips.jsonl``.

    A content row that starts after its end has its times swapped (a known fault of the published files, official
    repository, issue 12). Anything else that breaks the layout refuses the whole row. Both are listed.

    Args:
        path: File with one JSON object a line; empty lines are passed over.
    """
    digest = hashlib.sha256()
    rows: list[VideoRow] = []
    problems: list[Problem] = []
    require_plain(path)
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            digest.update(line)
            if not line.strip():
                continue
            try:
                row, swapped = _parse(number, line)
            except _BadRowError as error:
                problems.append(
                    Problem("bad-row", f"row refused: {error}", file=path.name, line=number, field=error.field)
                )
                continue
            rows.append(row)
            problems += [_mended(path.name, row, index) for index in swapped]
    return AnnotationFile(tuple(rows), tuple(problems), digest.hexdigest())


def phrase_before(content: Sequence[ContentRow], second: float) -> str:
    """Return what was said before a second, as the official code words it.

    That is ``get_phrase_before_timestamp`` of ``streaming_vlm/data/lmm_dataset.py``: every word up to the first
    that ends after ``second``, each stripped and preceded by a space, so that the text begins with a space.

    Args:
        content: Transcript rows in file order.
        second: Media second.
    """
    words: list[str] = []
    for row in content:
        if row.end > second:
            break
        words.append(" " + row.text.strip())
    return "".join(words)


def _parse(number: int, line: bytes) -> tuple[VideoRow, list[int]]:
    try:
        data: Any = decode_json(line)
    except NotJsonError as error:
        raise _BadRowError(None, f"not JSON ({error})") from error
    if not isinstance(data, dict):
        raise _BadRowError(None, "not a JSON object")
    content = data.get("content")
    if not isinstance(content, list) or not content:
        raise _BadRowError("content", "must be a list of [start, end, text] with at least one entry")
    rows = [_content_row(index, entry) for index, entry in enumerate(content)]
    swapped = [index for index, row in enumerate(rows) if row.start > row.end]
    for index in swapped:
        start, end, text = rows[index]
        rows[index] = ContentRow(end, start, text)
    row = VideoRow(
        line=number,
        video=_video(data.get("video")),
        title=_text(data, "title"),
        content=tuple(rows),
        preasr=_text(data, "preasr"),
    )
    return row, swapped


def _content_row(index: int, entry: Any) -> ContentRow:
    field = f"content[{index}]"
    if not isinstance(entry, list) or len(entry) < 3:
        raise _BadRowError(field, f"{field} is not [start, end, text]")
    start, end, text = entry[:3]
    for second in (start, end):
        number = real_number(second)
        if number is None or not 0 <= number < LATEST:
            raise _BadRowError(field, f"{field} has {second!r:.40} where a time in seconds belongs")
    if not isinstance(text, str):
        raise _BadRowError(field, f"{field} has no text")
    if has_lone_surrogate(text):
        raise _BadRowError(field, f"{field} holds half a character")
    return ContentRow(float(start), float(end), text)


def _video(value: Any) -> str:
    if not isinstance(value, str) or not PurePosixPath(value).name:
        raise _BadRowError("video", "video is no file name")
    if ".." in PurePosixPath(value).parts:
        raise _BadRowError("video", f"video {value!r:.80} leaves the data folder")
    try:
        require_name(value)
    except ValueError as error:
        raise _BadRowError("video", f"video {value!r:.80} {error}") from error
    return value


def _text(data: dict[str, Any], field: str) -> str:
    value = data.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _BadRowError(field, f"{field} is no text")
    if has_lone_surrogate(value):
        raise _BadRowError(field, f"{field} holds half a character")
    return value


def _mended(file: str, row: VideoRow, index: int) -> Problem:
    start, end, text = row.content[index]
    return Problem(
        "swapped-times",
        f"{text!r} started at {end:g} s after its end at {start:g} s; swapped",
        file=file,
        line=row.line,
        field=f"content[{index}]",
        item=row.name,
    )


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return what each video file is called: without its suffix, unless another one is called so too."""
    stems = {name: PurePosixPath(name).stem for name in names}
    alike = Counter(stems.values())
    return {name: stem if alike[stem] == 1 else name for name, stem in stems.items()}
