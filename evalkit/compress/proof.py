"""Whether the compressors did what their settings claim, from a run's tick records alone."""

from __future__ import annotations

__all__ = ["ShareProblem", "check_shares", "unclaimed_seconds"]

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from evalkit.records import CompressorReport, TickRecord


@dataclass(frozen=True, slots=True)
class ShareProblem:
    """One compressor in one second whose share is off, or makes no claim.

    Args:
        sample: Id of the sample.
        second: Number of the stream second.
        compressor: Name of the compressor.
        measured: Reused share (cacher) or kept share (pruner); ``None`` where nothing went in.
        claimed: What the settings promise, ``None`` where they cannot.
        reason: One line for the reader.
    """

    sample: str
    second: int
    compressor: str
    measured: float | None
    claimed: float | None
    reason: str

    def __str__(self) -> str:
        return f"{self.sample} second {self.second}, {self.compressor}: {self.reason}"


def check_shares(ticks: Iterable[TickRecord], tolerance: float = 0.02) -> list[ShareProblem]:
    """Return every second whose share is off from the claimed one by more than ``tolerance``.

    A report with a ``reused_share`` is held against it (cacher); one without is held against the share of
    tokens that left (pruner). Seconds that make no claim are not problems: `unclaimed_seconds` names them.

    Args:
        ticks: The run's seconds.
        tolerance: Largest difference of shares that passes (0.02 is two points of a hundred).
    """
    problems = []
    for tick, report in _reports(ticks):
        if report.claimed_share is None:
            continue
        share = _measured(report)
        if share is None:
            reason = f"claims {report.claimed_share:.1%} but no token went in"
        elif abs(share - report.claimed_share) > tolerance:
            word = "kept" if report.reused_share is None else "reused"
            reason = f"{share:.1%} {word}, {report.claimed_share:.1%} claimed"
        else:
            continue
        problems.append(ShareProblem(tick.sample, tick.second, report.name, share, report.claimed_share, reason))
    return problems


def unclaimed_seconds(ticks: Iterable[TickRecord]) -> list[ShareProblem]:
    """Return the seconds in which a compressor's claim cannot hold, with the reason it gave."""
    return [
        ShareProblem(
            tick.sample, tick.second, report.name, _measured(report), None, report.note or "no reason given"
        )
        for tick, report in _reports(ticks)
        if report.claimed_share is None
    ]


def _reports(ticks: Iterable[TickRecord]) -> Iterator[tuple[TickRecord, CompressorReport]]:
    for tick in ticks:
        for report in tick.compressors:
            yield tick, report


def _measured(report: CompressorReport) -> float | None:
    if report.reused_share is not None:
        return report.reused_share
    return report.tokens_out / report.tokens_in if report.tokens_in else None
