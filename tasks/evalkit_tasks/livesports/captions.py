"""Caption files of LiveSports-3K CC, one line an event: read, written, made of narration."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.records import AnswerRecord, real_number, write_atomic
from evalkit.tasks import Problem
from evalkit.tasks.layouts import FileRow, RowError, object_rows

__all__ = ["Caption", "captions_of_run", "read_captions", "says_nothing", "silent_problem", "write_captions"]

_ENDING: Final = " ..."
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Caption:
    """What was said about one event.

    Args:
        id: Key of the event, ``{video_id}_{event_id}``.
        video: Video id.
        event: Number of the event in its video.
        begin: Start of the event, media seconds; files differ in its last digits.
        end: End of the event.
        text: The commentary as it stands.
    """

    id: str
    video: str
    event: int
    begin: float
    end: float
    text: str


def says_nothing(text: str) -> bool:
    """Say whether a commentary is empty or dots alone: LiveCC's ``...`` of a model that kept silent."""
    return not text.replace("…", ".").strip().strip(".").strip()


def silent_problem(captions: Iterable[Caption], whose: str) -> list[Problem]:
    """Name and count the events about which a side said nothing."""
    silent = [one.id for one in captions if says_nothing(one.text)]
    if not silent:
        return []
    more = f" and {len(silent) - _NAMED} more" if len(silent) > _NAMED else ""
    message = f"{whose} says nothing (empty or only dots) about {len(silent)} events: {', '.join(silent[:_NAMED])}"
    return [Problem("silent", message + more, item=silent[0])]


def read_captions(path: Path) -> tuple[dict[str, Caption], list[Problem]]:
    """Read a caption file, JSON Lines in any order; of two captions of one event the first is kept, and named.

    Raises:
        DataError: It cannot be read or holds no caption.
    """
    problems: list[Problem] = []
    found: dict[str, Caption] = {}
    for row in object_rows(path, problems):
        try:
            caption = _caption(row)
        except RowError as error:
            problems.append(Problem("bad-row", str(error), row.file, row.line, error.field, error.item))
            continue
        if caption.id in found:
            same = "the same" if found[caption.id].text == caption.text else "another"
            message = f"event {caption.id} has a caption already, with {same} text; the first counts"
            problems.append(Problem("duplicate", message, row.file, row.line, "event_id", caption.id))
            continue
        found[caption.id] = caption
    if not found:
        first = f" (first: {problems[0]})" if problems else ""
        raise DataError(f"{path}: not one caption (video_id, event_id, pred){first}", path=path)
    return found, problems


def _caption(row: FileRow) -> Caption:
    content: Any = row.content
    if not isinstance(content, dict):
        raise RowError(None, "not an object")
    video, event, text = content.get("video_id"), content.get("event_id"), content.get("pred")
    if not isinstance(video, str) or not video:
        raise RowError("video_id", f"{video!r:.40} is no video id")
    if isinstance(event, bool) or not isinstance(event, int):
        raise RowError("event_id", f"{event!r:.40} is no whole number")
    id_ = f"{video}_{event}"
    if not isinstance(text, str):
        raise RowError("pred", f"{text!r:.40} is no text", id_)
    times = [real_number(content.get(name)) for name in ("begin", "end")]
    begin, end = (0.0 if time is None else float(time) for time in times)
    return Caption(id_, video, event, begin, end, text)


def captions_of_run(answers: Sequence[AnswerRecord]) -> dict[str, Caption]:
    """Return what a run said about each event it finished, as LiveCC joins it.

    Each second loses its literal ending `` ...``; what is left is joined with blanks and ends with ``...``
    (``livecc_utils``, fdaa91e). An event with a second that failed is left out.
    """
    said: defaultdict[str, list[AnswerRecord]] = defaultdict(list)
    failed = set()
    for answer in answers:
        if answer.kind == "narration":
            said[answer.sample].append(answer)
            if answer.status == "failed":  # a second that a paced run dropped is one without words
                failed.add(answer.sample)
    found = {}
    for id_, seconds in said.items():
        video, _, event = id_.rpartition("_")
        if id_ in failed or not event.isdecimal():
            continue
        ordered = sorted(seconds, key=lambda answer: answer.start)
        parts = (answer.text.replace(_ENDING, "").strip() for answer in ordered)
        text = " ".join(part for part in parts if part).strip() + "..."
        found[id_] = Caption(id_, video, int(event), ordered[0].start, ordered[-1].end, text)
    return found


def write_captions(captions: Iterable[Caption], path: Path) -> None:
    """Write captions as LiveCC's scripts do, replacing the file at once."""
    rows = (
        {"video_id": one.video, "event_id": one.event, "begin": one.begin, "end": one.end, "pred": one.text}
        for one in captions
    )
    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
