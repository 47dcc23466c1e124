"""Prediction files of OVO-Bench as people have them: official result folders and the logit protocol's lists."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from evalkit.errors import DataError
from evalkit.records import real_number
from evalkit.tasks.contract import Prediction, Problem
from evalkit.tasks.layouts import object_rows
from evalkit.tasks.replies import read_reply, read_runs, require_format
from evalkit.tasks.rows import read_json
from evalkit.tasks.scoring import ABSENT, EXPECTED
from evalkit.tasks.sniff import sniff
from evalkit_tasks.ovobench.annotations import read_annotations
from evalkit_tasks.ovobench.published import BACKWARD, FORWARD, NOMINAL, REALTIME, published_ids, task_of

__all__ = ["FORMATS", "LIST_VALUE", "UNKNOWN", "read_lmms", "read_logit", "read_official", "read_predictions"]

LIST_VALUE = "list"
"""Tag with the JSON of a list-valued reply, which the official rule compares by membership."""

FORMATS = ("official", "logit", "livecc", "lmms-eval", "evalkit")

UNKNOWN = "unknown"
"""Tag of a prediction whose id the data does not have; only the official rule counts it."""

_LETTER = re.compile(r"[A-E]")
_LONGEST_ID = 9
_SECTIONS = ("backward", "realtime", "forward")
Kind = Literal["choice", "count", "yes-no"]


@dataclass(frozen=True, slots=True)
class _Known:
    """A question that predictions are checked against; gold and options only where the data is given."""

    task: str
    gold: str | None = None
    choices: tuple[str, ...] = ()
    cluster: str = ""


@dataclass(slots=True)
class _Reading:
    """Predictions and problems as the files are gone through."""

    known: Mapping[str, _Known]
    expected: Mapping[str, int]
    predictions: list[Prediction]
    problems: list[Problem]
    conflicts: Counter[str]

    def add(self, found: Prediction, file: str, line: int) -> None:
        """Take a prediction; check its id, sub-task and gold against the data."""
        question = self.known.get(found.id)
        tags = {**found.tags, EXPECTED: str(self.expected.get(found.task, 0))}
        if question is None or question.task != found.task:
            what = "does not exist" if question is None else f"is of {question.task}, not {found.task}"
            self.problems.append(Problem("unknown-id", f"question {found.id} {what}", file, line, "id", found.id))
            self.predictions.append(replace(found, tags={**tags, UNKNOWN: "1"}))
            return
        if question.gold is not None and question.gold != found.gold:
            self.conflicts[file] += 1
            tags["file_gold"] = found.gold
        gold = found.gold if question.gold is None else question.gold
        cluster = question.cluster or found.cluster
        self.predictions.append(replace(found, gold=gold, choices=question.choices, cluster=cluster, tags=tags))


def read_official(paths: Sequence[Path], data: Path | None) -> tuple[list[Prediction], list[Problem]]:
    """Read a model's result folder (or single files): every JSON file, duplicates kept.

    Source of the layout: OVO-Bench ``utils/OVOBench.py`` and ``score.py``.

    Raises:
        DataError: No file could be read, or they are another benchmark's.
    """
    reading = _start(data)
    for file, content in _contents(paths, reading):
        if not isinstance(content, dict) or not any(section in content for section in _SECTIONS):
            _refuse_layout(file, content, reading, "an object with backward, realtime and forward")
            continue
        for section in _SECTIONS:
            rows = content.get(section, [])
            if not isinstance(rows, list):
                message = "must be a list of records"
                reading.problems.append(Problem("bad-row", message, file.name, field=section))
                continue
            for line, row in enumerate(rows, start=1):
                for found in _official_row(row, section, file.name, line, reading):
                    reading.add(found, file.name, line)
    return _finish(reading)


def read_logit(paths: Sequence[Path], data: Path | None) -> tuple[list[Prediction], list[Problem]]:
    """Read the lists that the logit protocol writes; the probes of a record follow each other under its id.

    Source of the layout: LiveCC ``evaluation/ovobench/distributed_evaluate_ovobench.py``.

    Raises:
        DataError: No file could be read, or they are another benchmark's.
    """
    reading = _start(data)
    for file, content in _contents(paths, reading):
        if not isinstance(content, list):
            _refuse_layout(file, content, reading, "a list of records with id, task, answer and response")
            continue
        if not content:
            reading.problems.append(Problem("empty-file", "the list is empty: nothing was merged", file.name))
        seen: Counter[int] = Counter()
        for line, row in enumerate(content, start=1):
            found = _logit_row(row, seen, file.name, line, reading)
            if found is not None:
                reading.add(found, file.name, line)
    return _finish(reading)


def read_lmms(paths: Sequence[Path], data: Path | None) -> tuple[list[Prediction], list[Problem]]:
    """Read lmms-eval's samples of ``ovo_backward``, ``ovo_realtime`` and ``ovo_forward``.

    Source of the layout: lmms-eval ``tasks/ovobench/utils.py`` (75571cf): ``back_real_acc`` is a row of the
    official result file, ``forward_acc`` its record with a response in each probe.

    Raises:
        DataError: No file could be read, or none holds such a row.
    """
    reading = _start(data)
    for path in paths:
        for row in object_rows(path, reading.problems):
            content = row.content if isinstance(row.content, Mapping) else {}
            section = "forward" if "forward_acc" in content else "backward"
            record = content.get("forward_acc", content.get("back_real_acc"))
            if record is None:
                _bad(reading, row.file, row.line, None, None, "has neither back_real_acc nor forward_acc")
                continue
            for found in _official_row(record, section, row.file, row.line, reading):
                reading.add(found, row.file, row.line)
    if not reading.predictions:
        names = ", ".join(path.name for path in paths)
        raise DataError(f"{names}: no row of lmms-eval's ovobench samples (back_real_acc or forward_acc)")
    return _finish(reading)


def _start(data: Path | None) -> _Reading:
    if data is None:
        known = {id_: _Known(task) for id_, task in published_ids().items()}
        return _Reading(known, NOMINAL, [], [], Counter())
    notes = read_annotations(data)
    known = {
        question.id: _Known(question.row.task, question.gold, tuple(question.row.options), question.row.video)
        for question in notes.questions()
    }
    return _Reading(known, notes.counts(), [], [], Counter())


def _contents(paths: Sequence[Path], reading: _Reading) -> Iterator[tuple[Path, Any]]:
    """Yield the decoded files; a file that cannot be read becomes a problem."""
    for path in paths:
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not files:
            raise DataError(f"{path} holds no JSON file of predictions", path=path)
        for file in files:
            try:
                content = read_json(file)
            except DataError as error:
                reading.problems.append(Problem("unreadable-file", str(error), file.name))
            else:
                yield file, content


def _refuse_layout(file: Path, content: Any, reading: _Reading, wanted: str) -> None:
    if content == []:
        reading.problems.append(Problem("empty-file", "the list is empty: nothing was merged", file.name))
        return
    other = sniff(file)
    whose = f"; it looks like {other} data" if other not in (None, "ovobench") else ""
    reading.problems.append(Problem("wrong-layout", f"is not {wanted}{whose}", file.name))


def _finish(reading: _Reading) -> tuple[list[Prediction], list[Problem]]:
    """Add what the files do not answer, and refuse where nothing could be read."""
    fatal = [problem for problem in reading.problems if problem.kind in ("unreadable-file", "wrong-layout")]
    if not reading.predictions and fatal:
        first = fatal[0]
        message = first.message if first.kind == "unreadable-file" else f"{first.file} {first.message}"
        raise DataError(message, path=first.file)
    for file, count in reading.conflicts.items():
        message = f"{count} golds differ from the data: predictions of another version; the data's count"
        reading.problems.append(Problem("other-version", message, file))
    if reading.predictions and all(UNKNOWN in found.tags for found in reading.predictions):
        raise DataError(
            f"none of the {len(reading.predictions)} questions predicted is in the data: predictions of another "
            "version; give the annotation file they were made with"
        )
    answered = {found.id for found in reading.predictions}
    tasks = {found.task for found in reading.predictions if UNKNOWN not in found.tags}
    for id_, question in reading.known.items():
        if question.task in tasks and id_ not in answered:
            tags = {ABSENT: "1", EXPECTED: str(reading.expected[question.task])}
            kind = _kind(question.task)
            gold = question.gold or ""
            reading.predictions.append(
                Prediction(id_, question.task, None, gold, kind, question.choices, question.cluster, tags)
            )
    return reading.predictions, reading.problems


def _kind(task: str) -> Kind:
    return "count" if task == "REC" else "yes-no" if task in FORWARD else "choice"


def _official_row(row: Any, section: str, file: str, line: int, reading: _Reading) -> Iterable[Prediction]:
    record = _record(row, file, line, reading)
    if record is None:
        return
    id_, task = record
    if section != "forward":
        gold = row.get("ground_truth")
        if task not in BACKWARD + REALTIME or not isinstance(gold, str) or not _LETTER.fullmatch(gold):
            _bad(reading, file, line, "ground_truth", str(id_), "must be a letter A to E of a choice question")
            return
        response, tags = _response(row, file, line, str(id_), reading)
        yield Prediction(str(id_), task, response, gold, "choice", (), str(row.get("video", "")), tags)
        return
    probes = row.get("test_info")
    if task not in FORWARD or not isinstance(probes, list):
        _bad(reading, file, line, "test_info", str(id_), "must be the list of probes of a forward task")
        return
    for index, probe in enumerate(probes):
        gold = _probe_gold(task, probe)
        if gold is None:
            _bad(reading, file, line, f"test_info.{index}", str(id_), "must have a count, or a type 0 or 1")
            continue
        probe_id = f"{id_}_{index}"
        response, tags = _response(probe, file, line, probe_id, reading)
        yield Prediction(probe_id, task, response, gold, _kind(task), (), str(row.get("video", "")), tags)


def _record(row: Any, file: str, line: int, reading: _Reading) -> tuple[int, str] | None:
    """Return a row's id and sub-task, or name what is wrong with it."""
    if not isinstance(row, dict):
        _bad(reading, file, line, None, None, "must be an object")
        return None
    id_, task = row.get("id"), row.get("task")
    if not isinstance(id_, int) or isinstance(id_, bool):
        _bad(reading, file, line, "id", None, f"must be a whole number (it is {id_!r:.80})")
        return None
    if not isinstance(task, str) or task not in NOMINAL:
        hint = task_of(id_)
        _bad(reading, file, line, "task", str(id_), f"must be a sub-task (it is {task!r:.80}; id {id_} is {hint})")
        return None
    return id_, task


