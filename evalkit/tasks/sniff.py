"""Recognise which benchmark a file or folder belongs to, so that a wrong folder is named and not half-read."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path

from evalkit.errors import DataError

__all__ = ["KNOWN", "refuse_other", "sniff"]

KNOWN = (
    "ovobench",
    "streamingbench",
    "longvideobench",
    "videomme",
    "inf-streams",
    "egoschema",
    "mlvu",
    "livesports-cc",
    "livesports-qa",
)

_HEAD_BYTES = 65_536
_NAMES: tuple[tuple[str, str], ...] = (
    ("ovo_bench", "ovobench"),
    ("ovo-bench", "ovobench"),
    ("questions_real", "streamingbench"),
    ("questions_omni", "streamingbench"),
    ("questions_sqa", "streamingbench"),
    ("questions_proactive", "streamingbench"),
    ("real_time_visual_understanding", "streamingbench"),
    ("omni_source_understanding", "streamingbench"),
    ("contextual_understanding", "streamingbench"),
    ("sequential_question_answering", "streamingbench"),
    ("proactive_output", "streamingbench"),
    ("lvb_val", "longvideobench"),
    ("lvb_test", "longvideobench"),
    ("eval_all_metadata", "inf-streams"),
    ("score_all_clips", "inf-streams"),
    ("temp_score_clips", "inf-streams"),
)
_KEYS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"duration_group", "candidates"}), "longvideobench"),
    (frozenset({"duration_group", "question_category"}), "longvideobench"),
    (frozenset({"videoID", "sub_category", "options"}), "videomme"),
    (frozenset({"video_id", "duration", "domain", "questions"}), "videomme"),
    (frozenset({"video_categories", "questions"}), "streamingbench"),
    (frozenset({"time_stamp", "task_type", "question"}), "streamingbench"),
    (frozenset({"task", "video", "gt", "options", "realtime"}), "ovobench"),
    (frozenset({"task", "video", "test_info"}), "ovobench"),
    (frozenset({"backward", "realtime", "forward"}), "ovobench"),
    (frozenset({"video", "title", "content"}), "inf-streams"),
    (frozenset({"event_id", "event_asr"}), "livesports-cc"),
    (frozenset({"q_uid", "option 0"}), "egoschema"),
    (frozenset({"video", "candidates", "question_type"}), "mlvu"),
    (frozenset({"video_name", "candidates", "task_type"}), "mlvu"),
)


def sniff(path: Path) -> str | None:
    """Return the name of the benchmark a file or folder looks like, or ``None``.

    File names decide first, then the keys of the first record of a JSON, JSONL, CSV or Parquet file. Only the head
    of a file is read. In a folder, the files of the folder and of its children are looked at.

    Args:
        path: File or folder; one that does not exist gives ``None``.
    """
    if path.is_file():
        return _by_name(path.name) or _by_keys(path)
    if not path.is_dir():
        return None
    files = [
        *_files(path),
        *(file for child in sorted(path.iterdir()) if child.is_dir() for file in _files(child)),
    ]
    for file in files:
        named = _by_name(file.name)
        if named:
            return named
    return next((found for found in map(_by_keys, files[:20]) if found), None)


def refuse_other(path: Path, expected: str) -> None:
    """Refuse a folder that is recognisably another benchmark's.

    Args:
        path: File or folder given as data.
        expected: Name of the benchmark wanted.

    Raises:
        DataError: The path looks like another benchmark; the text names it.
    """
    found = sniff(path)
    if found is not None and found != expected:
        raise DataError(f"{path} holds {found} data, not {expected}; use --task {found}", path=path)


def _files(folder: Path) -> Iterable[Path]:
    wanted = (".json", ".jsonl", ".csv", ".parquet")
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in wanted and file.is_file())


def _by_name(name: str) -> str | None:
    lowered = name.lower()
    return next((task for part, task in _NAMES if part in lowered), None)


def _by_keys(path: Path) -> str | None:
    keys = _parquet_keys(path) if path.suffix.lower() == ".parquet" else _head_keys(path)
    return next((task for wanted, task in _KEYS if wanted <= keys), None)


def _head_keys(path: Path) -> set[str]:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES).decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    except OSError:
        return set()
    if path.suffix.lower() == ".csv":
        return set(next(csv.reader(head.splitlines()[:1]), []))
    return _first_object_keys(head)


def _first_object_keys(head: str) -> set[str]:
    """Return the keys of the first whole JSON object in a text; of the outermost one where the text breaks off."""
    start = head.find("{")
    if start < 0:
        return set()
    try:
        first, _ = json.JSONDecoder().raw_decode(head, start)
    except (json.JSONDecodeError, RecursionError):
        return {key for key in ("backward", "realtime", "forward") if f'"{key}"' in head} if start == 0 else set()
    return set(first) if isinstance(first, dict) else set()


def _parquet_keys(path: Path) -> set[str]:
    import pyarrow.parquet as pq

    try:
        return set(pq.read_schema(path).names)
    except (OSError, ValueError):
        return set()
