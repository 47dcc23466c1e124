"""Gold turns of a stream: what was said in the span of each, its grades, and the area under them (PAUC)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from evalkit.judge import GradeItem, Rubric, Scale
from evalkit.records import AnswerRecord, GradeRecord
from evalkit.utterances import GradedReply, Utterance, Window, pauc, utterances_of
from evalkit.utterances.area import OMEGAS

__all__ = ["TURN_RUBRIC", "GradedTurns"]

TURN_RUBRIC = Rubric(
    name="proactive-turn",
    system=(
        "You grade what a model said about a running video so far, against the answer that was due. Give 1 where "
        "it is wrong or says nothing of the answer, 2 where it is partly right, 3 where it is right and complete. "
        "Do not reward length. End with a JSON dict: {'score': 1}, {'score': 2} or {'score': 3}."
    ),
    template="Request: {asked}\nAnswer that was due: {answer}\nSaid so far, one line a second:\n{replies}",
    fields=("asked", "answer", "replies"),
    scales=(Scale("score", 1, 3),),
    source="evalkit's own wording; scale of ProactiveVideoQA, 1 to 3, shown as 0 to 2",
)


@dataclass(frozen=True, slots=True)
class _SpokenTurn:
    """A gold turn of one stream, with what was said in its span."""

    id: str
    task: str
    cluster: str
    asked: str
    answer: str
    span: Window
    said: tuple[Utterance, ...]

    def items(self) -> Iterable[GradeItem]:
        lines: list[str] = []
        for number, one in enumerate(self.said):
            lines.append(f"{one.at:g} s: {one.text}")
            values = {"asked": self.asked, "answer": self.answer, "replies": "\n".join(lines)}
            yield GradeItem(f"{self.id}/{number}", self.task, self.cluster, TURN_RUBRIC, values, one.text or " ")

    def graded(self, grades: Mapping[str, float]) -> list[GradedReply]:
        known = ((one.at, grades.get(f"{self.id}/{number}")) for number, one in enumerate(self.said))
        return [GradedReply(at, grade - 1) for at, grade in known if grade is not None]


def _spoken_turns(answers: Sequence[AnswerRecord]) -> Iterable[_SpokenTurn]:
    streams: dict[str, list[AnswerRecord]] = {}
    for answer in answers:
        if "turns" in answer.tags:
            streams.setdefault(answer.sample, []).append(answer)
    for id_, records in streams.items():
        tags = records[0].tags
        said = utterances_of(records, tags["speaking"])  # type: ignore[arg-type]
        for number, (start, end, due) in enumerate(json.loads(tags["turns"])):
            span = Window(start, end)
            inside = tuple(one for one in said if start <= one.at <= end)
            name = f"{id_}/{number}"
            yield _SpokenTurn(name, tags["task"], records[0].cluster, tags["asked"], due, span, inside)


class GradedTurns:
    """The part of a task of timing that grades gold turns.

    Attributes:
        rubrics: ``TURN_RUBRIC`` for each sub-task that has turns.
    """

    rubrics: ClassVar[Mapping[str, Rubric]]

    def rubric_items(self, answers: Sequence[AnswerRecord]) -> list[GradeItem]:
        """Return each utterance within a gold turn's span, with all that was said in it so far."""
        return [item for turn in _spoken_turns(answers) for item in turn.items()]

    def graded_figures(
        self, records: Sequence[GradeRecord], answers: Sequence[AnswerRecord]
    ) -> dict[str, float | None]:
        """Return the area under the grades over all gold turns (PAUC, a share), for each weight of timeliness.

        A turn in which nothing was said keeps the grade it starts with; a reply that got no grade changes nothing.
        """
        grades = {record.item: record.grades["score"] for record in records if record.grades}
        turns = [(turn.graded(grades), turn.span) for turn in _spoken_turns(answers)]
        return {f"pauc_{omega:g}": pauc(turns, omega) for omega in OMEGAS}
