"""Clocks, service times and what is computed from them (no torch)."""

from evalkit.timing.clock import STAGES, Stage, StageClock
from evalkit.timing.deadlines import accepts_tail, binomial_interval, needed_for_percentile
from evalkit.timing.horizon import MINUTE, first_behind, minute_factors
from evalkit.timing.memory import MemorySampler, process_peak_mib
from evalkit.timing.percentiles import Percentiles, finite, percentiles
from evalkit.timing.queue import EXACT, OVERLOAD_RULES, Asked, Overload, QueueTimes, answer_times, run_queue
from evalkit.timing.settings import ReplayOption, ReplaySettings

__all__ = [
    "EXACT",
    "MINUTE",
    "OVERLOAD_RULES",
    "STAGES",
    "Asked",
    "MemorySampler",
    "Overload",
    "Percentiles",
    "QueueTimes",
    "ReplayOption",
    "ReplaySettings",
    "Stage",
    "StageClock",
    "accepts_tail",
    "answer_times",
    "binomial_interval",
    "finite",
    "first_behind",
    "minute_factors",
    "needed_for_percentile",
    "percentiles",
    "process_peak_mib",
    "run_queue",
]