def _probe_gold(task: str, probe: Any) -> str | None:
    if not isinstance(probe, dict):
        return None
    value = probe.get("count" if task == "REC" else "type")
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    if task == "REC":
        return str(value)
    return ("No", "Yes")[value] if value in (0, 1) else None


def _response(
    row: Mapping[str, Any], file: str, line: int, item: str, reading: _Reading
) -> tuple[str | None, dict[str, str]]:
    """Return a row's reply as text, with a tag where the file holds a list."""
    if "response" not in row:
        _bad(reading, file, line, "response", item, "is missing; counted as no answer")
        return None, {}
    value = row["response"]
    if value is None or isinstance(value, str):
        reading.problems += read_reply(value, file=file, line=line, field="response", item=item)[1]
        return value, {}
    if isinstance(value, list):
        only = value[0] if len(value) == 1 and isinstance(value[0], str) else None
        message = "reply is a list; the official rule compares its elements" + (
            "" if only else ", strictly no answer"
        )
        reading.problems.append(Problem("list-reply", message, file, line, "response", item))
        return only, {LIST_VALUE: json.dumps(value)}
    if real_number(value) is not None:
        reading.problems.append(
            Problem("not-text", f"reply is the number {value!r:.40}", file, line, "response", item)
        )
        return str(value), {}
    _bad(reading, file, line, "response", item, f"must be text (it is {value!r:.80}); counted as no answer")
    return None, {}


