"""StreamingBench's annotation files, JSON (GitHub) and CSV (Hugging Face), as one list of checked questions.

Known faults are handled here: malformed time stamps, options split at commas, questions without four options.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from evalkit.errors import DataError
from evalkit.records import has_lone_surrogate, read_plain, require_plain
from evalkit.tasks.contract import Problem
from evalkit.tasks.rows import read_json, require_name
from evalkit.tasks.sniff import refuse_other
from evalkit_tasks.streamingbench.prompts import mended_options, shown_options
from evalkit_tasks.streamingbench.published import ABBREVIATIONS, GROUPS
from evalkit_tasks.streamingbench.timestamps import BadTime, clock_seconds

__all__ = ["Bench", "SbQuestion", "find_files", "flatten", "question_id", "read_files", "read_question"]

_JSON_FILES = {
    "real": ("questions_real.json", "questions_real_stream.json"),
    "omni": ("questions_omni.json", "questions_omni_stream.json"),
    "sqa": ("questions_sqa.json", "questions_sqa_stream.json"),
}
_JSON_PROACTIVE = {"50": ("questions_proactive_50.json",), "250": ("questions_proactive.json",)}
_CSV_FILES = {
    "real": ("Real_Time_Visual_Understanding.csv",),
    "omni": ("Omni_Source_Understanding.csv",),
    "contextual": ("Contextual_Understanding.csv",),
    "sqa": ("Sequential_Question_Answering.csv",),
}
_CSV_PROACTIVE = {"50": ("Proactive_Output_50.csv",), "250": ("Proactive_Output.csv",)}
_FOLDERS = ("", "data", "src/data", "StreamingBench", "data/StreamingBench", "questions")
_SAMPLE = re.compile(r"_(sample_\d+)_\d+$")
_LETTERS = re.compile(r"[A-D]")


@dataclass(frozen=True, slots=True)
class SbQuestion:
    """One question, whichever file it came from.

    Args:
        id: Stable id: ``{video}@{seconds}-{digest}`` (JSON) or the file's ``question_id`` (CSV).
        task: Official abbreviation.
        video: Name of the moved video without ending (``sample_348_real``).
        question: Text; for ``PO`` the instruction.
        time_stamp: As in the file, for the gold context.
        at: Media second of the question, mended where the stamp is malformed.
        official_at: Media second the official parser makes of it.
        options: Option texts as in the file (empty for ``PO``).
        answer: Gold letter; empty for ``PO``.
        gold_at: Media second at which the output is due (``PO`` only).
        output: Gold output (``PO`` only).
        file: File name.
        line: Index in the file, from 1 (of the question).
    """

    id: str
    task: str
    video: str
    question: str
    time_stamp: str
    at: float
    official_at: float
    options: tuple[str, ...]
    answer: str
    gold_at: float | None
    output: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Bench:
    """Annotation files read: good questions, what was wrong, and the digest of the files."""

    files: tuple[Path, ...]
    questions: tuple[SbQuestion, ...]
    problems: tuple[Problem, ...]
    digest: str


def find_files(data: Path, proactive: str = "50", version: str = "auto") -> list[Path]:
    """Return the annotation files below a folder (or the file itself), one per part of the benchmark.

    Args:
        data: Folder or annotation file.
        proactive: ``50`` or ``250``: which proactive file; the other one where only that is there.
        version: ``json``, ``csv`` or ``auto`` (JSON where there is any, as the published tables).

    Raises:
        DataError: There is none; the text says how to get them, or whose data this is.
    """
    if data.is_file():
        refuse_other(data, "streamingbench")
        return [data]
    for wanted, parts, polls in (("json", _JSON_FILES, _JSON_PROACTIVE), ("csv", _CSV_FILES, _CSV_PROACTIVE)):
        if version not in ("auto", wanted):
            continue
        other = "250" if proactive == "50" else "50"
        groups = [*parts.values(), (*polls[proactive], *polls[other])]
        found = [file for names in groups if (file := _first(data, names)) is not None]
        if found:
            return found
    refuse_other(data, "streamingbench")
    form = "" if version == "auto" else f" of the {version.upper()} version"
    raise DataError(
        f"{data} has no questions{form} of StreamingBench (questions_real.json ... or "
        "Real_Time_Visual_Understanding.csv ...); get them from github.com/THUNLP-MT/StreamingBench (src/data) or "
        "the Hugging Face data set mjuicem/StreamingBench",
        path=data,
    )


def _first(data: Path, names: Sequence[str]) -> Path | None:
    places = (data / folder / name for name in names for folder in _FOLDERS)
    return next((place for place in places if place.is_file()), None)


def read_files(files: Sequence[Path]) -> Bench:
    """Read and check annotation files.

    Raises:
        DataError: A file is not readable, or no file holds a usable question.
    """
    questions: list[SbQuestion] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    digest = hashlib.sha256()
    for file in files:
        digest.update(read_plain(file))
        rows = _csv_rows(file) if file.suffix.lower() == ".csv" else _json_rows(file, problems)
        for line, row in rows:
            found = read_question(row, file.name, line, problems)
            if found is None:
                continue
            if found.id in seen:
                message = "the same question stands in the files before"
                problems.append(Problem("bad-row", message, file.name, line, "question", found.id))
                continue
            seen.add(found.id)
            questions.append(found)
            problems.extend(_faults(found))
    if not questions:
        first = f": {problems[0].message}" if problems else ""
        raise DataError(f"no usable question in {', '.join(file.name for file in files)}{first}", path=files[0])
    return Bench(tuple(files), tuple(questions), tuple(problems), digest.hexdigest())


def _json_rows(file: Path, problems: list[Problem]) -> Iterator[tuple[int, dict[str, Any]]]:
    content = read_json(file)
    if not isinstance(content, list):
        raise DataError(f"{file} holds no list of entries", path=file)
    yield from flatten(content, file.name, problems)


def flatten(content: Iterable[Any], file: str, problems: list[Problem]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield ``(index from 1, question with its entry's video and time)``, lists of lists included."""
    line = 0
    for number, entry in enumerate(content, start=1):
        for part in entry if isinstance(entry, list) else (entry,):
            asked = part.get("questions") if isinstance(part, Mapping) else None
            if not isinstance(part, Mapping) or not isinstance(asked, list):
                message = f"entry {number} must be an object with a list of questions"
                problems.append(Problem("bad-row", message, file, number, "questions"))
                continue
            for question in asked:
                line += 1
                if not isinstance(question, Mapping):
                    problems.append(Problem("bad-row", "must be an object", file, line, "questions"))
                    continue
                yield line, {**question, "video_path": part.get("video_path"), "time": part.get("time")}


