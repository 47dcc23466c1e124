"""The order of rows within a setting and why a row has no rank."""

from __future__ import annotations

__all__ = ["RankedRow", "rank_rows"]

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from evalkit.leaderboard.schema import Entry, Leaderboard, Setting

_ERROR = 0.05


@dataclass(frozen=True, slots=True)
class RankedRow:
    """An entry with its place.

    Args:
        entry: The row.
        rank: Place by the primary metric, from 1, equal values sharing one; None where it is not ranked.
        unranked: Why it is not ranked; empty where it is.
        places: Best and worst place that the rows' errors leave open, for all rows at once; None where the row has
            no error or no rank.
    """

    entry: Entry
    rank: int | None
    unranked: str = ""
    places: tuple[int, int] | None = None


def _unranked(entry: Entry, setting: Setting, floor: float) -> str:
    if entry.metrics.get(setting.primary) is None:
        return f"no value for {setting.primary}"
    if entry.coverage is not None and entry.coverage < floor:
        # Rounded down: 98.99 % must not be shown as the 99 % it failed to reach.
        return f"coverage {int(entry.coverage * 1000) / 10:.1f} % is below {100 * floor:g} %"
    return "" if entry.comparable else "setting not fully known"


def rank_rows(board: Leaderboard, setting: Setting) -> list[RankedRow]:
    """Return a setting's rows: ranked by the primary metric, then those listed without a rank.

    Rows without a rank are those below the coverage floor, those marked as not comparable and those that lack
    the primary metric. An unknown coverage (a published row) is shown as unknown and does not cost the rank.
    """
    rows = [entry for entry in board.entries if entry.setting == setting.id]
    reasons = {entry.id: _unranked(entry, setting, board.coverage_floor) for entry in rows}

    def place(entry: Entry) -> tuple[bool, float, str, str]:
        value = entry.metrics.get(setting.primary)
        return value is None, -(value or 0.0), entry.name.casefold(), entry.id

    ranked = sorted((entry for entry in rows if not reasons[entry.id]), key=place)
    values = [entry.metrics[setting.primary] for entry in ranked]
    listed = sorted((entry for entry in rows if reasons[entry.id]), key=place)
    open_to = _places(ranked, setting.primary)
    return [
        *(
            RankedRow(entry, values.index(value) + 1, places=open_to[entry.id])
            for entry, value in zip(ranked, values, strict=True)
        ),
        *(RankedRow(entry, None, reasons[entry.id]) for entry in listed),
    ]


def _places(ranked: Sequence[Entry], primary: str) -> dict[str, tuple[int, int] | None]:
    """Return the places each row may have in truth, 95 % for all rows together.

    Two rows are told apart by the unpaired t test with Welch's degrees of freedom over videos, at 5 % divided by
    the number of pairs (Bonferroni). Rows of one setting met the same videos, so a paired test would be
    sharper; the answers are not at hand here (`evalkit compare` where they are). A row without an error is told
    from none.
    """
    known = [entry for entry in ranked if entry.se and (entry.clusters or 0) > 1]
    pairs = max(1, len(known) * (len(known) - 1) // 2)
    above = {entry.id: 0 for entry in known}
    below = dict(above)
    for one, other in combinations(known, 2):
        higher, lower = (one, other) if _value(one, primary) >= _value(other, primary) else (other, one)
        if _told_apart(higher, lower, primary, _ERROR / pairs):
            above[lower.id] += 1
            below[higher.id] += 1
    return {
        entry.id: (1 + above[entry.id], len(ranked) - below[entry.id]) if entry.id in above else None
        for entry in ranked
    }


def _value(entry: Entry, primary: str) -> float:
    return entry.metrics[primary] or 0.0


def _told_apart(higher: Entry, lower: Entry, primary: str, error: float) -> bool:
    from scipy.stats import t

    variances = [((entry.se or 0.0) ** 2, (entry.clusters or 0) - 1) for entry in (higher, lower)]
    total = sum(variance for variance, _ in variances)
    freedom = total**2 / sum(variance**2 / free for variance, free in variances)
    gap = _value(higher, primary) - _value(lower, primary)
    return bool(2 * t.sf(gap / total**0.5, freedom) < error)
