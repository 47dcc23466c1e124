"""When something was said, against when it should have been: matching, counts, area and utility (no torch).

Pure: utterances with times in, figures out. Which second of a run is an utterance is decided in `speaking`.
"""

from evalkit.utterances.area import GradedReply, area_score, pauc
from evalkit.utterances.match import Hit, Matching, Utterance, Window, match
from evalkit.utterances.score import TimingCounts, TimingScore, score_records, timing_counts
from evalkit.utterances.speaking import SPEAKING, Speaking, said_at, utterances_of
from evalkit.utterances.utility import UtilityRule, utility

__all__ = [
    "SPEAKING",
    "GradedReply",
    "Hit",
    "Matching",
    "Speaking",
    "TimingCounts",
    "TimingScore",
    "UtilityRule",
    "Utterance",
    "Window",
    "area_score",
    "match",
    "pauc",
    "said_at",
    "score_records",
    "timing_counts",
    "utility",
    "utterances_of",
]
