"""Ranking models by the verdicts of several judged runs: strengths, length control, human labels (no torch)."""

from evalkit.ranking.human_labels import HumanWinRate
from evalkit.ranking.rank import ContestFigures, JudgeRanking, RankOptions, RankReport, rank_runs

__all__ = ["ContestFigures", "HumanWinRate", "JudgeRanking", "RankOptions", "RankReport", "rank_runs"]
