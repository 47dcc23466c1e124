"""LongVideoBench prediction files, three layouts, to predictions; leaves scoring to ``scoring``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evalkit.errors import DataError, UsageError
from evalkit.records import read_text
from evalkit.tasks.contract import Prediction, Problem
from evalkit.tasks.layouts import FileRow, RowError, object_rows, take_rows
from evalkit.tasks.replies import (
    decode_json,
    matched,
    read_reply,
    read_runs,
    require_format,
)
from evalkit.tasks.scoring import HIDDEN_GOLD
from evalkit_tasks.longvideobench.annotations import (
    PUBLISHED_QUESTIONS,
    LvbRow,
    Split,
    find_annotations,
    level_of,
    read_annotations,
)
from evalkit_tasks.longvideobench.data import question_tags
from evalkit_tasks.longvideobench.prompts import LETTERS
from evalkit_tasks.longvideobench.scoring import OF_VALIDATION

__all__ = ["FORMATS", "known_questions", "read_predictions"]

FORMATS = ("submission", "lmms-eval", "evalkit")


def known_questions(data: Path, split: Split) -> dict[str, Prediction]:
    """Return the questions of a split by id, as predictions without a reply."""
    return {row.id: _question(row, split) for _, row in read_annotations(data, split).rows}


def _question(row: LvbRow, split: Split) -> Prediction:
    tags = question_tags(row, split)
    if row.answer is None:
        tags[HIDDEN_GOLD] = "yes"
    return Prediction(
        id=row.id,
        task=row.question_category,
        response=None,
        gold=row.answer or "",
        kind="choice",
        choices=tuple(row.candidates),
        cluster=row.video_id,
        tags=tags,
    )


def read_predictions(
    format: str, paths: Sequence[Path], data: Path | None
) -> tuple[list[Prediction], list[Problem]]:
    """Read prediction files.

    Args:
        format: ``submission`` (``{id: raw reply}``, needs ``data``), ``lmms-eval`` (a samples file, JSON
            Lines, or the JSON log of older versions) or ``evalkit`` (run folders).
        paths: Files or folders of one model.
        data: Data folder; with it, questions without a row are counted.

    Raises:
        DataError: A file cannot be read or is of another layout or other data.
        UsageError: Unknown format, no path, or no data where they are needed.
    """
    require_format("longvideobench", format, FORMATS, paths)
    if format == "submission" and data is None:
        raise UsageError("a longvideobench submission has no gold in it; name the data folder too (--data)")
    runs = read_runs("longvideobench", paths) if format == "evalkit" else None
    if runs is not None:
        found, problems = runs.predictions, runs.problems
    else:
        found, problems = _submissions(paths) if format == "submission" else _lmms_logs(paths)
    if data is None:
        return _unmatched(found, format, problems)
    questions = known_questions(data, _split_of(found, data))
    predictions, more = matched(found, questions if runs is None else runs.asked(questions), data)
    return predictions, problems + more


def _split_of(found: Sequence[Prediction], data: Path) -> Split:
    """Return the split that has more of the ids; ``val`` where neither has any."""
    ids = {prediction.id for prediction in found}
    best: Split = "val"
    most = -1
    splits: tuple[Split, ...] = ("val", "test")
    for split in splits:
        if find_annotations(data, split) is None:
            continue
        hits = len(ids & known_questions(data, split).keys())
        if hits > most:
            best, most = split, hits
    return best


def _unmatched(
    found: list[Prediction], format: str, problems: list[Problem]
) -> tuple[list[Prediction], list[Problem]]:
    """Return predictions that no data were given for; a part of the validation set is marked and named as one.

    Less than a tenth of the published questions are local data, of which nobody knows how many there should be.
    """
    ids = {prediction.id for prediction in found}
    published = PUBLISHED_QUESTIONS["val"]
    if format != "lmms-eval" or len(ids) == published:
        return found, problems
    n = f"{len(ids):,} questions, the published validation set has {published:,}"
    hidden = any(HIDDEN_GOLD in prediction.tags for prediction in found)
    if hidden or not published / 10 <= len(ids) < published:
        message = f"{n}; name the data folder to have missing ones counted"
        return found, [*problems, Problem("partial", message)]
    message = f"{n}: those missing are wrong in strict, and left out of the official score"
    marked = [replace(one, tags={**one.tags, OF_VALIDATION: "yes"}) for one in found]
    return marked, [*problems, Problem("partial", message)]


def _submissions(paths: Sequence[Path]) -> tuple[list[Prediction], list[Problem]]:
    predictions: list[Prediction] = []
    problems: list[Problem] = []
    for path in paths:
        content, repeated = decode_json(path, read_text(path))
        if not isinstance(content, dict):
            raise DataError(f"{path} is no submission: it must be one object of {{id: reply}}", path=path)
        problems += [
            Problem("duplicate", "the id stands twice in the file; its last reply counts", path.name, item=id_)
            for id_ in repeated
        ]
        for id_, value in content.items():
            reply, faults = read_reply(value, file=path.name, line=None, field=id_, item=id_)
            problems += faults
            predictions.append(Prediction(id_, "", reply, "", "choice"))
    return predictions, problems


def _lmms_logs(paths: Sequence[Path]) -> tuple[list[Prediction], list[Problem]]:
    problems: list[Problem] = []
    rows = [row for path in paths for row in object_rows(path, problems)]
    predictions = take_rows(rows, _lmms_row, problems)
    if not predictions:
        names = ", ".join(path.name for path in paths)
        raise DataError(
            f"{names}: no row of an lmms-eval LongVideoBench log (lvb_acc or submission)", path=paths[0]
        )
    return predictions, problems


def _lmms_row(found: FileRow) -> tuple[Prediction, list[Problem]]:
    row, file, line = found.content, found.file, found.line
    scored = row.get("lvb_acc")
    submitted = row.get("submission")
    if isinstance(scored, dict):
        id_ = scored.get("id")
    elif isinstance(submitted, dict) and len(submitted) == 1:
        id_ = next(iter(submitted))
    else:
        raise RowError("lvb_acc", "neither lvb_acc nor submission of one question")
    if scored is None and isinstance(row.get("score"), dict):
        raise RowError("lvb_acc", "is missing: the row is of another benchmark", str(id_))
    if not isinstance(id_, str) or not id_:
        raise RowError("lvb_acc.id", f"{id_!r} is no question id")
    field = next((name for name in ("filtered_resps", "resps") if row.get(name) is not None), "submission")
    value = row.get(field)
    if isinstance(value, dict):
        value = value.get(id_)
    reply, faults = read_reply(value, file=file, line=line, field=field, item=id_)
    if not isinstance(scored, dict):
        return Prediction(id_, "", reply, "", "choice", tags={HIDDEN_GOLD: "yes"}), faults
    gold, category = scored.get("answer"), scored.get("question_category")
    if gold == "@":
        return Prediction(id_, "", reply, "", "choice", tags={HIDDEN_GOLD: "yes"}), faults
    if not isinstance(gold, str) or len(gold) != 1 or gold not in LETTERS:
        raise RowError("lvb_acc.answer", f"{gold!r} is no gold letter")
    if not isinstance(category, str) or not level_of(category):
        raise RowError("lvb_acc.question_category", f"{category!r} is no category")
    tags = {
        "duration": str(scored.get("duration_group")),
        "level": level_of(category),
        "logged": str(scored.get("parsed_pred")),
    }
    return Prediction(id_, category, reply, gold, "choice", cluster=id_.rpartition("_")[0], tags=tags), faults
