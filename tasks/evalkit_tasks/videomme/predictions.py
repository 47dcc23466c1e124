"""Video-MME prediction files to predictions: official JSON, LiveCC's, run folders; scoring is in ``scoring``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.errors import DataError
from evalkit.records import NotJsonError, decode_json, read_text
from evalkit.tasks.contract import Prediction, Problem
from evalkit.tasks.layouts import FileRow, RowError, lmms_reply, object_rows, take_rows
from evalkit.tasks.replies import matched, read_reply, read_runs, require_format
from evalkit.tasks.scoring import ABSENT
from evalkit.tasks.sniff import sniff
from evalkit_tasks.videomme.annotations import VideoMmeRow, read_annotations
from evalkit_tasks.videomme.data import question_tags
from evalkit_tasks.videomme.prompts import LETTERS
from evalkit_tasks.videomme.published import DURATIONS, QUESTIONS, published_duration, published_ids

__all__ = ["FORMATS", "UNKNOWN_LABELS", "against_published", "known_questions", "read_predictions"]

FORMATS = ("official", "livecc", "lmms-eval", "evalkit")

UNKNOWN_LABELS = "unlabelled"
"""Value of the absent tag's companion: the file does not tell the question's task type and domain."""

_STRING_OR_COMMA = re.compile(r'"(?:[^"\\]|\\.)*"|,(?=\s*[\]}])')
_LMMS_SCORE = "videomme_perception_score"
_LMMS_LABELS = {
    "task": "task_category",
    "duration": "duration",
    "domain": "category",
    "sub_category": "sub_category",
}
_OLD_NAMES = {"duration": "duration_category", "domain": "video_category", "sub_category": "video_subcategory"}


def known_questions(data: Path) -> dict[str, Prediction]:
    """Return the questions of the data by id, as predictions without a reply."""
    return {row.question_id: _question(row) for row in read_annotations(data).rows}


def _question(row: VideoMmeRow) -> Prediction:
    return Prediction(
        id=row.question_id,
        task=row.task_type,
        response=None,
        gold=row.answer,
        kind="choice",
        choices=tuple(row.options),
        cluster=row.video_id,
        tags=question_tags(row),
    )


def read_predictions(
    format: str, paths: Sequence[Path], data: Path | None
) -> tuple[list[Prediction], list[Problem]]:
    """Read prediction files.

    Args:
        format: ``official`` (a list of videos whose questions have a ``response``), ``livecc`` (the same,
            every response the text of an option), ``lmms-eval`` (a samples file) or ``evalkit`` (run folders).
        paths: Files or folders of one model.
        data: Data folder. Without it, a file whose ids and durations are the published ones is held against
            the published 2,700 questions; any other file is taken as whole.

    Raises:
        DataError: A file cannot be read or is of another layout or other data.
        UsageError: Unknown format, or no path.
    """
    require_format("videomme", format, FORMATS, paths)
    if format == "evalkit":
        runs = read_runs("videomme", paths)
        if data is None:
            return runs.predictions, runs.problems
        predictions, more = matched(runs.predictions, runs.asked(known_questions(data)), data)
        return predictions, runs.problems + more
    if format == "lmms-eval":
        found, problems = _lmms_files(paths)
    else:
        found, problems = _official_files(paths, livecc=format == "livecc")
    if data is None:
        predictions, more = against_published(found)
    else:
        predictions, more = matched(found, known_questions(data), data)
    return predictions, problems + more


def _official_files(paths: Sequence[Path], *, livecc: bool) -> tuple[list[Prediction], list[Problem]]:
    predictions: list[Prediction] = []
    problems: list[Problem] = []
    for path in paths:
        videos = _decode(path, problems)
        if not isinstance(videos, list):
            _refuse(path)
        if videos and not any(isinstance(video, dict) and "questions" in video for video in videos):
            _refuse(path)
        for index, video in enumerate(videos, start=1):
            if not isinstance(video, dict):
                problems.append(Problem("bad-row", "not an object", path.name, index))
                continue
            found, faults = _video(video, path.name, index, livecc=livecc)
            predictions += found
            problems += faults
        if not videos:
            problems.append(Problem("empty-file", "an empty list: nothing was merged into it", path.name))
    return predictions, problems


def _lmms_files(paths: Sequence[Path]) -> tuple[list[Prediction], list[Problem]]:
    problems: list[Problem] = []
    rows = [row for path in paths for row in object_rows(path, problems)]
    predictions = take_rows(rows, _lmms_row, problems)
    if not predictions:
        names = ", ".join(path.name for path in paths)
        raise DataError(f"{names}: no row of lmms-eval's videomme samples", path=paths[0])
    return predictions, problems


def _lmms_row(row: FileRow) -> tuple[Prediction, list[Problem]]:
    """Return the reply of a row; the score logged beside it names the question (``videomme_process_results``)."""
    scores = (
        value for key, value in row.content.items() if key.startswith("videomme") and isinstance(value, dict)
    )
    logged = next(scores, None)
    if logged is None:
        raise RowError(_LMMS_SCORE, "is missing: this is no row of videomme")
    id_ = logged.get("question_id")
    if not isinstance(id_, str) or not id_:
        raise RowError(f"{_LMMS_SCORE}.question_id", f"{id_!r:.40} is no question id")
    found = {name: logged.get(key) for name, key in _LMMS_LABELS.items()}
    for name, value in found.items():
        if not isinstance(value, str) or not value:
            raise RowError(f"{_LMMS_SCORE}.{_LMMS_LABELS[name]}", f"{value!r:.40} is no text", id_)
    if found["duration"] not in DURATIONS:
        raise RowError(f"{_LMMS_SCORE}.duration", f"{found['duration']!r:.40} is no duration", id_)
    gold = logged.get("answer")
    if gold not in tuple(LETTERS):
        raise RowError(f"{_LMMS_SCORE}.answer", f"{gold!r:.40} is none of A, B, C, D", id_)
    reply, problems = lmms_reply(row, id_)
    labels = {name: str(value) for name, value in found.items()}
    task = labels.pop("task")
    return Prediction(id_, task, reply, gold, "choice", cluster=id_.rpartition("-")[0], tags=labels), problems


def _refuse(path: Path) -> None:
    other = sniff(path)
    if other not in (None, "videomme"):
        raise DataError(f"{path} is a file of {other}, not videomme; use --task {other}", path=path)
    raise DataError(f"{path} is no Video-MME result file: it must be a list of videos with questions", path=path)


def _decode(path: Path, problems: list[Problem]) -> Any:
    text = read_text(path)
    try:
        return decode_json(text)
    except NotJsonError as error:
        mended = _STRING_OR_COMMA.sub(lambda match: "" if match[0] == "," else match[0], text)
        try:
            content = decode_json(mended)
        except NotJsonError:
            raise DataError(f"{path} is not valid JSON ({error})", path=path) from error
    problems.append(Problem("trailing-comma", "commas before a closing bracket were left out", path.name))
    return content


def _video(
    video: Mapping[str, Any], file: str, index: int, *, livecc: bool
) -> tuple[list[Prediction], list[Problem]]:
    name = video.get("video_id")
    tags = {field: video.get(field, video.get(old)) for field, old in _OLD_NAMES.items()}
    for field, value in (("video_id", name), *tags.items()):
        if not isinstance(value, str) or not value:
            return [], [Problem("bad-row", f"{value!r:.40} is no {field}", file, index, field)]
    if tags["duration"] not in DURATIONS:
        message = f"{tags['duration']!r:.40} is none of {', '.join(DURATIONS)}"
        return [], [Problem("bad-row", message, file, index, "duration", name)]
    questions = video.get("questions")
    if not isinstance(questions, list):
        return [], [Problem("bad-row", "no list of questions", file, index, "questions", name)]
    predictions, problems = [], []
    for place, question in enumerate(questions):
        fault = _question_fault(question)
        if fault is not None:
            field, message = fault
            item = question.get("question_id") if isinstance(question, dict) else None
            where = f"questions.{place}.{field}" if field else f"questions.{place}"
            problems.append(
                Problem("bad-row", message, file, index, where, item if isinstance(item, str) else name)
            )
            continue
        id_ = question["question_id"]
        options = tuple(question.get("options", question.get("choices", ())))
        where = f"questions.{place}.response"
        reply, faults = read_reply(question.get("response"), file=file, line=index, field=where, item=id_)
        problems += faults
        if livecc and reply is not None and reply not in options:
            problems.append(Problem("not-an-option", "the response is no option's text", file, index, where, id_))
        predictions.append(
            Prediction(
                id=id_,
                task=question["task_type"],
                response=reply,
                gold=question["answer"],
                kind="choice",
                choices=options,
                cluster=str(name),
                tags={key: str(value) for key, value in tags.items()},
            )
        )
    return predictions, problems


def _question_fault(question: Any) -> tuple[str, str] | None:
    """Return field and message of the first fault of a question; ``None`` where there is none."""
    if not isinstance(question, dict):
        return "", "not an object"
    for field in ("question_id", "task_type"):
        if not isinstance(question.get(field), str) or not question[field]:
            return field, f"{question.get(field)!r:.40} is no {field}"
    if not isinstance(question.get("answer"), str) or question["answer"] not in tuple(LETTERS):
        return "answer", f"{question.get('answer')!r:.40} is none of A, B, C, D"
    options = question.get("options", question.get("choices", []))
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        return "options", "not a list of texts"
    return None


def against_published(found: Sequence[Prediction]) -> tuple[list[Prediction], list[Problem]]:
    """Add stand-ins for the published questions that a file of the published set lacks.

    Args:
        found: Predictions of a file or run; left as they are unless every id and duration is a published one.
    """
    published = bool(found) and all(published_duration(p.id) == p.tags.get("duration") for p in found)
    if not published:
        return list(found), []
    have = {prediction.id for prediction in found}
    videos = {prediction.cluster for prediction in found}
    missing = [id_ for id_ in published_ids() if id_ not in have]
    stand_ins = [
        Prediction(
            id=id_,
            task="",
            response=None,
            gold="",
            kind="choice",
            cluster=id_[:3],
            tags={
                "duration": published_duration(id_) or "",
                ABSENT: "question" if id_[:3] in videos else "video",
                UNKNOWN_LABELS: "yes",
            },
        )
        for id_ in missing
    ]
    if not missing:
        return list(found), []
    message = f"{len(missing):,} of the published {QUESTIONS:,} questions have no row; wrong in strict"
    return [*found, *stand_ins], [Problem("missing", message, item=missing[0])]
