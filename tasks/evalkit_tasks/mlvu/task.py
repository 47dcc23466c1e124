"""MLVU as a task: its sets and versions, M-Avg beside the mean over questions, predictions and submissions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from evalkit.errors import DataError, UsageError
from evalkit.fetch import Source
from evalkit.judge import GradeItem, Rubric
from evalkit.parse import Parsed, parse
from evalkit.records import AnswerRecord
from evalkit.tasks import DemoSize, Prediction, Problem, ScoreSheet, TaskData, TaskSettings
from evalkit.tasks.choice import (
    NO_OPTION,
    ChoiceData,
    ChoiceLayout,
    ChoiceRow,
    ChoiceRule,
    ChoiceSettings,
    ChoiceTask,
    find_files,
    read_questions,
    score_choices,
)
from evalkit.tasks.contract import Average
from evalkit.tasks.layouts import FileRow, RowError, lmms_reply, object_rows
from evalkit_tasks.mlvu.generation import RUBRICS, generation_items
from evalkit_tasks.mlvu.outputs import reply_records
from evalkit_tasks.mlvu.prompts import PROMPTS, lmms_letter, official_letter, row_text
from evalkit_tasks.mlvu.rows import MlvuRow, task_name
from evalkit_tasks.sources import MLVU
from evalkit_tasks.toy_qa import make_demo

__all__ = ["DEV", "Mlvu", "MlvuSettings"]

DEV = ("plotQA", "needle", "ego", "count", "order", "anomaly_reco", "topic_reasoning")
"""Multiple-choice tasks of the dev set, in the order of its files."""

TEST = ("topic_reasoning", "anomaly_reco", "needle", "ego", "plotQA", "sportsQA", "order", "count", "tutorialQA")
OPEN = ("subPlot", "summary")
LABELS = {
    **{"plotQA": "Plot QA", "needle": "Needle QA", "ego": "Ego reasoning", "count": "Action count"},
    **{"order": "Action order", "anomaly_reco": "Anomaly recognition", "topic_reasoning": "Topic reasoning"},
    **{"sportsQA": "Sports QA", "tutorialQA": "Tutorial QA"},
    **{"subPlot": "Sub-scene captioning", "summary": "Video summarization"},
    **{"m_avg": "M-Avg", "over_questions": "Mean over questions", "g_avg": "G-Avg"},
}
"""Names of sub-tasks (paper, figure 1) and groups."""

_LMMS = {
    "plotQA": 539,
    "needle": 355,
    "ego": 352,
    "count": 206,
    "order": 259,
    "anomaly_reco": 200,
    "topic_reasoning": 263,
}
_PLACES = {
    "dev": (
        "json/[1-7]_*.json",
        "[1-7]_*.json",
        "mlvu/test-*.parquet",
        "mlvu_dev*.json",
        "dev_debug_mc.json",
        "official/[1-7]_*.json",
        "MLVU/json/[1-7]_*.json",
    ),
    "test": ("test_question.json", "MLVU_Test/test_question.json"),
    "generation": ("json/[89]_*.json", "[89]_*.json", "official/[89]_*.json", "MLVU/json/[89]_*.json"),
}
_LETTERS = "ABCDEF"
_SAID = "MLVU check_ans: the character before the first bracket, else the reply whole; mean of the tasks"
_OTHERS = {"lmms-eval since 2026-04": lmms_letter}
_TEST_RULE = ChoiceRule(
    tasks=TEST,
    read=official_letter,
    said=_SAID,
    averages=(Average("m_avg", "macro", TEST), Average("over_questions", "micro", TEST)),
    total="m_avg",
    others=_OTHERS,
)

ROW_TEXT = "row-text"
"""Tag with the question as lmms-eval's samples name it, by which their rows are found in other files."""


class MlvuSettings(ChoiceSettings):
    """How MLVU is put to a model."""

    set: Literal["dev", "test", "generation"] = Field(
        "dev",
        description="dev: 7 choice tasks; test: 9 with six options (submission file unless its gold is there); "
        "generation: sub-scene captioning and summary, for evalkit judge --rubric",
    )


