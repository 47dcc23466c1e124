"""The original's ``merged_result.jsonl``: read and written without loss, turned into what was said and back."""

from __future__ import annotations

__all__ = [
    "MergedRow",
    "merged_rows",
    "read_merged",
    "records_from_file",
    "spoken_from_file",
    "spoken_from_merged",
    "write_merged",
]

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from evalkit.errors import DataError
from evalkit.records import AnswerRecord, NotJsonError, decode_json, read_lines, real_number, write_atomic
from evalkit.tasks import Problem
from evalkit_tasks.inf_streams.prompts import ENDING
from evalkit_tasks.inf_streams.rows import LATEST, short_names
from evalkit_tasks.inf_streams.windows import Said, Spoken, cut_ending, join_spans, spoken_from_records


@dataclass(frozen=True, slots=True)
class MergedRow:
    """One line: a video, or a chunk of one where the shards of a run are given.

    Args:
        raw: The line as it stands, further fields included; what is written back.
        line: Its number, from 1; 0 where it comes from no file.
    """

    raw: Mapping[str, Any]
    line: int = 0

    @property
    def video(self) -> str:
        """Return the file name of the video."""
        return str(self.raw["video"])

    @property
    def start(self) -> float:
        """Return ``chunk_start``, seconds."""
        return float(self.raw["chunk_start"])

    @property
    def end(self) -> float:
        """Return ``chunk_end``, seconds."""
        return float(self.raw["chunk_end"])

    @property
    def said(self) -> tuple[Said, ...]:
        """Return the items. They come with four characters cut by the original, so no ending is cut from them."""
        return tuple(_said(self.video, item) for item in self.raw["items"])


