"""The answers of a run as what its benchmark scores: replies to questions, or when something was said."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.records import AnswerRecord
from evalkit.tasks.contract import Prediction, RubricTask, Task, UtteranceTask
from evalkit.tasks.scoring import from_records

__all__ = ["run_predictions"]


def run_predictions(
    task: Task | None, answers: Sequence[AnswerRecord], *, hidden_gold: bool = False
) -> list[Prediction]:
    """Return what a benchmark scores of a run; nothing where a judge has to.

    Args:
        task: The benchmark, ``None`` where it is not installed.
        answers: The run's answers.
        hidden_gold: Take answers without gold too.
    """
    if isinstance(task, UtteranceTask):
        return task.utterance_predictions(answers)
    found = from_records(answers, hidden_gold=hidden_gold)
    if isinstance(task, RubricTask):
        return [one for one in found if not (one.kind == "open" and one.task in task.rubrics)]
    return found