def _logit_row(row: Any, seen: Counter[int], file: str, line: int, reading: _Reading) -> Prediction | None:
    if (
        isinstance(row, dict)
        and isinstance(id_ := row.get("id"), str)
        and id_.isdecimal()
        and len(id_) < _LONGEST_ID
    ):
        row = {**row, "id": int(id_)}  # as other people's result files have it
    record = _record(row, file, line, reading)
    if record is None:
        return None
    id_, task = record
    query = str(id_)
    if task in FORWARD:  # the probes of a record stand in order, a bad one among them
        query = f"{id_}_{seen[id_]}"
        seen[id_] += 1
    gold = row.get("answer")
    if not isinstance(gold, str) or not gold:
        _bad(reading, file, line, "answer", query, "must be the gold as text")
        return None
    if task not in FORWARD and not _LETTER.fullmatch(gold) and gold not in (row.get("options") or ()):
        message = f"the gold {gold!r:.40} is none of the options: no reply can be right"
        reading.problems.append(Problem("gold-no-option", message, file, line, "answer", query))
    response, tags = _response(row, file, line, query, reading)
    return Prediction(query, task, response, gold, _kind(task), (), str(row.get("video", "")), tags)


def _bad(reading: _Reading, file: str, line: int, field: str | None, item: str | None, message: str) -> None:
    reading.problems.append(Problem("bad-row", message, file, line, field, item))


def read_predictions(
    format: str, paths: Sequence[Path], data: Path | None
) -> tuple[list[Prediction], list[Problem]]:
    """Read prediction files.

    Args:
        format: ``official`` (a model's result files), ``logit`` or ``livecc`` (the list that LiveCC's logit script
            writes), ``lmms-eval`` (samples files) or ``evalkit`` (run folders).
        paths: Files or folders of one model.
        data: Data folder; with it, gold answers and options are checked too.

    Raises:
        UsageError: No such format.
        DataError: No file could be read.
    """
    require_format("ovobench", format, FORMATS, paths)
    if format == "official":
        return read_official(paths, data)
    if format in ("logit", "livecc"):
        return read_logit(paths, data)
    if format == "lmms-eval":
        return read_lmms(paths, data)
    runs = read_runs("ovobench", paths)
    return runs.predictions, runs.problems
