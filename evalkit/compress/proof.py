"""Whether the compressors did what their settings claim, from a run's tick records alone."""

from __future__ import annotations

__all__ = ["ShareProblem", "check_shares", "unclaimed_lines", "unclaimed_seconds"]

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


def check_shares(ticks: Iterable[TickRecord], tolerance: float = 0.02, compressors: int = 0) -> list[ShareProblem]:
    """Return every second whose share is off from the claimed one by more than ``tolerance``.

    A report with a ``reused_share`` is held against it (cacher); one without is held against the share of
    tokens that entered the language model (pruner), as the context's own count of vision tokens has it. Seconds
    that make no claim are not problems: `unclaimed_seconds` names them.

    Args:
        ticks: The run's seconds.
        tolerance: Largest difference of shares that passes (0.02 is two points of a hundred).
        compressors: How many compressors the run has; a second with frames and fewer reports is a problem.
    """
    rows = list(ticks)
    problems = [
        ShareProblem(
            tick.sample, tick.second, "compression", None, None,
            f"{len(tick.compressors)} of {compressors} compressors reported",
        )
        for tick in rows
        if tick.frames and len(tick.compressors) < compressors
    ]  # fmt: skip
    for tick, report in _reports(rows):
        if report.claimed_share is None:
            continue
        share = _measured(tick, report)
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
            tick.sample, tick.second, report.name, _measured(tick, report), None, report.note or "no reason given"
        )
        for tick, report in _reports(ticks)
        if report.claimed_share is None
    ]


def unclaimed_lines(ticks: Iterable[TickRecord]) -> list[str]:
    """Return one line for each compressor, sample and reason, with the seconds it holds for."""
    seconds: dict[tuple[str, str, str], list[int]] = {}
    for found in unclaimed_seconds(ticks):
        seconds.setdefault((found.sample, found.compressor, found.reason), []).append(found.second)
    return [
        f"{sample}: {compressor} cannot hold its share in second {_runs(numbers)}: {reason}"
        for (sample, compressor, reason), numbers in seconds.items()
    ]


def _runs(numbers: Iterable[int]) -> str:
    """Spell whole numbers as ``0-3, 7``."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def _reports(ticks: Iterable[TickRecord]) -> Iterator[tuple[TickRecord, CompressorReport]]:
    for tick in ticks:
        for report in tick.compressors:
            yield tick, report


def _measured(tick: TickRecord, report: CompressorReport) -> float | None:
    if report.reused_share is not None:
        return report.reused_share
    left = tick.tokens_in.get("vision", report.tokens_out)
    return left / report.tokens_in if report.tokens_in else None
