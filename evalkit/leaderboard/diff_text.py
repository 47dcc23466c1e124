"""A leaderboard diff as Markdown for a pull request and as JSON for programs."""

from __future__ import annotations

__all__ = ["diff_to_json", "diff_to_markdown"]

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from evalkit.leaderboard.diff import BoardDiff, ChangedRow
from evalkit.leaderboard.fingerprint import describe_mismatches, model_changes
from evalkit.leaderboard.schema import Entry
from evalkit.report.tables import Column, Estimate, Table, to_markdown
from evalkit.shown import videos_of


def _score(entry: Entry, primary: str) -> Estimate:
    return Estimate(entry.metrics.get(primary), entry.low, entry.high)


def _rows_table(caption: str, entries: Sequence[Entry], primary: dict[str, str]) -> str:
    rows = tuple(
        (
            entry.name,
            primary[entry.id],
            _score(entry, primary[entry.id]),
            None if entry.coverage is None else 100 * entry.coverage,
            entry.setting,
        )
        for entry in entries
    )
    columns = (
        Column("model", text=True),
        Column("metric", text=True),
        Column("score", "%", 2, interval=True),
        Column("coverage", "%", 1),
        Column("setting", text=True),
    )
    return to_markdown(Table(caption, columns, rows))


def _said(row: ChangedRow) -> str:
    difference = row.difference
    if difference.kind == "refused":
        named = describe_mismatches(difference.mismatches)
        return f"not comparable: {difference.reason}" + (f": {named}" if named else "")
    if difference.kind == "paired":
        how = (
            f"paired over {difference.n} questions on {videos_of(difference.clusters or 0)} ({difference.metric})"
        )
        changed = model_changes(row.base.fingerprint or {}, row.head.fingerprint or {})
        said = [] if difference.transcripts is None else [difference.transcripts.sentence()]
        said += [f"under test: {describe_mismatches(changed)}"] if changed else []
        return "; ".join([how, *said])
    return f"plain: {difference.reason}"


def _changed_table(diff: BoardDiff) -> str:
    rows = tuple(
        (
            row.head.name,
            _score(row.base, diff.primary[row.head.id]),
            _score(row.head, diff.primary[row.head.id]),
            Estimate(row.difference.value, row.difference.low, row.difference.high),
            _said(row),
            ", ".join(row.fields),
        )
        for row in diff.changed
    )
    columns = (
        Column("model", text=True),
        Column("base", "%", 2, interval=True),
        Column("head", "%", 2, interval=True),
        Column("head − base", "points", 2, interval=True),
        Column("how", text=True),
        Column("changed fields", text=True),
    )
    return to_markdown(Table("Changed", columns, rows))


def diff_to_markdown(diffs: Sequence[BoardDiff]) -> str:
    """Return the diffs of all benchmarks as Markdown; one line where nothing changed."""
    parts = ["## Leaderboard changes\n"]
    for diff in diffs:
        if diff.empty:
            continue
        parts.append(f"### {diff.task}\n")
        if diff.added:
            parts.append(_rows_table("Added", diff.added, diff.primary))
        if diff.removed:
            parts.append(_rows_table("Removed", diff.removed, diff.primary))
        if diff.changed:
            parts.append(_changed_table(diff))
    if len(parts) == 1:
        parts.append("No row was added, removed or changed.\n")
    else:
        parts.append(
            "Intervals are 95 %, clustered by video; whether two overlap says nothing about a difference.\n"
        )
    return "\n".join(parts)


def _entry(entry: Entry, primary: str) -> dict[str, Any]:
    return {
        "id": entry.id,
        "name": entry.name,
        "setting": entry.setting,
        "metric": primary,
        "value": entry.metrics.get(primary),
        "low": entry.low,
        "high": entry.high,
        "n": entry.n,
        "coverage": entry.coverage,
        "source": entry.source.kind,
    }


def diff_to_json(diffs: Sequence[BoardDiff]) -> dict[str, Any]:
    """Return the object of ``evalkit leaderboard diff --format json``; scores and differences in points."""
    return {
        "tasks": [
            {
                "task": diff.task,
                "added": [_entry(entry, diff.primary[entry.id]) for entry in diff.added],
                "removed": [_entry(entry, diff.primary[entry.id]) for entry in diff.removed],
                "changed": [
                    {
                        "id": row.head.id,
                        "name": row.head.name,
                        "fields": list(row.fields),
                        "base": _entry(row.base, diff.primary[row.head.id]),
                        "head": _entry(row.head, diff.primary[row.head.id]),
                        "difference": asdict(row.difference),
                    }
                    for row in diff.changed
                ],
            }
            for diff in diffs
        ]
    }