def _take_lmms(row: FileRow) -> tuple[Prediction, list[Problem]]:
    number = row.content.get("doc_id")
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise RowError("doc_id", f"{number!r:.40} is no place in the data set")
    id_ = f"Q{number}"
    scores = (value for key, value in row.content.items() if key.startswith("mlvu_") and isinstance(value, dict))
    logged = next(scores, None)
    if logged is None:
        raise RowError("mlvu_percetion_score", "is missing: this is no row of mlvu_dev", id_)
    task, text, gold = (logged.get(name) for name in ("task_type", "question_id", "answer"))
    if not isinstance(task, str) or task_name(task) not in {*DEV, *TEST}:
        raise RowError("mlvu_percetion_score.task_type", f"{task!r:.40} is no sub-task", id_)
    reply, problems = lmms_reply(row, id_)
    test = isinstance(text, str) and "\n(E) " in text
    letters = _LETTERS if test else "ABCD"
    if gold not in tuple(letters):
        message = f"the gold {gold!r:.40} is none of the options A to {letters[-1]}: no reply can be right"
        problems.append(Problem("gold-no-option", message, row.file, row.line, "mlvu_percetion_score.answer", id_))
        gold = NO_OPTION
    tags = {ROW_TEXT: text} if isinstance(text, str) else {}
    choices = _options_in(tags, letters)
    if test:
        tags["set"] = "test"
    return Prediction(id_, task_name(task), reply, gold, "choice", choices, tags=tags), problems


def _options_in(tags: Mapping[str, str], letters: str) -> tuple[str, ...]:
    """Return the options that a row's question lists; empty where they are not those of all letters."""
    lines = tags.get(ROW_TEXT, "").split("\n")
    found = [line[4:] for letter in letters for line in lines if line.startswith(f"({letter}) ")]
    return tuple(found) if len(found) == len(letters) else ()


def _take_submitted(row: FileRow) -> tuple[Prediction, list[Problem]]:
    id_, task, letter = (row.content.get(name) for name in ("question_id", "question_type", "option"))
    if not isinstance(id_, str) or not id_:
        raise RowError("question_id", f"{id_!r:.40} is no question id")
    if not isinstance(task, str) or task_name(task) not in TEST:
        raise RowError("question_type", f"{task!r:.40} is no sub-task of the test set", id_)
    if letter not in tuple(_LETTERS):
        message = f"{letter!r:.40} is no option A to F; counted as no answer"
        problem = Problem("beyond-options", message, row.file, row.line, "option", id_)
        return Prediction(id_, task_name(task), None, "", "choice"), [problem]
    return Prediction(id_, task_name(task), letter, "", "choice"), []


