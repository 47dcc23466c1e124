"""Prediction files of StreamingBench: annotation files with one more key, which holds the model's answer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.errors import DataError
from evalkit.records import real_number
from evalkit.tasks.contract import Prediction, Problem
from evalkit.tasks.replies import read_runs, require_format
from evalkit.tasks.rows import read_json
from evalkit.tasks.scoring import ABSENT, EXPECTED, absent
from evalkit.tasks.sniff import sniff
from evalkit_tasks.streamingbench.annotations import SbQuestion, find_files, flatten, read_files, read_question
from evalkit_tasks.streamingbench.published import CSV_COUNTS, JSON_COUNTS, group_of
from evalkit_tasks.streamingbench.videos import bare_name

__all__ = [
    "EMPTY",
    "FORMATS",
    "HISTORY",
    "LIST_VALUE",
    "UNKNOWN",
    "drop_covered",
    "read_answers",
    "read_predictions",
]

FORMATS = ("official", "stc", "evalkit")

UNKNOWN = "unknown"
"""Tag of a prediction whose question the data does not have; only the official rule counts it."""

HISTORY = "history"
"""Tag with the JSON list ``[[second, reply], ...]`` of a proactive question's assistant turns."""

LIST_VALUE = "list"
"""Tag of a reply that the file holds as a list; its first element is the reply."""

EMPTY = "empty"
"""Tag of an empty reply, on which the official script stops."""

_KEYS = frozenset(
    {
        "task_type",
        "question",
        "time_stamp",
        "answer",
        "options",
        "required_ability",
        "cause",
        "effect",
        "audio_path",
    }
    | {"time", "video_path", "video_categories", "captions", "ground_truth_time_stamp", "ground_truth_output"}
    | {"question_id", "frames_required", "temporal_clue_type"}
)
_VALUES_SHOWN = 80


@dataclass(slots=True)
class _Reading:
    """Predictions and problems as the files are gone through."""

    known: Mapping[str, SbQuestion] | None
    expected: Mapping[str, int]
    predictions: list[Prediction]
    problems: list[Problem]
    model: tuple[str, Path] | None = None
    """The key of the first replies found, and their file."""


def read_answers(paths: Sequence[Path], data: Path | None) -> tuple[list[Prediction], list[Problem]]:
    """Read answer files (or folders of them); a question without the model's key is an unanswered one.

    Source of the layout: StreamingBench ``src/benchmark/*.py`` and STC's copies, which write the annotation file
    back with the reply under the model's name.

    Args:
        paths: Files or folders.
        data: Annotations to check questions and gold against, if given.

    Raises:
        DataError: No file could be read, they are another benchmark's, or they hold several models' answers.
    """
    reading = _start(data)
    for file in _files(paths):
        try:
            content = read_json(file)
        except DataError as error:
            reading.problems.append(Problem("unreadable-file", str(error), file.name))
            continue
        if not isinstance(content, list):
            _wrong_layout(file, reading)
        elif not content:
            reading.problems.append(Problem("empty-file", "the list is empty: nothing was merged", file.name))
        else:
            _read_file(file, content, reading)
    return _finish(reading)


def _start(data: Path | None) -> _Reading:
    if data is None:
        return _Reading(None, {}, [], [])
    bench = read_files(find_files(data))
    counts = Counter(question.task for question in bench.questions)
    return _Reading({question.id: question for question in bench.questions}, counts, [], [])


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not files:
            raise DataError(f"{path} holds no JSON file of predictions", path=path)
        yield from files


def _wrong_layout(file: Path, reading: _Reading) -> None:
    other = sniff(file)
    whose = f"; it looks like {other} data" if other not in (None, "streamingbench") else ""
    message = f"is not a list of entries with questions{whose}"
    reading.problems.append(Problem("wrong-layout", message, file.name))


def _read_file(file: Path, content: list[Any], reading: _Reading) -> None:
    rows = list(flatten(content, file.name, reading.problems))
    key = _model_key(file, rows)
    if key is not None:
        known_key, known_file = reading.model = reading.model or (key, file)
        if key != known_key:
            raise DataError(
                f"{file} holds answers of {key}, {known_file} those of {known_key}: name one model's files",
                path=file,
            )
    if key is None and rows:
        message = "no question holds a model's answer: this is an annotation file, or nothing was answered"
        reading.problems.append(Problem("no-answers", message, file.name))
    conflicts = 0
    for line, row in rows:
        question = read_question(row, file.name, line, reading.problems)
        if question is None:
            continue
        found = _prediction(question, row, key, reading)
        if reading.known is not None:
            known = reading.known.get(question.id)
            if known is None:
                message = "the data has no such question (or other options)"
                reading.problems.append(Problem("unknown-id", message, file.name, line, "question", question.id))
                found = replace(found, tags={**found.tags, UNKNOWN: "1"})
            elif known.answer != question.answer or known.gold_at != question.gold_at:
                conflicts += 1
                found = replace(
                    found,
                    gold=known.answer or found.gold,
                    tags={**found.tags, "file_gold": question.answer, "gold_time": f"{known.gold_at or 0:g}"},
                )
        reading.predictions.append(found)
    if conflicts:
        message = f"{conflicts} golds differ from the data: predictions of another version; the data's count"
        reading.problems.append(Problem("other-version", message, file.name))


def _model_key(file: Path, rows: Sequence[tuple[int, Mapping[str, Any]]]) -> str | None:
    """Return the key under which the replies stand: the only one that annotation files do not have.

    Raises:
        DataError: There are several.
    """
    keys = Counter(key for _, row in rows for key in row if key not in _KEYS)
    if len(keys) > 1:
        names = ", ".join(sorted(map(str, keys)))
        raise DataError(f"{file} holds several models' answers ({names}); keep one of these keys", path=file)
    return next(iter(keys), None)


