"""Outputs of the original code as a run folder, so that old results can be judged like new ones."""

from __future__ import annotations

__all__ = ["import_outputs"]

import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.records import AnswerRecord, JsonlWriter, RunFolder, RunManifest
from evalkit.run.fingerprint import fingerprint_digest
from evalkit.run.provenance import git_revision, versions
from evalkit.tasks import NarrationTask, Problem, RepliesTask, Task
from evalkit.tasks.catalog import data_folder


def import_outputs(task: Task, files: Sequence[Path], model: str, data: str | None, out: Path) -> list[Problem]:
    """Make a run folder of files of outputs.

    How they were made is not known, so their fingerprint matches no run: judging them needs
    ``--allow-mismatch``, which marks the result.

    Args:
        task: The benchmark.
        files: The original's outputs; of narrations one file.
        model: What they are called.
        data: The benchmark's folder, as for a run.
        out: Run folder to make.

    Returns:
        What is wrong with rows, or was doubled.

    Raises:
        UsageError: The task's outputs are neither narration nor graded replies, or ``out`` is taken.
        DataError: A file is malformed.
    """
    if not isinstance(task, NarrationTask | RepliesTask):
        raise UsageError(f"outputs of {task.name} are scored as they stand: evalkit score --task {task.name} FILE")
    for file in files:
        if not file.is_file():
            what = "is a folder, not a file of outputs" if file.is_dir() else "does not exist"
            raise UsageError(f"{file} {what}")
    if isinstance(task, NarrationTask) and len(files) > 1:
        raise UsageError(f"a narration of {task.name} is one file, not {len(files)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} exists and is not an empty folder")
    folder_of_data = data_folder(task, data)
    if isinstance(task, NarrationTask):
        records, problems = task.read_outputs(files[0])
    else:
        records, problems = task.read_replies(files, folder_of_data)
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    fingerprint = {"task": task.name, "imported": digest[:16], "model.name": model}
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    out.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(out)
    with JsonlWriter[AnswerRecord](folder.answers_path) as answers:
        for record in records:
            answers.append(record)
    folder.write_manifest(
        RunManifest(
            task=task.name,
            model=model,
            status="done",
            started=now,
            finished=now,
            options={"imported": " ".join(map(str, files))},
            fingerprint=fingerprint,
            fingerprint_digest=fingerprint_digest(fingerprint),
            versions=versions(),
            git=git_revision(),
            data={"path": str(folder_of_data.resolve())},
            planned=sorted({record.sample for record in records}),
            warnings=[str(problem) for problem in problems],
        )
    )
    return problems