class Mlvu(ChoiceTask):
    """MLVU (arXiv 2406.04264)."""

    name: ClassVar[str] = "mlvu"
    published_at: ClassVar[Source] = MLVU
    summary: ClassVar[str] = "MLVU: 2,175 four-option questions in 7 tasks on videos of 3 minutes to 9 hours"
    settings: ClassVar[type[TaskSettings]] = MlvuSettings
    row: ClassVar[type[ChoiceRow]] = MlvuRow
    places: ClassVar[tuple[str, ...]] = _PLACES["dev"]
    how_to_get: ClassVar[str] = (
        "`evalkit data fetch mlvu` brings json/ and video/ of the Hugging Face data set MLVU/MVLU once its terms "
        "are accepted"
    )
    video_folders: ClassVar[tuple[str, ...]] = ("video", "videos", "MLVU/video", "")
    prompts: ClassVar = PROMPTS
    labels: ClassVar[Mapping[str, str]] = LABELS
    rule: ClassVar[ChoiceRule] = ChoiceRule(
        tasks=DEV,
        read=official_letter,
        said=_SAID,
        averages=(Average("m_avg", "macro", DEV), Average("over_questions", "micro", DEV)),
        total="m_avg",
        others=_OTHERS,
    )
    layouts: ClassVar[Mapping[str, ChoiceLayout]] = {
        "lmms-eval": ChoiceLayout(object_rows, _take_lmms, True, "row of lmms-eval's mlvu samples"),
        "official": ChoiceLayout(object_rows, _take_submitted, False, "answer of a test submission"),
    }
    versions: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "rows of sy1998/MLVU_dev, or the JSON files without their empty question": _LMMS,
        "JSON files of github.com/JUNJIE99/MLVU": {**_LMMS, "topic_reasoning": 264},
        "dev_debug_mc.json of ReKV": {**_LMMS, "ego": 350},
        "test set": dict(zip(TEST, (91, 39, 60, 53, 50, 36, 70, 60, 43), strict=True)),
    }

    rubrics: ClassVar[Mapping[str, Rubric]] = RUBRICS
    demo: ClassVar[Callable[[Path, DemoSize | None], None]] = partial(make_demo, "mlvu")

    def annotations(self, data: Path, settings: TaskSettings | None = None) -> ChoiceData:
        """Read one set, the dev set unless told otherwise."""
        chosen = settings.set if isinstance(settings, MlvuSettings) else "dev"
        if chosen == "dev":
            return super().annotations(data, settings)
        files = find_files(data, _PLACES[chosen])
        if not files:
            raise DataError(f"{data} has no {_PLACES[chosen][0]} of mlvu; {self.how_to_get}", path=data)
        found = read_questions(files, self.row)
        tagged = (replace(one, tags={**one.tags, "set": chosen}) for one in found.questions)
        return replace(found, questions=tuple(tagged), version=chosen)

    def load(self, data: Path, settings: TaskSettings) -> TaskData:
        """Read a set; without a prompt named, generation is asked for by its own."""
        if isinstance(settings, MlvuSettings) and settings.set == "generation" and settings.prompt is None:
            return super().load(data, settings.model_copy(update={"prompt": "generation"}))
        return super().load(data, settings)

    def known(self, data: Path, found: Sequence[Prediction]) -> dict[str, Prediction]:
        """Return the questions of the set that predictions are of, each with its text."""
        sets = [name for name in ("dev", "test") if find_files(data, _PLACES[name])]
        ids = {one.id for one in found}
        best: dict[str, Prediction] = {}
        hits = -1
        for name in sets or ["dev"]:
            read = self.annotations(data, MlvuSettings.model_validate({"set": name}))
            here = len(ids & {question.id for question in read.questions})
            if here > hits:
                texts = {one.id: row_text(one.text, one.options) for one in read.questions}
                hits = here
                best = {
                    id_: replace(one, tags={**one.tags, ROW_TEXT: texts[id_]}) for id_, one in read.known().items()
                }
        return best

    def identified(self, found: Sequence[Prediction], known: Mapping[str, Prediction]) -> Sequence[Prediction]:
        """Return predictions under the ids of the data.

        lmms-eval's rows are known by their place in its own list. Where the data are other files, or another
        version in which that place holds another question, the row is found by sub-task, text and options; of
        questions that agree in these (19 pairs), by its gold, else in order.
        """
        places: dict[tuple[str, str], list[str]] = {}
        for id_, question in known.items():
            places.setdefault((question.task, question.tags.get(ROW_TEXT, "")), []).append(id_)
        target: dict[str, str] = {}
        for one in sorted(found, key=lambda one: (len(one.id), one.id)):
            text = one.tags.get(ROW_TEXT)
            same = known.get(one.id)
            if text is None or one.id in target or (same is not None and same.tags.get(ROW_TEXT) == text):
                continue
            fits = [id_ for id_ in places.get((one.task, text), []) if id_ not in target.values()]
            exact = [id_ for id_ in fits if known[id_].gold == one.gold]
            if fits:
                target[one.id] = (exact or fits)[0]
        return [replace(one, id=target.get(one.id, one.id)) for one in found]

    def score(self, predictions: Sequence[Prediction], format: str) -> ScoreSheet:
        """Score by the official rule and strictly; the test set has averages of its own, generation none."""
        sets = {one.tags.get("set", "dev") for one in predictions}
        if sets == {"generation"}:
            raise UsageError("mlvu's generation tasks are judged, not scored: evalkit judge RUN --rubric")
        rule = _TEST_RULE if sets == {"test"} else self.rule
        return score_choices(self.name, predictions, format, rule)

    def rubric_items(self, answers: Sequence[AnswerRecord]) -> list[GradeItem]:
        """Return the open replies of a run; see `generation_items`."""
        return generation_items(answers)

    def read_replies(self, paths: Sequence[Path], data: Path) -> tuple[list[AnswerRecord], list[Problem]]:
        """Read published replies to the generation tasks; see `reply_records`."""
        found = self.annotations(data, MlvuSettings.model_validate({"set": "generation"}))
        return reply_records(paths, found.questions)

    def submissions(self, predictions: Sequence[Prediction]) -> dict[str, str]:
        """Return the test set's file, a list of ids, sub-tasks and options; unread replies are left out."""
        rows = []
        for one in predictions:
            read = parse(one.kind, one.response or "", one.choices)
            if isinstance(read, Parsed):
                rows.append({"question_id": one.id, "question_type": one.task, "option": read.value})
        return {"mlvu_test_submission.json": json.dumps(rows, indent=1)}