def read_merged(path: Path) -> list[MergedRow]:
    """Read a ``merged_result.jsonl``, or a shard that was not merged yet.

    Args:
        path: File with lines of ``{video, chunk_start, chunk_end, items: [{response, start_time, end_time}]}``; an
            item of the GPT baseline has no ``start_time``, an older one has ``text`` for ``response``.

    Raises:
        DataError: The file is missing, empty, or a line breaks the layout (its number is named).
    """
    lines = read_lines(path)
    rows = [_row(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise DataError(f"{path} has no line", path=path)
    return rows


def write_merged(path: Path, rows: Iterable[MergedRow]) -> None:
    """Write rows as the original does (UTF-8 unescaped, one object a line), replacing the file at once."""
    text = "".join(json.dumps(row.raw, ensure_ascii=False) + "\n" for row in rows)
    write_atomic(path, text.encode("utf-8", "surrogatepass"))


def merged_rows(records: Iterable[AnswerRecord]) -> list[MergedRow]:
    """Return a run's narration as the original would have merged it, sorted by the videos' names.

    A video has one row, or several where a part of it was not narrated. Seconds that failed have no item,
    those that a paced run dropped one without a word. The ending `` ...`` is cut from each response; nothing
    else is changed.
    """
    by_video: defaultdict[str, list[AnswerRecord]] = defaultdict(list)
    for record in records:
        if record.kind == "narration" and record.status != "failed":
            by_video[record.cluster].append(record)
    return [row for video, seconds in sorted(by_video.items()) for row in _merged(video, seconds)]


def spoken_from_merged(rows: Sequence[MergedRow], file: str) -> tuple[Spoken, list[Problem]]:
    """Return what was said, each second once, and what was doubled.

    Of chunks with the same start the longest counts (as in ``merge_result.py``). An item that stands there again
    with the same times and text is left out: ``merge_result.py`` reads its own output, so a chunked run
    that was merged twice has its text doubled. Items with the same times but other text are all kept and named.

    Args:
        rows: Rows of one file.
        file: Its name, for the problems.
    """
    chunks, problems = _one_row_a_chunk(rows, file)
    said: list[Said] = []
    for video, lines in _by_video(chunks).items():
        items = [item for row in lines for item in row.said]
        once = list(dict.fromkeys(items))
        said += sorted(once, key=lambda item: item.end)
        problems += _doubled(video, file, items, once)
    return Spoken(tuple(said), join_spans((row.video, row.start, row.end) for row in chunks)), problems


def spoken_from_file(path: Path) -> tuple[Spoken, list[Problem]]:
    """Read a ``merged_result.jsonl`` as what one side said; see `read_merged` and `spoken_from_merged`."""
    return spoken_from_merged(read_merged(path), path.name)


def records_from_file(path: Path) -> tuple[list[AnswerRecord], list[Problem]]:
    """Read a ``merged_result.jsonl`` as records, so that it can be judged like a run.

    A stretch that was narrated without a break is a sample. What a chunk covers beyond its items, and an item of
    the GPT baseline, which tells only when it ends, are filled up: from the end of the item before, or from the
    chunk's start.

    Args:
        path: The file.

    Returns:
        One record per item and per silent stretch of a chunk, and what was doubled.
    """
    spoken, problems = spoken_from_file(path)
    said: defaultdict[tuple[str, int], list[Said]] = defaultdict(list)
    for item in spoken.said:
        starts = [start for start, _ in spoken.covered[item.video]]
        said[item.video, max(bisect_left(starts, item.end) - 1, 0)].append(item)
    called = short_names(PurePath(video).name for video in spoken.covered)
    records: list[AnswerRecord] = []
    for video, spans in spoken.covered.items():
        stem = called[PurePath(video).name]
        for place, (start, end) in enumerate(spans):
            sample = stem if len(spans) == 1 else f"{stem}@{start:g}"
            records += _filled(sample, video, said[video, place], start, end)
    return records, problems


def _filled(sample: str, video: str, said: Sequence[Said], start: float, end: float) -> list[AnswerRecord]:
    """Return the records of one stretch, without a gap at its ends."""
    items = [(item.start, item.end, item.text) for item in said]
    if items and items[0][0] is not None and items[0][0] > start:
        items.insert(0, (start, items[0][0], ""))
    if not items or items[-1][1] < end:
        items.append((None, end, ""))
    records: list[AnswerRecord] = []
    for number, (begin, finish, text) in enumerate(items):
        records.append(
            AnswerRecord(
                sample=sample,
                query=f"{sample}@{number}",
                kind="narration",
                at=finish,
                start=min(start, finish) if begin is None else begin,
                end=finish,
                # A record is as the model gave it, and its ending is cut when it is read; here it is cut already.
                text=text + ENDING if text.endswith(ENDING) else text,
                cluster=PurePath(video).name,
            )
        )
        start = finish
    return records


def _row(path: Path, number: int, line: bytes) -> MergedRow:
    try:
        raw: Any = decode_json(line)
    except NotJsonError as error:
        raise DataError(f"{path}:{number}: not JSON ({error})", path=path) from error
    fault = _fault(raw)
    if fault:
        raise DataError(f"{path}:{number}: {fault}; not a line of merged_result.jsonl", path=path)
    return MergedRow(raw, number)


def _fault(raw: Any) -> str | None:
    if not isinstance(raw, dict):
        return "not a JSON object"
    if not isinstance(raw.get("video"), str) or not raw["video"]:
        return "field 'video' is no file name"
    for field in ("chunk_start", "chunk_end"):
        if not _is_time(raw.get(field)):
            return f"field {field!r} is no time in seconds"
    if not isinstance(raw.get("items"), list):
        return "field 'items' is no list"
    for index, item in enumerate(raw["items"]):
        if not isinstance(item, dict) or not _is_time(item.get("end_time")):
            return f"items[{index}] has no end_time in seconds"
        if not _is_time(item.get("start_time", 0)):
            return f"items[{index}].start_time is no time in seconds"
        if not isinstance(item.get("response", item.get("text")), str):
            return f"items[{index}] has no response"
    return None


def _is_time(value: Any) -> bool:
    number = real_number(value)
    return number is not None and abs(number) < LATEST


def _said(video: str, item: Mapping[str, Any]) -> Said:
    start = item.get("start_time")
    text = item["response"] if "response" in item else item["text"]
    return Said(video, None if start is None else float(start), float(item["end_time"]), text)


def _merged(video: str, seconds: Sequence[AnswerRecord]) -> list[MergedRow]:
    """Return a row for each stretch that was narrated without a break: between two rows nothing was said."""
    ordered = sorted(seconds, key=lambda record: record.end)
    return [
        MergedRow(
            {
                "video": video,
                "chunk_start": int(start),
                "chunk_end": int(end),
                "items": [
                    {"response": cut_ending(record.text), "start_time": record.start, "end_time": record.end}
                    for record in ordered
                    if start <= record.start and record.end <= end
                ],
            }
        )
        for start, end in spoken_from_records(seconds).covered[video]
    ]


def _one_row_a_chunk(rows: Iterable[MergedRow], file: str) -> tuple[list[MergedRow], list[Problem]]:
    kept: dict[tuple[str, float], MergedRow] = {}
    problems: list[Problem] = []
    for row in rows:
        key = (row.video, row.start)
        before = kept.get(key)
        if before is None:
            kept[key] = row
            continue
        longer, shorter = (row, before) if row.end > before.end else (before, row)
        kept[key] = longer
        message = f"chunk at {row.start:g} s stands in lines {before.line} and {row.line}; the longer one counts"
        problems.append(Problem("duplicate-chunk", message, file=file, line=shorter.line, item=row.video))
    return sorted(kept.values(), key=lambda row: (row.video, row.start)), problems


def _by_video(rows: Iterable[MergedRow]) -> dict[str, list[MergedRow]]:
    by_video: defaultdict[str, list[MergedRow]] = defaultdict(list)
    for row in rows:
        by_video[row.video].append(row)
    return dict(by_video)


def _doubled(video: str, file: str, items: Sequence[Said], once: Sequence[Said]) -> list[Problem]:
    problems: list[Problem] = []
    if len(once) < len(items):
        count = len(items) - len(once)
        message = f"{count} items of {video} stand there again with the same times and text; each counts once"
        problems.append(Problem("duplicate-item", message, file=file, item=video))
    times = {replace(item, text="") for item in once}
    if len(times) < len(once):
        message = (
            f"{len(once) - len(times)} items of {video} have the same times as others but other text; all count"
        )
        problems.append(Problem("conflicting-item", message, file=file, item=video))
    return problems
