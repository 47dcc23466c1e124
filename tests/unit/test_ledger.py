"""The ledger: spans, counts, and how a plan changes them."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np

from evalkit.memory import Kind, Ledger, Piece, Plan, Span


def span(kind: Kind, *ids: int, second: int | None = None, **more: object) -> Span:
    return Span(kind, np.asarray(ids, dtype=np.int64), second, **more)  # type: ignore[arg-type]


def test_the_rules_of_memory_need_no_torch() -> None:
    script = "import sys, evalkit.memory; sys.exit('torch' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_empty_spans_take_no_place() -> None:
    ledger = Ledger([span("system", 1, 2), span("assistant", second=0), span("newline", 3, second=0)])
    assert [s.kind for s in ledger] == ["system", "newline"]
    assert ledger.ids().tolist() == [1, 2, 3]


def test_counts_are_by_kind_and_a_truncation_takes_them_back() -> None:
    ledger = Ledger([span("system", 1, 2), span("query", 3, second=0)])
    ledger.extend([span("query", 4, 5, second=1), span("assistant_open", 6, second=1)])
    assert ledger.counts == {"system": 2, "query": 3, "assistant_open": 1}
    ledger.truncate(2)
    assert ledger.counts == {"system": 2, "query": 1}
    assert ledger.tokens == 3
    assert ledger.ids().tolist() == [1, 2, 3]


def test_a_plan_without_pieces_changes_nothing() -> None:
    ledger = Ledger([span("system", 1, 2)])
    after, index = ledger.apply(Plan())
    assert after is ledger
    assert ledger.evicted(Plan()) == {}
    assert index.tolist() == [0, 1]


def test_a_plan_cuts_moves_and_renames_and_tells_where_each_token_was() -> None:
    ledger = Ledger(
        [span("system", 10, 11), span("query", 20, 21, 22, second=0), span("assistant", 30, 31, second=0)]
    )
    plan = Plan((Piece(0, 0, 2), Piece(2, 0, 1, "previous_text"), Piece(1, 1, 3)))
    after, index = ledger.apply(plan)
    assert [(s.kind, s.ids.tolist()) for s in after] == [
        ("system", [10, 11]),
        ("previous_text", [30]),
        ("query", [21, 22]),
    ]
    assert index.tolist() == [0, 1, 5, 3, 4]
    assert after.ids().tolist() == ledger.ids()[index].tolist()
    assert ledger.evicted(plan) == {"query": 1, "assistant": 1}


def test_a_plan_may_drop_everything() -> None:
    after, index = Ledger([span("system", 1)]).apply(Plan(()))
    assert after.tokens == len(after) == len(index) == 0
    assert after.ids().dtype == np.int64


def test_a_cut_vision_span_remembers_which_cells_of_its_grid_are_left() -> None:
    whole = span("vision", 9, 9, 9, 9, second=3, grid=(1, 2, 2))
    assert whole.cut(1, 3).rows.tolist() == [1, 2]  # type: ignore[union-attr]
    pruned = span("vision", 9, 9, 9, second=3, grid=(1, 2, 2), rows=np.asarray([0, 2, 3]))
    assert pruned.cut(1, 3).rows.tolist() == [2, 3]  # type: ignore[union-attr]
    assert whole.cut(0, 4) is whole


def test_a_span_survives_json() -> None:
    before = span("vision", 9, 9, second=3, grid=(1, 1, 3), rows=np.asarray([0, 2]), temporal_step=0.5, block=7)
    after = Span.from_json(json.loads(json.dumps(before.to_json())))
    assert after.to_json() == before.to_json()
    assert after.grid == (1, 1, 3)
    assert after.ids.dtype == after.rows.dtype == np.int64  # type: ignore[union-attr]
