"""Score a run again from its records, after a parser or a scoring rule has changed; no model runs."""

from __future__ import annotations

__all__ = ["Rescored", "ScoreChange", "rescore"]

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import DataError
from evalkit.parse import PARSER_VERSION, Parsed, parse
from evalkit.records import AnswerRecord, Metric, RunFolder, hold_folder, read_run, write_atomic
from evalkit.run.fingerprint import fingerprint_digest
from evalkit.run.finish import finish_run


@dataclass(frozen=True, slots=True)
class ScoreChange:
    """One figure before and after.

    Args:
        name: Its name.
        group: Its group, empty for the headline.
        score: ``strict``, ``official`` or ``None``.
        unit: Its unit.
        before: Value on record; ``None`` where there was none.
        after: Value now.
    """

    name: str
    group: str
    score: str | None
    unit: str
    before: float | None
    after: float | None

    @property
    def changed(self) -> bool:
        """Whether the two differ by more than rounding."""
        if self.before is None or self.after is None:
            return self.before is not self.after
        return abs(self.before - self.after) > 1e-9


@dataclass(frozen=True, slots=True)
class Rescored:
    """What scoring again gave.

    Args:
        path: The run.
        replies: Replies that were read again.
        read_otherwise: How many of them are read otherwise now.
        parser_before: Version of the parsers the run was read with.
        parser_after: Version of today's.
        figures: Every score, before and after.
    """

    path: Path
    replies: int
    read_otherwise: int
    parser_before: str
    parser_after: str
    figures: tuple[ScoreChange, ...]


def rescore(path: Path) -> Rescored:
    """Read every reply of a run again, score it, and report it anew.

    Replies, seconds and verdicts stay as they were said; what a reply is read as, the scores and the page
    change, and the fingerprint says which parsers read it.

    Args:
        path: The run folder.

    Raises:
        DataError: It is no run folder, or it is not done.
        UsageError: Another process is at work in it.
    """
    RunFolder(path).read_manifest()  # before the folder is held, which would make one
    with hold_folder(path):
        run = read_run(path, ticks=False)
        manifest = run.manifest
        if manifest.status != "done":
            raise DataError(f"{path} is {manifest.status}: evalkit run --resume --out {path}", path=path)
        again = [_read_again(answer) for answer in run.answers]
        otherwise = sum(now != before for now, before in zip(again, run.answers, strict=True))
        if otherwise:
            write_atomic(run.folder.answers_path, "".join(f"{one.model_dump_json()}\n" for one in again))
        before = [] if run.metrics is None else _scores(run.metrics.metrics)
        was = str(manifest.fingerprint.get("parser", "?"))
        _note_parser(run.folder)
        after = finish_run(path).metrics
    figures = _paired(before, [] if after is None else _scores(after.metrics))
    asked = sum(answer.kind != "narration" for answer in run.answers)
    return Rescored(path, asked, otherwise, was, PARSER_VERSION, figures)


def _read_again(answer: AnswerRecord) -> AnswerRecord:
    if answer.kind == "narration" or answer.status == "failed":
        return answer
    read = parse(answer.kind, answer.text, answer.choices)
    if isinstance(read, Parsed):
        return answer.model_copy(update={"parsed": read.value, "rule": read.rule, "unparsed": None})
    return answer.model_copy(update={"parsed": None, "rule": None, "unparsed": read.reason})


def _note_parser(folder: RunFolder) -> None:
    manifest = folder.read_manifest()
    if manifest.fingerprint.get("parser") != PARSER_VERSION:
        fingerprint = manifest.fingerprint | {"parser": PARSER_VERSION}
        digest = fingerprint_digest(fingerprint)
        folder.write_manifest(
            manifest.model_copy(update={"fingerprint": fingerprint, "fingerprint_digest": digest})
        )


def _scores(metrics: Sequence[Metric]) -> list[Metric]:
    return [metric for metric in metrics if metric.score is not None]


def _paired(before: Sequence[Metric], after: Sequence[Metric]) -> tuple[ScoreChange, ...]:
    """Return every figure of either side, in the order of today's."""

    def key(metric: Metric) -> tuple[str, str, str | None]:
        return metric.group, metric.name, metric.score

    old, new = ({key(metric): metric for metric in side} for side in (before, after))
    return tuple(
        ScoreChange(
            name=name,
            group=group,
            score=score,
            unit=(new.get(one) or old[one]).unit,
            before=old[one].value if one in old else None,
            after=new[one].value if one in new else None,
        )
        for one in dict.fromkeys([*new, *old])
        for group, name, score in [one]
    )
