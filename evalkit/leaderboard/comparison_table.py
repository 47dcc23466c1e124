"""How a comparison of runs is shown: as a table for people and papers, and as the JSON of ``evalkit compare``."""

from __future__ import annotations

__all__ = ["comparison_table", "comparison_to_json"]

from dataclasses import asdict
from typing import Any

from evalkit.leaderboard.compare import Comparison, PairRow
from evalkit.report.tables import Cell, Column, Estimate, Table
from evalkit.shown import videos_of

_POINTS = 100.0
_LEAST_P = 0.0001
"""A p-value below this is shown as such: four decimals would print it as zero."""


def _points(share: float | None) -> float | None:
    return None if share is None else share * _POINTS


def _interval(value: float | None, low: float | None, high: float | None, factor: float = _POINTS) -> Estimate:
    return Estimate(*(None if part is None else part * factor for part in (value, low, high)))


def _verdict(row: PairRow) -> str:
    test = row.paired.non_inferiority
    if test is None or test.bound is None:
        return "cannot tell"
    return "shown" if test.holds else "not shown"


def _bound(row: PairRow) -> float | None:
    test = row.paired.non_inferiority
    return None if test is None else _points(test.bound)


def _ends(row: PairRow) -> tuple[float | None, float | None]:
    """Return the ends of the interval; two runs that said the same differ by nothing that is estimated."""
    return (None, None) if row.transcripts.identical else (row.paired.low, row.paired.high)


def _columns(comparison: Comparison) -> list[tuple[Column, Any]]:
    """Return the columns with the function that fills them; what no pair has is left out."""
    rows = comparison.rows
    columns: list[tuple[Column, Any]] = [
        (Column("A", text=True), lambda row: row.a + (" ≠" if row.mismatches else "")),
        (Column("B", text=True), lambda row: row.b),
        (Column("score A", "%", 2), lambda row: _points(row.paired.mean_a)),
        (Column("score B", "%", 2), lambda row: _points(row.paired.mean_b)),
        (
            Column("A − B", "points", 2, interval=True),
            lambda row: _interval(row.paired.difference, *_ends(row)),
        ),
        (Column("p", digits=4, least=_LEAST_P), lambda row: row.paired.permutation_p),
        (Column("p Holm", digits=4, least=_LEAST_P), lambda row: row.p_holm),
        (Column("p t", digits=4, least=_LEAST_P), lambda row: row.paired.p_value),
        (Column("p McNemar", digits=4, least=_LEAST_P), lambda row: row.paired.mcnemar_p),
        (Column("rho", digits=2), lambda row: row.paired.rho),
        (Column("only A right"), lambda row: row.paired.only_a),
        (Column("only B right"), lambda row: row.paired.only_b),
        (Column("MDE", "points", 2), lambda row: _points(row.paired.mde)),
    ]
    if comparison.margin is not None:
        name = f"A no worse by {comparison.margin * _POINTS:g} points"
        columns += [(Column(name, text=True), _verdict), (Column("Bound", "points", 2), _bound)]
    if any(row.flips for row in rows):
        columns.append(
            (
                Column("flip rate", "%", 2, interval=True),
                lambda row: _interval(row.flips.value, row.flips.low, row.flips.high) if row.flips else None,
            )
        )
    if any(row.seconds for row in rows):
        columns.append(
            (
                Column("median second A / B", "×", 3, interval=True),
                lambda row: (
                    _interval(row.seconds.ratio, row.seconds.low, row.seconds.high, 1.0) if row.seconds else None
                ),
            )
        )
    return columns