def _csv_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    require_plain(file)
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} is no UTF-8 CSV file ({error})", path=file) from error
    videos = _proactive_videos(file) if "_50" in file.stem else {}
    for line, row in enumerate(rows, start=1):
        known = videos.get((row.get("question") or "", row.get("time_stamp") or ""))
        yield line, {**row, "video_path": known or _csv_video(row), "options": _literal(row.get("options"))}


def _csv_video(row: Mapping[str, str | None]) -> str | None:
    """Return the moved video's name that a CSV row's id and sub-task give."""
    match = _SAMPLE.search(row.get("question_id") or "")
    task = ABBREVIATIONS.get(row.get("task_type") or "")
    if match is None or task is None:
        return None
    if task in GROUPS["real"]:
        return f"{match.group(1)}_real.mp4"
    suffix = {"SQA": "sqa", "PO": "proactive"}.get(task, (row.get("task_type") or "").replace(" ", "_"))
    return f"{match.group(1)}_{suffix}.mp4"


def _proactive_videos(file: Path) -> dict[tuple[str, str], str]:
    """Return the videos of ``Proactive_Output_50.csv``, whose ids name none, from the full file beside it."""
    full = file.with_name("Proactive_Output.csv")
    if not full.is_file():
        return {}
    return {
        (row["question"], row["time_stamp"]): row["video_path"] for _, row in _csv_rows(full) if row["video_path"]
    }


def _literal(text: str | None) -> Any:
    """Return a Python list literal of a CSV cell as a list, other text as it is."""
    try:
        return ast.literal_eval(text) if text else None
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return text


def read_question(row: Mapping[str, Any], file: str, line: int, problems: list[Problem]) -> SbQuestion | None:
    """Check one question; a bad one is named by file, index and field.

    Args:
        row: The question with its entry's ``video_path`` and ``time``.
        file: File name.
        line: Index in the file, from 1.
        problems: Takes what is wrong.
    """
    try:
        return _checked(row, file, line)
    except _BadField as error:
        item = row.get("question_id")
        found = Problem("bad-row", error.message, file, line, error.field, item if isinstance(item, str) else None)
        problems.append(found)
        return None