def _prediction(question: SbQuestion, row: Mapping[str, Any], key: str | None, reading: _Reading) -> Prediction:
    """Return one row's prediction; without the key it only stands for the question."""
    base = Prediction(
        id=question.id,
        task=question.task,
        response=None,
        gold=question.answer or "Yes",
        kind="proactive" if question.task == "PO" else "choice",
        choices=question.options[:4],
        cluster=bare_name(question.video),
        tags={"category": group_of(question.task)},
    )
    if question.task == "PO":
        base = replace(
            base, tags={**base.tags, "gold_time": f"{question.gold_at:g}", "gold_output": question.output}
        )
    if key is None or key not in row:
        return replace(base, tags={**base.tags, ABSENT: "1"})
    if question.task == "PO":
        return _proactive(base, row[key], question, reading)
    response, tags = _reply(row[key], question, reading)
    return replace(base, response=response, tags={**base.tags, **tags})


def _reply(value: Any, question: SbQuestion, reading: _Reading) -> tuple[str | None, dict[str, str]]:
    """Return a choice question's reply as text; a list gives its first element, as STC's scorer takes it."""
    tags: dict[str, str] = {}
    if isinstance(value, list):
        message = "reply is a list; its first element is read"
        reading.problems.append(_at(question, "list-reply", message))
        value, tags = (value[0] if value else None), {LIST_VALUE: "1"}
    if isinstance(value, str):
        return value, tags if value else {**tags, EMPTY: "1"}
    if value is not None:
        message = f"must be text (it is {value!r:.{_VALUES_SHOWN}}); counted as no answer"
        reading.problems.append(_at(question, "bad-row", message))
    return None, tags


def _at(question: SbQuestion, kind: str, message: str) -> Problem:
    return Problem(kind, message, question.file, question.line, item=question.id)


def _proactive(base: Prediction, value: Any, question: SbQuestion, reading: _Reading) -> Prediction:
    """Return a proactive question's prediction with its assistant turns in a tag."""
    history = value.get("dialog_history") if isinstance(value, Mapping) else None
    turns = [_turn(entry) for entry in history] if isinstance(history, list) else []
    replies = [turn for turn in turns if turn is not None and turn[0] != "user"]
    if not replies:
        message = "must be an object with a dialog_history of timed turns; counted as no answer"
        reading.problems.append(_at(question, "bad-row", message))
        return base
    spoken = [[second, reply] for _, second, reply in replies]
    return replace(base, response=str(spoken[-1][1]), tags={**base.tags, HISTORY: json.dumps(spoken)})


def _turn(entry: Any) -> tuple[str, float, str] | None:
    if not isinstance(entry, Mapping):
        return None
    role, second, text = entry.get("role"), entry.get("time"), entry.get("content")
    moment = real_number(second)
    if moment is None or not isinstance(role, str) or not isinstance(text, str):
        return None
    return role, moment, text


def _finish(reading: _Reading) -> tuple[list[Prediction], list[Problem]]:
    """Tag how many questions each sub-task has, add unanswered ones, refuse where nothing could be read."""
    fatal = [problem for problem in reading.problems if problem.kind in ("unreadable-file", "wrong-layout")]
    if not reading.predictions and fatal:
        first = fatal[0]
        message = first.message if first.kind == "unreadable-file" else f"{first.file} {first.message}"
        raise DataError(message, path=first.file)
    present = {found.task for found in reading.predictions if UNKNOWN not in found.tags}
    if reading.predictions and not present:
        raise DataError(
            f"none of the {len(reading.predictions)} questions predicted is in the data: predictions of another "
            "version; give the annotation files they were made with, or none"
        )
    if reading.known is not None:
        ids = {found.id for found in reading.predictions}
        reading.predictions += [
            _prediction(question, {}, None, reading)
            for question in reading.known.values()
            if question.task in present and question.id not in ids
        ]
    expected = reading.expected or _nominal(reading.predictions)
    tagged = [
        replace(found, tags={**found.tags, EXPECTED: str(expected.get(found.task, 0))})
        for found in reading.predictions
    ]
    return drop_covered(tagged), reading.problems


def _nominal(predictions: Sequence[Prediction]) -> Mapping[str, int]:
    """Return the counts of the published version that the predictions fit: JSON, unless the ids are the CSV's."""
    from_csv = bool(predictions) and all("@" not in found.id for found in predictions)
    polls = len({found.id for found in predictions if found.task == "PO"})
    counts = CSV_COUNTS if from_csv else JSON_COUNTS
    return {**counts, "PO": 250} if polls > counts["PO"] else counts


def drop_covered(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Drop stand-ins of questions that another row answers, and repeated stand-ins.

    Both occur where a merged file is read beside the parts it was merged from.
    """
    answered = {found.id for found in predictions if not absent(found)}
    kept: list[Prediction] = []
    standing: set[str] = set()
    for found in predictions:
        if absent(found):
            if found.id in answered or found.id in standing:
                continue
            standing.add(found.id)
        kept.append(found)
    return kept


def read_predictions(
    format: str, paths: Sequence[Path], data: Path | None
) -> tuple[list[Prediction], list[Problem]]:
    """Read prediction files.

    Args:
        format: ``official`` or ``stc`` (annotation files with a model's replies) or ``evalkit`` (run folders).
        paths: Files or folders of one model.
        data: Data folder; with it, gold answers and options are checked too.

    Raises:
        UsageError: No such format.
        DataError: No file could be read.
    """
    require_format("streamingbench", format, FORMATS, paths)
    if format in ("official", "stc"):
        return read_answers(paths, data)
    runs = read_runs("streamingbench", paths)
    return runs.predictions, runs.problems
