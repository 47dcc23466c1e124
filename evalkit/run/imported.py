"""Outputs of the original code as a run folder, so that old results can be judged like new ones."""

from __future__ import annotations

__all__ = ["import_outputs"]

import datetime
import hashlib
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.records import AnswerRecord, JsonlWriter, RunFolder, RunManifest
from evalkit.run.fingerprint import fingerprint_digest
from evalkit.run.provenance import git_revision, versions
from evalkit.tasks import NarrationTask, Problem, Task
from evalkit.tasks.catalog import data_folder


def import_outputs(task: Task, file: Path, model: str, data: str | None, out: Path) -> list[Problem]:
    """Make a run folder of a file of outputs.

    How they were made is not known, so their fingerprint matches no run: judging them needs
    ``--allow-mismatch``, which marks the result.

    Args:
        task: The benchmark.
        file: The original's outputs.
        model: What they are called.
        data: The benchmark's folder, as for a run.
        out: Run folder to make.

    Returns:
        What was doubled in the file.

    Raises:
        UsageError: The task's outputs are not narration, or ``out`` is taken.
        DataError: The file is malformed.
    """
    if not isinstance(task, NarrationTask):
        raise UsageError(f"outputs of {task.name} are scored as they stand: evalkit score --task {task.name} FILE")
    if not file.is_file():
        raise UsageError(f"{file} {'is a folder, not a file of outputs' if file.is_dir() else 'does not exist'}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} exists and is not an empty folder")
    folder_of_data = data_folder(task, data)
    records, problems = task.read_outputs(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
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
            options={"imported": str(file)},
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
