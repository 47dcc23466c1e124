"""A multiple-choice benchmark's annotation files as one list of checked questions."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from evalkit.stream import QueryKind
from evalkit.tasks.contract import Prediction, Problem
from evalkit.tasks.rows import check_rows, digest_files, read_rows
from evalkit.tasks.scoring import EXPECTED, HIDDEN_GOLD

__all__ = ["LABELS", "NO_OPTION", "ChoiceData", "ChoiceQuestion", "ChoiceRow", "find_files", "read_questions"]

NO_OPTION = "@"
"""Gold of a question whose gold is none of its options: no reply can be right."""

LABELS = "labels"
"""Tag with the groups a question belongs to besides its sub-task, one a line."""


@dataclass(frozen=True, slots=True)
class ChoiceQuestion:
    """One question of a benchmark.

    Args:
        id: Unique within the benchmark.
        video: File name, or path below the data folder.
        text: The question, without its options.
        options: Option texts without letters, in letter order; empty for ``open`` questions.
        gold: Gold letter, ``NO_OPTION`` where it is none of the options, ``None`` where it is hidden; for ``open``
            questions the reference text.
        task: Sub-task, in the benchmark's own word.
        cluster: What questions are not independent within; the video where empty.
        start: First media second shown.
        end: Media second of the question; ``None`` for the end of the video.
        labels: Groups it belongs to besides its sub-task.
        tags: What else a scorer or judge needs.
        kind: ``choice``, or ``open``.
    """

    id: str
    video: str
    text: str
    options: tuple[str, ...]
    gold: str | None
    task: str
    cluster: str = ""
    start: float = 0.0
    end: float | None = None
    labels: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    kind: QueryKind = "choice"

    @property
    def all_tags(self) -> dict[str, str]:
        """What goes on record with the question."""
        labels = {LABELS: "\n".join(self.labels)} if self.labels else {}
        return {"task": self.task, **labels, **self.tags}

    def unanswered(self, expected: int | None = None) -> Prediction:
        """Return the question as a prediction without a reply.

        Args:
            expected: Questions its sub-task has, where that is known.
        """
        tags = self.all_tags
        if self.gold is None:
            tags[HIDDEN_GOLD] = "yes"
        if expected is not None:
            tags[EXPECTED] = str(expected)
        cluster = self.cluster or self.video
        return Prediction(self.id, self.task, None, self.gold or "", self.kind, self.options, cluster, tags)


class ChoiceRow(BaseModel):
    """Base of a benchmark's row schema: fields and validators are the schema, `question` gives them meaning."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)

    def question(self, index: int) -> ChoiceQuestion:
        """Return the question.

        Args:
            index: Place of the row in its file, from 0.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class ChoiceData:
    """Annotation files read and checked.

    Args:
        files: The files.
        total: Rows in them, bad ones included.
        questions: Good ones, in the files' order.
        problems: What was mended, refused or is known to be wrong.
        revision: SHA-256 of the files.
        version: Which published version it is, or that it is none.
    """

    files: tuple[Path, ...]
    total: int
    questions: tuple[ChoiceQuestion, ...]
    problems: tuple[Problem, ...]
    revision: str
    version: str = ""

    def counts(self) -> dict[str, int]:
        """Return questions by sub-task, in the order of first appearance."""
        found: dict[str, int] = {}
        for question in self.questions:
            found[question.task] = found.get(question.task, 0) + 1
        return found

    def known(self) -> dict[str, Prediction]:
        """Return the questions by id, as predictions without a reply."""
        counts = self.counts()
        return {question.id: question.unanswered(counts[question.task]) for question in self.questions}


def find_files(data: Path, places: Sequence[str]) -> list[Path]:
    """Return the files below a folder that the first fitting place names; a file given as data is itself.

    Args:
        data: Folder or file.
        places: Glob patterns, in order of preference.
    """
    if data.is_file():
        return [data]
    return next((found for place in places if (found := sorted(data.glob(place)))), [])


def read_questions(files: Sequence[Path], row: type[ChoiceRow]) -> ChoiceData:
    """Read and check annotation files, rows one by one.

    A second row with an id is left out; the same question on the same video, options with the same text and a gold
    that is no option are named and kept.

    Args:
        files: JSON (a list), JSON Lines or parquet files.
        row: Schema of a row.

    Raises:
        DataError: A file cannot be read.
    """
    questions: dict[str, ChoiceQuestion] = {}
    problems: list[Problem] = []
    asked: dict[tuple[str, str, tuple[str, ...]], str] = {}
    total = 0
    for file in files:
        rows = list(_flat(read_rows(file)))
        total += len(rows)
        good, bad = check_rows(rows, row, file.name)
        problems += bad
        for line, checked in good:
            try:
                found = checked.question(line - 1)
            except ValueError as error:  # what a schema's fields cannot see, such as a path that leaves the folder
                problems.append(Problem("bad-row", str(error), file.name, line))
                continue
            if found.id in questions:
                message = f"question {found.id} stands in the files already; this row is left out"
                problems.append(Problem("duplicate", message, file.name, line, item=found.id))
                continue
            questions[found.id] = found
            key = (found.video, found.text, found.options)
            if key in asked:
                message = f"the same question and options as {asked[key]}; both are kept"
                problems.append(Problem("duplicate-question", message, file.name, line, "question", found.id))
            asked.setdefault(key, found.id)
            problems += _faults(found, file.name, line)
    return ChoiceData(tuple(files), total, tuple(questions.values()), tuple(problems), digest_files(files))


def _flat(rows: Sequence[Any]) -> Iterator[Any]:
    """Yield rows, those of ReKV's layout (a video with its ``conversations``) as one row a question."""
    for row in rows:
        asked = row.get("conversations") if isinstance(row, dict) else None
        if not isinstance(asked, list):
            yield row
            continue
        video = {key: value for key, value in row.items() if key != "conversations"}
        yield from ({**video, **one} if isinstance(one, dict) else one for one in asked)


def _faults(found: ChoiceQuestion, file: str, line: int) -> list[Problem]:
    """Name what is odd about a question that stays."""
    if found.kind != "choice":
        return []
    problems = []
    letters = string.ascii_uppercase[: len(found.options)]
    if found.gold is not None and found.gold not in tuple(letters):
        message = "the gold is none of the options: no reply can be right"
        problems.append(Problem("gold-no-option", message, file, line, "answer", found.id))
    doubled = [
        letter for letter, text in zip(letters, found.options, strict=False) if found.options.count(text) > 1
    ]
    if doubled:
        gold = f"; the gold is {found.gold}" if found.gold in doubled else ""
        message = f"options {' and '.join(doubled)} have the same text{gold}"
        problems.append(Problem("known-fault", message, file, line, "options", found.id))
    return problems
