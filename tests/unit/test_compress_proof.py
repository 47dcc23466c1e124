"""The proof that compressors were on: shares held against what the settings claim."""

from __future__ import annotations

import pytest

from evalkit.compress import check_shares, unclaimed_lines, unclaimed_seconds
from evalkit.records import CompressorReport, StageTimes, TickRecord


def tick(second: int, *reports: CompressorReport) -> TickRecord:
    return TickRecord(
        sample="match",
        second=second,
        start=float(second),
        end=second + 1.0,
        frames=1,
        stages=StageTimes(),
        compressors=reports,
    )


def cacher(reused: float, claimed: float | None, note: str = "") -> CompressorReport:
    return CompressorReport(
        name="stc-cacher", tokens_in=100, tokens_out=100, reused_share=reused, claimed_share=claimed, note=note
    )


def pruner(kept: int, claimed: float | None) -> CompressorReport:
    return CompressorReport(name="stc-pruner", tokens_in=100, tokens_out=kept, claimed_share=claimed)


def test_shares_as_claimed_are_no_problem() -> None:
    assert check_shares([tick(0, cacher(0.0, 0.0)), tick(1, cacher(0.7503, 0.75), pruner(30, 0.3))]) == []


@pytest.mark.parametrize(("reused", "problems"), [(0.731, 0), (0.729, 1), (0.769, 0), (0.771, 1), (0.0, 1)])
def test_a_reused_share_off_by_more_than_two_points_is_a_problem(reused: float, problems: int) -> None:
    assert len(check_shares([tick(4, cacher(reused, 0.75))])) == problems


def test_a_compressor_that_did_nothing_is_named_with_its_second() -> None:
    found = check_shares([tick(0, pruner(30, 0.3)), tick(7, cacher(0.0, 0.75), pruner(100, 0.3))])
    assert [str(problem) for problem in found] == [
        "match second 7, stc-cacher: 0.0% reused, 75.0% claimed",
        "match second 7, stc-pruner: 100.0% kept, 30.0% claimed",
    ]


def test_the_tolerance_is_the_callers() -> None:
    ticks = [tick(0, cacher(0.70, 0.75))]
    assert check_shares(ticks, tolerance=0.06) == []
    assert len(check_shares(ticks, tolerance=0.04)) == 1


def test_seconds_that_make_no_claim_are_named_not_failed() -> None:
    ticks = [tick(0, cacher(0.0, 0.0)), tick(3, cacher(0.0, None, "frames changed size"))]
    assert check_shares(ticks) == []
    (named,) = unclaimed_seconds(ticks)
    assert (named.second, named.reason) == (3, "frames changed size")


def test_a_claim_about_no_tokens_is_a_problem() -> None:
    empty = CompressorReport(name="stc-pruner", tokens_in=0, tokens_out=0, claimed_share=0.3)
    (problem,) = check_shares([tick(2, empty)])
    assert "no token went in" in problem.reason


def test_a_second_with_frames_and_no_report_is_a_problem() -> None:
    (problem,) = check_shares([tick(0, cacher(0.0, 0.0)), tick(1)], compressors=1)
    assert "match second 1" in str(problem)
    assert "0 of 1" in str(problem)
    silent = tick(2).model_copy(update={"frames": 0})
    assert check_shares([silent], compressors=1) == []


def test_the_contexts_own_count_of_vision_tokens_is_held_against_the_pruner() -> None:
    honest = tick(0, pruner(30, 0.3)).model_copy(update={"tokens_in": {"vision": 30}})
    unpruned = tick(1, pruner(30, 0.3)).model_copy(update={"tokens_in": {"vision": 100}})
    (problem,) = check_shares([honest, unpruned])
    assert "100.0% kept, 30.0% claimed" in str(problem)


def test_seconds_without_a_claim_are_named_in_one_line_each_reason() -> None:
    ticks = [tick(second, cacher(0.0, None, "frames changed")) for second in (1, 2, 3, 7)]
    ticks.append(tick(4, cacher(0.5, None, "few tokens")))
    assert unclaimed_lines(ticks) == [
        "match: stc-cacher cannot hold its share in second 1-3, 7: frames changed",
        "match: stc-cacher cannot hold its share in second 4: few tokens",
    ]
