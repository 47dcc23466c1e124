"""Taking back, when a run is gone on with, the failures that were a server's and not the sample's."""

from __future__ import annotations

__all__ = ["reopen_failed"]

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from evalkit.errors import ServerError
from evalkit.records import AnswerRecord, RunFolder, RunManifest, read_jsonl, write_atomic
from evalkit.run.recorder import DoneRecord

_A_SERVER_S: Final = ServerError.__name__


def reopen_failed(folder: RunFolder, manifest: RunManifest) -> int:
    """Let the samples run again that failed because a server gave no reply; what they have on record stays.

    Their failures go from ``answers.jsonl``, from the list of finished samples and from the manifest, in this
    order: a process killed in between finds them again.

    Args:
        folder: The run's folder, held by the caller.
        manifest: Its ``run.json``; changed in place, written by the caller.

    Returns:
        How many samples run again.
    """
    again = {failure.sample for failure in manifest.failed if failure.error == _A_SERVER_S}
    if again:
        _keep(folder.answers_path, AnswerRecord, lambda one: one.status != "failed" or one.sample not in again)
        _keep(folder.state_path / "done.jsonl", DoneRecord, lambda one: one.sample not in again)
        manifest.failed = [failure for failure in manifest.failed if failure.sample not in again]
    return len(again)


def _keep(path: Path, model: Any, wanted: Callable[[Any], bool]) -> None:
    """Rewrite a file of records with those that are wanted."""
    records, _ = read_jsonl(path, model)
    write_atomic(path, "".join(f"{record.model_dump_json()}\n" for record in records if wanted(record)))
