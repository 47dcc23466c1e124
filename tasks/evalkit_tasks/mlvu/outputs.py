"""Published replies to MLVU's generation tasks as records of a run, so that they can be graded like one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from evalkit.errors import DataError
from evalkit.records import AnswerRecord
from evalkit.tasks import Problem
from evalkit.tasks.choice import ChoiceQuestion
from evalkit.tasks.layouts import FileRow, RowError, object_rows

__all__ = ["reply_records"]


def reply_records(
    paths: Sequence[Path], questions: Sequence[ChoiceQuestion]
) -> tuple[list[AnswerRecord], list[Problem]]:
    """Read files of MLVU's code, lists of ``{"video_name", "Q", "A", "pred"}``.

    A row belongs to the question of its video and text; order means nothing. A sub-task of which a file has a row
    is taken whole: questions without a reply are on record as failed.

    Args:
        paths: The files, one of each sub-task or one of both.
        questions: The generation set.

    Returns:
        The records in the questions' order, and what is wrong with rows.

    Raises:
        DataError: A file cannot be read, two rows answer one question, or no row fits any.
    """
    problems: list[Problem] = []
    known = {(PurePosixPath(one.video).name, one.text.strip()): one for one in questions}
    taken: dict[str, tuple[FileRow, str | None]] = {}
    for row in (row for path in paths for row in object_rows(path, problems)):
        try:
            question = _asked(row, known)
            reply = _reply(row, question)
        except RowError as error:
            problems.append(Problem("bad-row", str(error), row.file, row.line, error.field, error.item))
            if error.item is None:
                continue
            question, reply = next(one for one in questions if one.id == error.item), None
        if question.id in taken:
            first = taken[question.id][0]
            raise DataError(
                f"{row.file}: row {row.line} answers {question.id} again, as row {first.line} of {first.file} "
                "does: keep one of them",
                path=paths[0],
            )
        taken[question.id] = row, reply
        gold = row.content.get("A")
        if gold is not None and gold != question.gold:
            message = "the reference is not the data's, which is what is graded by"
            problems.append(Problem("other-reference", message, row.file, row.line, "A", question.id))
    if not taken:
        names = ", ".join(str(path) for path in paths)
        why = f" ({problems[0]})" if problems else ""
        raise DataError(f"{names}: no row is of a question of the generation set{why}", path=paths[0])
    tasks = {one.task for one in questions if one.id in taken}
    records = [_record(one, taken.get(one.id, (None, None))[1]) for one in questions if one.task in tasks]
    return records, [*problems, *_absent(records, taken)]


def _asked(row: FileRow, known: Mapping[tuple[str, str], ChoiceQuestion]) -> ChoiceQuestion:
    content: Any = row.content
    if not isinstance(content, Mapping):
        raise RowError(None, "not an object")
    video, text = content.get("video_name", content.get("video")), content.get("Q", content.get("question"))
    for name, value in (("video_name", video), ("Q", text)):
        if not isinstance(value, str):
            raise RowError(name, f"{value!r:.40} is no text")
    found = known.get((PurePosixPath(video).name, text.strip()))
    if found is None:
        raise RowError("Q", f"the generation set has no such question on {video!r:.60}: {text!r:.60}")
    return found


def _reply(row: FileRow, question: ChoiceQuestion) -> str:
    reply = row.content.get("pred")
    if not isinstance(reply, str):
        raise RowError("pred", f"{reply!r:.40} is no text; counted as no reply", question.id)
    return reply


def _record(question: ChoiceQuestion, reply: str | None) -> AnswerRecord:
    at = question.end or 0.0
    return AnswerRecord(
        sample=question.video,
        query=question.id,
        kind=question.kind,
        at=at,
        start=question.start,
        end=at,
        text=reply or "",
        status="failed" if reply is None else "ok",
        error="the file has no reply" if reply is None else None,
        gold=question.gold,
        cluster=question.cluster or question.video,
        tags=question.all_tags,
    )


def _absent(records: Sequence[AnswerRecord], taken: Mapping[str, object]) -> list[Problem]:
    """Name the questions without a row, a line for each sub-task."""
    found = []
    for task in dict.fromkeys(record.tags["task"] for record in records):
        whole = [record for record in records if record.tags["task"] == task]
        lacking = [record.query for record in whole if record.query not in taken]
        if lacking:
            message = (
                f"{len(lacking)} of {len(whole)} questions of {task} have no row, such as {lacking[0]}: graded as "
                "replies without text"
            )
            found.append(Problem("absent", message))
    return found
