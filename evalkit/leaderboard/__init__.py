"""Leaderboards, comparisons and the gate: what may be compared, and by how much it differs (no torch)."""

from evalkit.leaderboard.compare import Comparison, PairRow, compare_runs
from evalkit.leaderboard.diff import BoardDiff, diff_boards
from evalkit.leaderboard.entries import add_row, empty_board, row_of_run
from evalkit.leaderboard.files import parse_board, read_board, write_board
from evalkit.leaderboard.fingerprint import Mismatch, comparable
from evalkit.leaderboard.gate import GateResult, run_gate
from evalkit.leaderboard.ranking import RankedRow, rank_rows
from evalkit.leaderboard.render import render_markdown
from evalkit.leaderboard.schema import Entry, Leaderboard, PublishedSource, RunSource, Setting

__all__ = [
    "BoardDiff",
    "Comparison",
    "Entry",
    "GateResult",
    "Leaderboard",
    "Mismatch",
    "PairRow",
    "PublishedSource",
    "RankedRow",
    "RunSource",
    "Setting",
    "add_row",
    "comparable",
    "compare_runs",
    "diff_boards",
    "empty_board",
    "parse_board",
    "rank_rows",
    "read_board",
    "render_markdown",
    "row_of_run",
    "run_gate",
    "write_board",
]
