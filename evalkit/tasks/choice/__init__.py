"""What multiple-choice benchmarks share: rows to questions, samples, prediction files, scores (no torch).

A benchmark is a schema, its prompts and a scoring rule; see docs/adding-a-task.md for a whole one in one file.
"""

from evalkit.tasks.choice.questions import (
    NO_OPTION,
    ChoiceData,
    ChoiceQuestion,
    ChoiceRow,
    find_files,
    read_questions,
)
from evalkit.tasks.choice.samples import ChoicePrompt, ChoiceSettings, lettered
from evalkit.tasks.choice.scoring import ChoiceRule, score_choices
from evalkit.tasks.choice.task import ChoiceLayout, ChoiceTask

__all__ = [
    "NO_OPTION",
    "ChoiceData",
    "ChoiceLayout",
    "ChoicePrompt",
    "ChoiceQuestion",
    "ChoiceRow",
    "ChoiceRule",
    "ChoiceSettings",
    "ChoiceTask",
    "find_files",
    "lettered",
    "read_questions",
    "score_choices",
]