def comparison_table(comparison: Comparison) -> Table:
    """Return the table: one row per pair, the smallest detectable effect and every warning below it."""
    columns = _columns(comparison)
    rows: tuple[tuple[Cell, ...], ...] = tuple(tuple(fill(row) for _, fill in columns) for row in comparison.rows)
    effects = [row.paired.mde for row in comparison.rows if row.paired.mde is not None]
    span = (
        " to ".join(f"{effect * _POINTS:.2f}" for effect in sorted({min(effects), max(effects)}))
        if effects
        else ""
    )
    notes = [
        f"n = {comparison.n} {comparison.unit} on {videos_of(comparison.clusters)}; differences are A minus B in "
        f"points, paired and clustered by video (CR2), with {100 * comparison.confidence:g} % intervals. p flips "
        "the sign of whole videos (permutation); p t is Student's.",
        f"Minimal detectable effect ({100 * comparison.power:g} % power, two-sided): {span} points; a smaller "
        "true difference is likely to be missed."
        if effects
        else "Minimal detectable effect: cannot be told from these runs.",
    ]
    if len(comparison.rows) > 1:
        notes.append(f"p Holm is p corrected for the {len(comparison.rows)} comparisons of this table.")
    seconds = sorted({row.seconds.seconds for row in comparison.rows if row.seconds is not None})
    if seconds:
        notes.append(
            f"Median second: over the {' or '.join(map(str, seconds))} timed seconds that both have; its interval "
            "holds no variance from run to run (evalkit gate takes repeated runs)."
        )
    notes += [f"Warning: {line}" for line in comparison.warnings]
    return Table(
        caption=f"{comparison.task}: {comparison.metric}",
        columns=tuple(column for column, _ in columns),
        rows=rows,
        notes=tuple(notes),
        label=f"compare-{comparison.task}",
    )


def comparison_to_json(comparison: Comparison) -> dict[str, Any]:
    """Return the object of ``evalkit compare --json``; scores and differences in points (0-100)."""
    return {
        "task": comparison.task,
        "metric": comparison.metric,
        "unit": "points",
        "n": comparison.n,
        "clusters": comparison.clusters,
        "margin": _points(comparison.margin),
        "mismatched": comparison.mismatched,
        "runs": [
            {
                "name": run.label,
                "run": run.records.folder.path.name,
                "fingerprint": run.records.manifest.fingerprint_digest,
                "n": len(run.scores),
                "score": _POINTS * run.value,
                "repeats": None if run.repeats is None else asdict(run.repeats),
            }
            for run in comparison.runs
        ],
        "pairs": [_pair_to_json(row) for row in comparison.rows],
        "warnings": list(comparison.warnings),
    }


def _pair_to_json(row: PairRow) -> dict[str, Any]:
    paired, test = row.paired, row.paired.non_inferiority
    return {
        "a": row.a,
        "b": row.b,
        "n": paired.n,
        "clusters": paired.clusters,
        "score_a": _points(paired.mean_a),
        "score_b": _points(paired.mean_b),
        "difference": _points(paired.difference),
        "se": _points(paired.se),
        "low": _points(_ends(row)[0]),
        "high": _points(_ends(row)[1]),
        "p": paired.permutation_p,
        "p_holm": row.p_holm,
        "p_t": paired.p_value,
        "p_mcnemar": paired.mcnemar_p,
        "rho": paired.rho,
        "only_a": paired.only_a,
        "only_b": paired.only_b,
        "deff": paired.deff,
        "mde": _points(paired.mde),
        "non_inferiority": None
        if test is None
        else {"margin": _points(test.margin), "bound": _points(test.bound), "holds": test.holds},
        "method": paired.method,
        "freedom": paired.freedom,
        "bound_low": _points(paired.bound_low),
        "bound_high": _points(paired.bound_high),
        "identical": paired.identical,
        "transcripts_equal": row.transcripts.identical,
        "replies": row.transcripts.replies,
        "replies_differing": row.transcripts.differing,
        "same_model": row.same_model,
        "flip_rate": None if row.flips is None else row.flips.value,
        "flip_interval": None if row.flips is None or row.flips.low is None else [row.flips.low, row.flips.high],
        "seconds": None if row.seconds is None else asdict(row.seconds),
        "mismatches": [asdict(one) for one in row.mismatches],
        "note": paired.note,
    }
