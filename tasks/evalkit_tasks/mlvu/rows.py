"""MLVU's rows: its own JSON files, lmms-eval's rows, the test set, and the two open tasks."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from pydantic import Field, model_validator

from evalkit.tasks.choice import NO_OPTION, ChoiceQuestion, ChoiceRow
from evalkit.tasks.rows import inside

__all__ = ["MlvuRow", "task_name"]

_LETTERS = "ABCDEF"
_NAMES = {"findNeedle": "needle", "needleQA": "needle"}


def task_name(name: str) -> str:
    """Return a sub-task's name: the dev file's ``findNeedle`` and the test set's ``needleQA`` are ``needle``."""
    return _NAMES.get(name, name)


class MlvuRow(ChoiceRow):
    """One question, from any of the published forms.

    Choice questions have ``candidates``, open ones have none. ``answer`` is the gold option's text, or its letter
    in lmms-eval's rows (they have a ``question_id`` and the options within the question), or missing (test).
    """

    video: str = Field(min_length=1)
    duration: float | None = Field(default=None, gt=0)
    asked: str = Field(min_length=1, alias="question")
    candidates: tuple[str, ...] = Field(default=(), max_length=6)
    answer: str | None = None
    task: str = Field(min_length=1)
    question_id: str | None = None
    scoring_points: tuple[str, ...] = ()
    lettered_gold: bool = False

    @model_validator(mode="before")
    @classmethod
    def _fold(cls, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        given = {
            "video": row.get("video", row.get("video_name")),
            "task": row.get("question_type", row.get("task_type")),
        }
        if "choices" in row:  # ReKV's layout, whose paths are of somebody's machine
            path = row.get("video_path")
            given["video"] = PurePosixPath(path).name if isinstance(path, str) else None
            given["candidates"] = tuple(row["choices"]) if isinstance(row["choices"], list) else row["choices"]
        for name in ("candidates", "scoring_points"):
            if isinstance(row.get(name), list):
                given[name] = tuple(row[name])
        return {**row, **given, "lettered_gold": "video_name" in row}

    def question(self, index: int) -> ChoiceQuestion:
        """Return the question; without an id in the file, it is the sub-task and the place in its file, from 0."""
        task = task_name(self.task)
        # The row's question of lmms-eval lists the options already.
        text = self.asked.split("\n(A) ", 1)[0] if self.lettered_gold else self.asked
        tags = {"scoring_points": "\n".join(self.scoring_points)} if self.scoring_points else {}
        if not self.candidates:
            tags["question"] = text  # which the judge of the generation tasks is shown
        return ChoiceQuestion(
            id=self.question_id or f"{task}_{index}",
            video=inside(self.video),
            text=text,
            options=self.candidates,
            gold=self._gold() if self.candidates else self.answer,
            task=task,
            end=self.duration,
            tags=tags,
            kind="choice" if self.candidates else "open",
        )

    def _gold(self) -> str | None:
        """Return the gold letter: of options with its text the last one, as MLVU's own code takes it."""
        if self.answer is None:
            return None
        if self.lettered_gold:
            return self.answer if self.answer in tuple(_LETTERS[: len(self.candidates)]) else NO_OPTION
        same = [place for place, text in enumerate(self.candidates) if text == self.answer]
        return _LETTERS[same[-1]] if same else NO_OPTION
