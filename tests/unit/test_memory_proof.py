"""That a memory kept to its budget is read off the records, and what does not is named."""

from __future__ import annotations

from typing import Any

from evalkit.memory.proof import check_budget
from evalkit.records import AnswerRecord, HeldTokens, RetrievedBlocks, StageTimes, TickRecord, TickTable


def tick(second: int, held: HeldTokens | None, frames: int = 1) -> TickRecord:
    return TickRecord(
        sample="s", second=second, start=second, end=second + 1, frames=frames, stages=StageTimes(), held=held
    )


def answer(**values: Any) -> AnswerRecord:
    found = RetrievedBlocks(**{"most": 4, "stored": 9, "blocks": (4, 4), "tokens": (24, 24)} | values)
    return AnswerRecord(sample="s", query="q", kind="choice", at=3, start=0, end=3, retrieved=found)


def test_seconds_and_questions_within_the_budget_pass() -> None:
    ticks = [tick(0, HeldTokens(budget=10, active=6)), tick(1, HeldTokens(budget=10, active=10)), tick(2, None, 0)]
    assert list(check_budget(ticks, [answer(), answer(blocks=(3, 4))])) == []


def test_what_is_above_it_or_silent_is_named() -> None:
    ticks = [tick(0, None), tick(1, HeldTokens(budget=10, active=11))]
    assert list(check_budget(ticks, [answer(blocks=(4, 5)), answer(blocks=(0, 4))])) == [
        "s second 0: nothing says what the memory holds",
        "s second 1: 11 tokens stand, 10 claimed",
        "s q: 4 to 5 blocks retrieved in a layer, at most 4 claimed",
        "s q: 0 to 4 blocks retrieved in a layer, at most 4 claimed",
    ]


def test_a_table_of_ticks_keeps_what_was_held() -> None:
    ticks = [tick(0, None), tick(1, HeldTokens(budget=10, active=11, stored=3, stored_mib=0.5))]
    table = TickTable.of(ticks)
    assert list(table) == ticks
    assert [one.held for one in table[1:]] == [ticks[1].held]
