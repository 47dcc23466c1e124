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
        "You are an evaluator for a video question answering system. Your task is to rate whether the predicted "
        "answer covers the key points of the ground truth answer. Use the following scale to assign a score:\n"
        "- 3: Mostly covered; the predicted answer covers all key information in the ground truth answer, though "
        "it may have minor inaccuracies or rephrases.\n"
        "- 2: Partially covered; the predicted answer has some correct information, but also contains significant "
        "inaccuracies or missing key points.\n"
        "- 1: Incorrect; the predicted answer may be related to the ground truth answer, but most of the "
        "information is missing, or the predicted answer is not relevant to the question or in very poor "
        "quality.\n\n"
        "Output the score only, do not add more explanations."
    ),
    template="Question: {asked}\nGround Truth Answer: {answer}\nPredicted Answer: {replies}",
    fields=("asked", "answer", "replies"),
    scales=(Scale("score", 1, 3),),
    source="ProactiveVideoQA pauc/judge_llm_scores_openai.py; grades 1 to 3 are shown as 0 to 2",
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
        sentences: list[str] = []
        for number, one in enumerate(self.said):
            if one.text in sentences:
                continue  # said again, it changes nothing, and the published code asks no judge about it
            sentences.append(one.text)
            values = {"asked": self.asked, "answer": self.answer, "replies": " ".join(sentences)}
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
