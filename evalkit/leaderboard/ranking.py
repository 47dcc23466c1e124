"""The order of rows within a setting and why a row has no rank."""

from __future__ import annotations

__all__ = ["RankedRow", "rank_rows"]

from dataclasses import dataclass

from evalkit.leaderboard.schema import Entry, Leaderboard, Setting


@dataclass(frozen=True, slots=True)
class RankedRow:
    """An entry with its place.

    Args:
        entry: The row.
        rank: Place by the primary metric, from 1, equal values sharing one; None where it is not ranked.
        unranked: Why it is not ranked; empty where it is.
    """

    entry: Entry
    rank: int | None
    unranked: str = ""


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
    return [
        *(RankedRow(entry, values.index(value) + 1) for entry, value in zip(ranked, values, strict=True)),
        *(RankedRow(entry, None, reasons[entry.id]) for entry in listed),
    ]
