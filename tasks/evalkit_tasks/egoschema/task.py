"""EgoSchema as a task: its rows, its golds (500 of 5,031), its layouts of predictions and its submission files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from evalkit.errors import DataError, UsageError
from evalkit.fetch import Source
from evalkit.parse import Parsed, parse
from evalkit.tasks import DemoSize, Prediction, Problem, TaskSettings
from evalkit.tasks.choice import (
    NO_OPTION,
    ChoiceData,
    ChoiceLayout,
    ChoiceQuestion,
    ChoiceRow,
    ChoiceRule,
    ChoiceSettings,
    ChoiceTask,
)
from evalkit.tasks.contract import Average
from evalkit.tasks.layouts import FileRow, RowError, lmms_reply, mapping_rows, object_rows
from evalkit.tasks.rows import digest_files, inside, read_json
from evalkit_tasks.egoschema.prompts import LETTERS, PROMPTS, lmms_eval_letter
from evalkit_tasks.sources import EGOSCHEMA
from evalkit_tasks.toy_qa import make_demo

__all__ = ["SUBSET", "EgoSchema", "EgoSchemaSettings"]

SUBSET = "subset"
"""The only sub-task: the 500 questions whose gold is public; the others are of ``full``."""

_GOLDS = "subset_answers.json"
_CLIPS = "uid_to_ego4d.json"
_SECONDS = 180.0
_ONLY_SUBSET = "only-subset"
"""Tag of a prediction that is left out where its gold is hidden, since the subset alone was asked for."""


class EgoSchemaSettings(ChoiceSettings):
    """How EgoSchema is put to a model."""

    set: Literal["subset", "full"] = Field(
        "subset", description="subset: the 500 with gold; full: all 5,031 (gold hidden: submission files)"
    )


class EgoSchemaRow(ChoiceRow):
    """One question: official fields, LVNet's with ``CA``, or the hub's ``video_idx``, ``option``, ``answer``."""

    q_uid: str = Field(min_length=1)
    question_text: str = Field(min_length=1, alias="question")
    options: list[str] = Field(min_length=5, max_length=5)
    gold: int | None = Field(default=None, ge=0, le=4)

    @model_validator(mode="before")
    @classmethod
    def _fold(cls, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        if "video_idx" in row:
            given, options, gold = row["video_idx"], row.get("option"), row.get("answer")
            bare = [str(text).split(". ", 1)[-1] for text in options] if isinstance(options, list) else options
            number = int(gold) if isinstance(gold, str) and gold.isdecimal() else gold
            return {**row, "q_uid": given, "options": bare, "gold": number}
        if "choices" in row:  # ReKV's layout
            return {**row, "q_uid": row.get("video_id"), "options": row["choices"], "gold": row.get("answer")}
        options = [row[f"option {place}"] for place in range(5) if f"option {place}" in row]
        return {**row, "options": options, "gold": row.get("CA")}

    def question(self, index: int) -> ChoiceQuestion:
        """Return the question; its clip is a file of its own, of 180 s."""
        gold = None if self.gold is None else LETTERS[self.gold]
        id_ = inside(self.q_uid)
        return ChoiceQuestion(
            id_, f"{id_}.mp4", self.question_text, tuple(self.options), gold, SUBSET, end=_SECONDS
        )


def _take_submitted(row: FileRow) -> tuple[Prediction, list[Problem]]:
    id_, value = row.content.get("q_uid"), row.content.get("answer")
    if not isinstance(id_, str) or not id_:
        raise RowError("q_uid", f"{id_!r:.40} is no question id")
    number = int(value) if isinstance(value, str) and value.strip() in tuple("01234") else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(LETTERS):
        message = f"{value!r:.40} is no option 0 to 4; counted as no answer"
        problem = Problem("beyond-options", message, row.file, row.line, "answer", id_)
        return Prediction(id_, SUBSET, None, "", "choice"), [problem]
    return Prediction(id_, SUBSET, LETTERS[number], "", "choice"), []


def _take_of_subset(row: FileRow) -> tuple[Prediction, list[Problem]]:
    found, problems = _take_submitted(row)
    return replace(found, tags={_ONLY_SUBSET: "yes"}), problems


def _take_lmms(row: FileRow) -> tuple[Prediction, list[Problem]]:
    reply: str | None
    submitted, score = row.content.get("submission"), row.content.get("score")
    others = sorted(key for key in row.content if key.endswith(("_acc", "_score")))
    if score is None and others:
        raise RowError(others[0], "is another benchmark's score: this is no row of egoschema_subset")
    if not isinstance(submitted, dict) or len(submitted) != 1:
        raise RowError("submission", "must be an object of one question")
    id_ = next(iter(submitted))
    target = score.get("ground_truth") if isinstance(score, dict) else row.content.get("target")
    if target in (None, "None", ""):
        raise RowError("score.ground_truth", "the full set's gold is hidden: hand its submission file in", id_)
    given: Any = row.content.get("filtered_resps")
    lowest: Any = score.get("pred") if isinstance(score, dict) else None
    if isinstance(given, list) and len(given) == len(LETTERS) and lowest in range(len(LETTERS)):
        reply = LETTERS[int(lowest)]  # _mcppl: a loss for each option, no text
        problems: list[Problem] = []
    else:
        reply, problems = lmms_reply(row, id_)
    gold = LETTERS[int(target)] if str(target) in tuple("01234") else NO_OPTION
    if gold == NO_OPTION:
        message = f"the gold {target!r:.40} is none of the options 0 to 4: no reply can be right"
        problems.append(Problem("gold-no-option", message, row.file, row.line, "score.ground_truth", id_))
    choices = _options_shown(row.content.get("input"))
    return Prediction(id_, SUBSET, reply, gold, "choice", choices), problems


def _options_shown(prompt: Any) -> tuple[str, ...]:
    """Return the options that a prompt on record lists; empty where it does not list five."""
    lines = prompt.split("\n") if isinstance(prompt, str) else []
    found = [line[3:] for letter in LETTERS for line in lines if line.startswith(f"{letter}. ")]
    return tuple(found) if len(found) == len(LETTERS) else ()


def _submitted(path: Path, problems: list[Problem]) -> list[FileRow]:
    return mapping_rows(path, ("q_uid", "answer"))


class EgoSchema(ChoiceTask):
    """EgoSchema (arXiv 2308.09126)."""

    name: ClassVar[str] = "egoschema"
    published_at: ClassVar[Source] = EGOSCHEMA
    summary: ClassVar[str] = "EgoSchema: 500 (or all 5,031) five-option questions on 3-minute egocentric clips"
    settings: ClassVar[type[TaskSettings]] = EgoSchemaSettings
    row: ClassVar[type[ChoiceRow]] = EgoSchemaRow
    places: ClassVar[tuple[str, ...]] = (
        "questions.json",
        "500questions.jsonl",
        "Subset/test-*.parquet",
        "MC/test-*.parquet",
        "egoschema_subset.json",
    )
    how_to_get: ClassVar[str] = (
        f"`evalkit data fetch egoschema` brings questions.json, {_GOLDS} and {_CLIPS} from "
        "github.com/egoschema/EgoSchema and the videos from the Hugging Face data set lmms-lab/egoschema"
    )
    prompts: ClassVar = PROMPTS
    rule: ClassVar[ChoiceRule] = ChoiceRule(
        tasks=(SUBSET,),
        read=lmms_eval_letter,
        said="lmms-eval, without its random letter; over the 500 questions with public gold",
        averages=(Average("egoschema_subset_500", "micro", (SUBSET,)),),
        total="egoschema_subset_500",
    )
    layouts: ClassVar[Mapping[str, ChoiceLayout]] = {
        "lmms-eval": ChoiceLayout(object_rows, _take_lmms, True, "row of lmms-eval's egoschema_subset samples"),
        "official": ChoiceLayout(_submitted, _take_submitted, False, "answer of a submission"),
        "subset": ChoiceLayout(_submitted, _take_of_subset, False, "answer of a submission"),
    }
    versions: ClassVar[Mapping[str, Mapping[str, int]]] = {"the subset with gold": {SUBSET: 500}}
    whole_videos: ClassVar[bool] = True
    demo: ClassVar[Callable[[Path, DemoSize | None], None]] = partial(make_demo, "egoschema")

    def annotations(self, data: Path, settings: TaskSettings | None = None) -> ChoiceData:
        """Read the questions, with golds and Ego4D videos where their files are there."""
        found = super().annotations(data, settings)
        folder = data if data.is_dir() else data.parent
        golds, clips = _read_golds(folder), _read_clips(folder)
        whole = isinstance(settings, EgoSchemaSettings) and settings.set == "full"
        questions = []
        for question in found.questions:
            gold = golds.get(question.id, question.gold)
            video, seconds = clips.get(question.id, ("", _SECONDS))
            if gold is not None or whole:
                task = SUBSET if gold is not None else "full"
                questions.append(replace(question, gold=gold, task=task, cluster=video, end=seconds))
        if not questions:
            raise DataError(f"{folder} has no gold of any question: {_GOLDS} is wanted beside them", path=folder)
        beside = (folder / name for name in (_GOLDS, _CLIPS))
        revision = digest_files([*found.files, *filter(Path.is_file, beside)])
        version, problems = self._version({SUBSET: sum(one.gold is not None for one in questions)}, _GOLDS)
        kept = tuple(one for one in found.problems if one.kind != "other-version")
        return replace(
            found, questions=tuple(questions), revision=revision, version=version, problems=(*kept, *problems)
        )

    def known(self, data: Path, found: Sequence[Prediction]) -> dict[str, Prediction]:
        """Return the 500 questions with gold; golds alone are enough.

        Raises:
            DataError: Predictions are of the full set, whose gold is hidden.
        """
        golds, clips = _read_golds(data), _read_clips(data)
        try:
            known = self.annotations(data).known()
        except DataError:
            if not golds:
                raise
            known = {
                id_: ChoiceQuestion(id_, id_, "", (), gold, SUBSET, clips.get(id_, ("", 0.0))[0]).unanswered(
                    len(golds)
                )
                for id_, gold in golds.items()
            }
        beyond = {one.id for one in found if one.id not in known and _ONLY_SUBSET not in one.tags}
        whole = len(beyond) if len(beyond) >= len(known) else len(beyond & clips.keys())
        if whole:
            n = len({one.id for one in found})
            raise DataError(
                f"{whole:,} of {n:,} questions are of the full set, whose gold is hidden: only the server "
                "scores it (hand the file in at Kaggle egoschema-public or with validate.py); --format subset "
                "scores the 500 with gold in it",
                path=data,
            )
        return known

    def identified(self, found: Sequence[Prediction], known: Mapping[str, Prediction]) -> Sequence[Prediction]:
        """Return predictions, those of a full set reduced to the questions with gold where that was asked for."""
        return [one for one in found if one.id in known or _ONLY_SUBSET not in one.tags]

    def golds_beside(self, paths: Sequence[Path]) -> Path:
        """Return the folder of the predictions where it holds the golds."""
        folder = paths[0].resolve().parent
        if not (folder / _GOLDS).is_file():
            raise UsageError(
                f"a submission of {self.name} has no gold in it: name the folder with {_GOLDS} too (--data DIR)"
            )
        return folder

    def submissions(self, predictions: Sequence[Prediction]) -> dict[str, str]:
        """Return both forms that the server takes, options from 0; unread replies are left out, never guessed."""
        letters = {one.id: parse(one.kind, one.response or "", one.choices) for one in predictions}
        answers = {id_: LETTERS.index(read.value) for id_, read in letters.items() if isinstance(read, Parsed)}
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerows([("q_uid", "answer"), *answers.items()])
        return {
            "egoschema_submission.json": json.dumps(answers, indent=1),
            "egoschema_submission.csv": table.getvalue(),
        }


def _read_golds(data: Path) -> dict[str, str]:
    """Return gold letters by question id; none where there is no file of them."""
    path = (data if data.is_dir() else data.parent) / _GOLDS
    if not path.is_file():
        return {}
    content = read_json(path)
    if not isinstance(content, dict) or not all(
        isinstance(gold, int) and gold in range(len(LETTERS)) for gold in content.values()
    ):
        raise DataError(f"{path} is no object of golds 0 to 4 by question id", path=path)
    return {str(id_): LETTERS[gold] for id_, gold in content.items()}


def _read_clips(data: Path) -> dict[str, tuple[str, float]]:
    """Return the Ego4D video and the length of each clip, seconds; none where there is no file of them."""
    path = (data if data.is_dir() else data.parent) / _CLIPS
    if not path.is_file():
        return {}
    content = read_json(path)
    try:
        return {
            id_: (str(clip["video_uid"]), float(clip["ending_sec"] - clip["starting_sec"]))
            for id_, clip in content.items()
        }
    except (AttributeError, KeyError, TypeError, OverflowError) as error:
        raise DataError(
            f"{path} is no object of video_uid, starting_sec and ending_sec by id", path=path
        ) from error
