"""Prediction files to checked replies: repeated keys, reply types, run folders.

Which question a reply belongs to, and what it scores, is the benchmark's own affair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.errors import DataError, UsageError, suggest
from evalkit.parse.text import MAX_CHARACTERS, spoken
from evalkit.records import NotJsonError, missing_text, read_run
from evalkit.records import decode_json as decode
from evalkit.tasks.contract import Prediction, Problem
from evalkit.tasks.scoring import ABSENT, from_records

__all__ = [
    "GONE",
    "RunAnswers",
    "absent_prediction",
    "decode_json",
    "matched",
    "read_reply",
    "read_runs",
    "require_format",
]

GONE = "records-gone"
"""Kind of the problem that finished samples of a run have no records any more."""

Known = Mapping[str, Prediction]
"""Questions of the data by id, as predictions without a response."""


def require_format(task: str, format: str, formats: Sequence[str], paths: Sequence[Path]) -> None:
    """Refuse a layout that a benchmark does not have, and a call without files.

    Raises:
        UsageError: The text suggests a layout and lists all.
    """
    if format not in formats:
        hint = f"{suggest(format, formats)} (known: {', '.join(formats)})"
        raise UsageError(f"{task} has no format {format!r}{hint}")
    if not paths:
        raise UsageError("name at least one prediction file")


def decode_json(path: Path, text: str) -> tuple[Any, list[str]]:
    """Decode JSON and tell which keys an object repeats; of a repeated key the last value stands.

    Raises:
        DataError: The text is not JSON.
    """
    repeated: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            repeated.extend(key for key, count in Counter(key for key, _ in items).items() if count > 1)
        return found

    try:
        return decode(text, pairs=pairs), repeated
    except NotJsonError as error:
        raise DataError(f"{path} is not valid JSON ({error})", path=path) from error


def read_reply(
    value: Any, *, file: str, line: int | None, field: str, item: str
) -> tuple[str | None, list[Problem]]:
    """Take a reply as it stands in a file.

    Args:
        value: The decoded value: a text, a list with one text, or ``None``.
        file: File name, for problems.
        line: Line or record index from 1.
        field: Field it stands in.
        item: Question id.

    Returns:
        The text, ``None`` where there is none or it is no text (NaN, a number, an object), and problems.
    """
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None:
        return None, []
    if not isinstance(value, str):
        shown = repr(value)[:40]
        return None, [Problem("bad-reply", f"{shown} is no text; counted as no reply", file, line, field, item)]
    said = spoken(value)
    if isinstance(said, str) and len(said) > MAX_CHARACTERS:
        message = f"a reply of {len(said):,} characters; strict reads none above {MAX_CHARACTERS:,}"
        return value, [Problem("long-reply", message, file, line, field, item)]
    return value, []


def absent_prediction(question: Prediction, what: str = "question") -> Prediction:
    """Return the stand-in for a question that the files do not answer.

    Args:
        question: The question.
        what: ``question``, or ``video`` where the files have no question of its video.
    """
    return replace(question, response=None, tags={**question.tags, ABSENT: what})


def matched(found: Sequence[Prediction], known: Known, data: Path) -> tuple[list[Prediction], list[Problem]]:
    """Put replies onto the questions of the data.

    Args:
        found: Predictions as read from the files; where the files had a gold, it is in them.
        known: Questions of the data.
        data: Data folder, for messages.

    Returns:
        Predictions with the data's gold, choices and tags, then stand-ins for the questions without a
        reply; unknown ids and golds that differ are problems.

    Raises:
        DataError: No id is known: the predictions are of other data.
    """
    if found and not any(prediction.id in known for prediction in found):
        raise DataError(f"none of the {len(found)} ids is in {data}; the predictions are of other data", path=data)
    answered: list[Prediction] = []
    problems: list[Problem] = []
    clusters = set()
    for prediction in found:
        question = known.get(prediction.id)
        if question is None:
            problems.append(Problem("unknown-id", "no such question in the data; left out", item=prediction.id))
            continue
        if prediction.gold and question.gold and prediction.gold != question.gold:
            message = f"gold is {prediction.gold} in the file and {question.gold} in the data; the data's counts"
            problems.append(Problem("gold-mismatch", message, item=prediction.id))
        clusters.add(question.cluster)
        answered.append(
            replace(question, response=prediction.response, tags={**question.tags, **_own(prediction)})
        )
    have = {prediction.id for prediction in answered}
    missing = [question for id_, question in known.items() if id_ not in have]
    if missing:
        message = f"{len(missing)} of {len(known)} questions have no row; wrong in strict"
        problems.append(Problem("missing", message, item=missing[0].id))
    stand_ins = [absent_prediction(q, "question" if q.cluster in clusters else "video") for q in missing]
    return answered + stand_ins, problems


def _own(prediction: Prediction) -> dict[str, str]:
    return {key: value for key, value in prediction.tags.items() if key.startswith("logged")}


@dataclass(frozen=True, slots=True)
class RunAnswers:
    """The answers of run folders.

    Args:
        predictions: One per answer.
        problems: Torn lines, samples without an answer.
        planned: Ids of the samples the runs set out to do.
    """

    predictions: list[Prediction]
    problems: list[Problem]
    planned: frozenset[str]

    def asked(self, known: Known) -> dict[str, Prediction]:
        """Return the questions of the data that the runs answered or set out to answer.

        Args:
            known: Questions of the data; a sample is a question or a video (its cluster).
        """
        answered = {prediction.id for prediction in self.predictions}
        return {
            id_: question
            for id_, question in known.items()
            if id_ in answered or id_ in self.planned or question.cluster in self.planned
        }


def read_runs(task: str, paths: Iterable[Path]) -> RunAnswers:
    """Read the answers of run folders (the format ``evalkit`` of every benchmark).

    Args:
        task: Name of the task that the runs must be of.
        paths: Run folders.

    Raises:
        DataError: A folder is no run, is another task's, holds no answers, or a record is malformed.
    """
    predictions: list[Prediction] = []
    problems: list[Problem] = []
    planned: set[str] = set()
    for path in paths:
        run = read_run(path, ticks=False)
        manifest = run.manifest
        if manifest.task != task:
            raise DataError(
                f"{path} is a run of {manifest.task}, not {task}; use --task {manifest.task}", path=path
            )
        if not run.answers:
            raise DataError(f"{path} has no answers on record: nothing to score", path=path)
        if run.missing:
            gone = missing_text(manifest, run.missing)
            problems.append(Problem(GONE, f"{gone}: they count as wrong", path.name, item=run.missing[0]))
        problems += [Problem("torn-line", warning, path.name) for warning in run.warnings]
        if (videos := manifest.videos_lacking) is not None:
            message = f"the run is on {videos}; what was asked of the others counts as wrong"
            problems.append(Problem("videos-lacking", message, path.name))
        done = {record.sample for record in run.answers} | {failed.sample for failed in manifest.failed}
        unanswered = [sample for sample in manifest.planned if sample not in done]
        if unanswered:
            message = (
                f"{len(unanswered)} of {len(manifest.planned)} planned samples have no answer ({manifest.status})"
            )
            problems.append(Problem("partial-run", message, path.name, item=unanswered[0]))
        planned.update(manifest.planned)
        predictions += from_records(run.answers, hidden_gold=True)
    return RunAnswers(predictions, problems, frozenset(planned))
