"""What changed between two leaderboards, and by how much, where that may be said; printing is in `diff_text`."""

from __future__ import annotations

__all__ = ["BoardDiff", "ChangedRow", "Difference", "FindRun", "diff_boards", "find_runs_below"]

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evalkit.errors import DataError, UsageError
from evalkit.leaderboard.answers import align, score_runs
from evalkit.leaderboard.fingerprint import Mismatch, comparable
from evalkit.leaderboard.schema import Entry, Leaderboard, RunSource
from evalkit.leaderboard.transcripts import Transcripts, compare_transcripts
from evalkit.records import RunFolder, RunRecords, read_run

FindRun = Callable[[Entry], Path | None]
"""Gives the folder of an entry's run where it is still at hand."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a row moved, head minus base in points, or why that cannot be said.

    Args:
        kind: ``paired`` from the answers of both runs, ``plain`` from the two figures, ``refused``.
        metric: What moved.
        value: The difference; None where refused.
        low: Lower end of the paired interval; None for a plain difference.
        high: Upper end.
        p_value: Of the paired test.
        n: Questions paired.
        clusters: Videos they are on.
        reason: Why it is refused, or why it is plain; empty for a paired one.
        mismatches: Fields that forbid it.
        transcripts: What both runs said, side by side, for a paired difference.
    """

    kind: Literal["paired", "plain", "refused"]
    metric: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    n: int | None = None
    clusters: int | None = None
    reason: str = ""
    mismatches: tuple[Mismatch, ...] = ()
    transcripts: Transcripts | None = None


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """A row that both sides have, with different content."""

    base: Entry
    head: Entry
    fields: tuple[str, ...]
    difference: Difference


@dataclass(frozen=True, slots=True)
class BoardDiff:
    """What changed in one benchmark's leaderboard."""

    task: str
    added: tuple[Entry, ...]
    removed: tuple[Entry, ...]
    changed: tuple[ChangedRow, ...]
    primary: dict[str, str]

    @property
    def empty(self) -> bool:
        """Whether nothing changed."""
        return not (self.added or self.removed or self.changed)


def find_runs_below(folder: Path) -> FindRun:
    """Return a function that finds an entry's run folder at any depth up to ``task/model/run`` below `folder`.

    A folder counts only if its fingerprint is the entry's.
    """
    places: dict[str, list[Path]] = {}
    for pattern in ("*/run.json", "*/*/run.json", "*/*/*/run.json"):
        for path in sorted(folder.glob(pattern)) if folder.is_dir() else ():
            places.setdefault(path.parent.name, []).append(path.parent)

    def find(entry: Entry) -> Path | None:
        if not isinstance(entry.source, RunSource):
            return None
        for path in places.get(entry.source.run, ()):
            try:
                manifest = RunFolder(path).read_manifest()
            except DataError:
                continue
            if manifest.fingerprint_digest == entry.fingerprint_digest:
                return path
        return None

    return find


def _nothing_at_hand(_: Entry) -> Path | None:
    return None


def diff_boards(
    base: Leaderboard | None, head: Leaderboard | None, *, find_run: FindRun = _nothing_at_hand
) -> BoardDiff:
    """Compare two states of one leaderboard; rows are the same where their ids are.

    Args:
        base: Before; None where there was no leaderboard.
        head: After; None where it is gone.
        find_run: Finds the run folder of an entry, for paired differences.

    Raises:
        UsageError: Neither side is there, or they are of different tasks.
    """
    one = head or base
    if one is None or (base is not None and base.task != one.task):
        raise UsageError("a diff needs two leaderboards of one task")
    before = {entry.id: entry for entry in base.entries} if base else {}
    after = {entry.id: entry for entry in head.entries} if head else {}
    primaries = {
        entry.id: board.setting(entry.setting).primary
        for board in (base, head)
        if board
        for entry in board.entries
    }
    changed = []
    for id_ in sorted(before.keys() & after.keys()):
        old, new = before[id_], after[id_]
        if old != new:
            fields = tuple(name for name in Entry.model_fields if getattr(old, name) != getattr(new, name))
            changed.append(ChangedRow(old, new, fields, _difference(old, new, primaries[id_], find_run)))
    return BoardDiff(
        task=one.task,
        added=tuple(after[id_] for id_ in sorted(after.keys() - before.keys())),
        removed=tuple(before[id_] for id_ in sorted(before.keys() - after.keys())),
        changed=tuple(changed),
        primary=primaries,
    )


def _difference(base: Entry, head: Entry, primary: str, find_run: FindRun) -> Difference:
    refused = _refusal(base, head, primary)
    if refused is not None:
        return refused
    places = find_run(base), find_run(head)
    if places[0] is not None and places[1] is not None and places[0] != places[1]:
        return _paired(base, head, primary, (read_run(places[0], ticks=False), read_run(places[1], ticks=False)))
    published = base.source.kind == "published"
    return _plain(base, head, primary, "published figures" if published else "the runs' answers are not at hand")


def _plain(base: Entry, head: Entry, primary: str, reason: str) -> Difference:
    old, new = base.metrics.get(primary), head.metrics.get(primary)
    if old is None or new is None:
        return Difference("refused", primary, reason=f"no value for {primary} on one side")
    return Difference("plain", primary, value=round(new - old, 6), reason=reason)


def _refusal(base: Entry, head: Entry, primary: str) -> Difference | None:
    """Return why two rows must not be subtracted, or None where they may."""
    if base.source.kind != head.source.kind:
        return Difference("refused", primary, reason="one is a published row, the other a run")
    for name, side in (("base", base), ("head", head)):
        if not side.comparable:
            return Difference("refused", primary, reason=f"the setting of {name} is not fully known: {side.note}")
    if base.score != head.score:
        return Difference("refused", primary, reason=f"scored by other rules ({base.score} and {head.score})")
    mismatches = list(comparable(base.fingerprint or {}, head.fingerprint or {}))
    mismatches += [Mismatch("judge", base.judge, head.judge)] if base.judge != head.judge else []
    if not mismatches and base.setting != head.setting:
        mismatches = [Mismatch("setting", base.setting, head.setting)]
    if mismatches:
        reason = "the fingerprints differ in more than the model under test"
        return Difference("refused", primary, reason=reason, mismatches=tuple(mismatches))
    return None


def _paired(base: Entry, head: Entry, primary: str, runs: tuple[RunRecords, RunRecords]) -> Difference:
    from evalkit.stats import CompareOptions, compare_pair

    try:
        old, new = score_runs({"base": runs[0], "head": runs[1]}, judge=head.judge)
        aligned = align([old, new])
    except (DataError, UsageError) as error:
        return _plain(base, head, primary, f"the answers at hand cannot be paired: {error}")
    if aligned.mismatches:
        return Difference(
            "refused",
            old.metric,
            reason="the runs answered different questions",
            mismatches=tuple(aligned.mismatches),
        )
    paired = compare_pair(
        aligned.scores["head"],
        aligned.scores["base"],
        aligned.clusters,
        composition=aligned.composition,
        options=CompareOptions(draws=1),
    )
    value, low, high = (
        None if share is None else round(100 * share, 6) for share in (paired.difference, paired.low, paired.high)
    )
    return Difference(
        "paired",
        old.metric,
        value=value,
        low=low,
        high=high,
        p_value=None if paired.p_value is None else round(paired.p_value, 9),
        n=paired.n,
        clusters=paired.clusters,
        reason=paired.note,
        transcripts=compare_transcripts(old, new),
    )
