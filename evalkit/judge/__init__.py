"""Pairwise judging: who judges, how replies are read, both orders, verdicts on record (no torch)."""

from evalkit.judge.client import ChatJudge
from evalkit.judge.contract import Decision, Endpoint, Judge, JudgeSettings, Question, judge_name, verdict_key
from evalkit.judge.grades import GradeSummary, read_human_grades, summarise_grades
from evalkit.judge.grading import GradeItem, RubricJudge, grade_items, make_rubric_judge
from evalkit.judge.overlap import OverlapJudge
from evalkit.judge.pairs import Pair
from evalkit.judge.pairwise import judge_pairs, judge_pairs_async
from evalkit.judge.panel import PanelAgreement, agreement_of_judges
from evalkit.judge.parse import ParsedVote, UnparsedVote, parse_commentary, parse_vote
from evalkit.judge.prompts import INF_STREAMS_PROMPT, LIVESPORTS_PROMPT, JudgePrompt
from evalkit.judge.rubric import Grades, Rubric, Scale, Ungraded, parse_grades
from evalkit.judge.spec import judge_names, make_judge
from evalkit.judge.store import GradeStore, VerdictStore
from evalkit.judge.summary import JudgeSummary, Usage, summarise_verdicts, summarise_votes
from evalkit.judge.votes import RecordedVotes, read_votes

__all__ = [
    "INF_STREAMS_PROMPT",
    "LIVESPORTS_PROMPT",
    "ChatJudge",
    "Decision",
    "Endpoint",
    "GradeItem",
    "GradeStore",
    "GradeSummary",
    "Grades",
    "Judge",
    "JudgePrompt",
    "JudgeSettings",
    "JudgeSummary",
    "OverlapJudge",
    "Pair",
    "PanelAgreement",
    "ParsedVote",
    "Question",
    "RecordedVotes",
    "Rubric",
    "RubricJudge",
    "Scale",
    "Ungraded",
    "UnparsedVote",
    "Usage",
    "VerdictStore",
    "agreement_of_judges",
    "grade_items",
    "judge_name",
    "judge_names",
    "judge_pairs",
    "judge_pairs_async",
    "make_judge",
    "make_rubric_judge",
    "parse_commentary",
    "parse_grades",
    "parse_vote",
    "read_human_grades",
    "read_votes",
    "summarise_grades",
    "summarise_verdicts",
    "summarise_votes",
    "verdict_key",
]