class _BadField(Exception):
    """A field of a row is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def _checked(row: Mapping[str, Any], file: str, line: int) -> SbQuestion:
    task = ABBREVIATIONS.get(_text(row, "task_type"))
    if task is None:
        raise _BadField("task_type", f"must be a sub-task (it is {row.get('task_type')!r:.80})")
    video = _video_name(row)
    question = _text(row, "question")
    stamp = _text(row, "time_stamp")
    official, at = _times(row, "time_stamp")
    proactive = task == "PO"
    options: tuple[str, ...] = () if proactive else _options(row)
    answer = "" if proactive else _text(row, "answer").strip()
    if not proactive and not _LETTERS.fullmatch(answer):
        raise _BadField("answer", f"must be a letter A to D (it is {answer!r:.80})")
    gold_at = _times(row, "ground_truth_time_stamp")[1] if proactive else None
    output = _text(row, "ground_truth_output") if proactive else ""
    if gold_at is not None and gold_at + 4 <= at:
        raise _BadField(
            "ground_truth_time_stamp", f"is {at - gold_at:g} s before the question, so nothing is polled"
        )
    given = row.get("question_id")
    id_ = given if given and _is_text(given) else question_id(video, at, question, (*options, output))
    return SbQuestion(
        id_, task, video, question, stamp, at, official, options, answer, gold_at, output, file, line
    )


def question_id(video: str, at: float, question: str, rest: Sequence[str]) -> str:
    """Return an id that depends on the question's content alone, so that a part of a file gives the same ids."""
    digest = hashlib.sha256(json.dumps([question, *rest], ensure_ascii=False).encode()).hexdigest()[:8]
    return f"{video}@{at:g}-{digest}"


def _text(row: Mapping[str, Any], field: str) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise _BadField(field, "is missing" if value is None else f"must be text (it is {value!r:.80})")
    if has_lone_surrogate(value):
        raise _BadField(field, f"holds half a character (it is {value!r:.80})")
    return value


def _video_name(row: Mapping[str, Any]) -> str:
    if row.get("video_path") is None:
        field = "question_id" if "question_id" in row else "video_path"
        raise _BadField(field, "names no video (the full Proactive_Output.csv beside it would tell)")
    name = PurePosixPath(_text(row, "video_path").replace("\\", "/")).name
    stem = name.rsplit(".", 1)[0]
    if not stem or stem in ("..", "."):
        raise _BadField("video_path", f"names no video (it is {name!r:.80})")
    try:
        require_name(name)
    except ValueError as error:
        raise _BadField("video_path", str(error)) from error
    return stem


def _times(row: Mapping[str, Any], field: str) -> tuple[float, float]:
    """Return what the official parser makes of a time stamp, and the mended second."""
    window = row.get("time")
    try:
        return clock_seconds(_text(row, field), window if isinstance(window, str) else None)
    except BadTime as error:
        raise _BadField(field, str(error)) from error


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not has_lone_surrogate(value)


def _options(row: Mapping[str, Any]) -> tuple[str, ...]:
    options = row.get("options")
    if not isinstance(options, list) or not all(_is_text(option) for option in options):
        raise _BadField("options", f"must be a list of texts (it is {options!r:.80})")
    try:
        shown_options(options)
    except ValueError as error:
        raise _BadField("options", str(error)) from error
    return tuple(options)


def _faults(found: SbQuestion) -> Iterator[Problem]:
    """Name known faults of a question that stays."""
    stamp, options = found.time_stamp, len(found.options)
    if found.at != found.official_at:
        message = f"malformed {stamp!r}: asked at {found.at:g} s, officially read as {found.official_at:g} s"
        yield Problem("known-fault", message, found.file, found.line, "time_stamp", found.id)
    elif not re.fullmatch(r"\d{1,2}:\d\d:\d\d", stamp):
        message = f"malformed {stamp!r}: read as {found.at:g} s"
        yield Problem("known-fault", message, found.file, found.line, "time_stamp", found.id)
    if options > 4:
        message = f"{options} options, the first four are shown: gold {found.answer} is {_gold_shown(found)}"
        yield Problem("known-fault", message, found.file, found.line, "options", found.id)


def _gold_shown(found: SbQuestion) -> str:
    try:
        mended = mended_options(found.options)
    except ValueError:
        return "not to be told"
    place = "ABCD".index(found.answer)
    shown = shown_options(found.options)
    if shown[place].strip() and mended[place].startswith(shown[place]):
        return "among them"
    inside = any(text.strip() and mended[place].startswith(text) for text in shown)
    return "on another line" if inside else "missing"
