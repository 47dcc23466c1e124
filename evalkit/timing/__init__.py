"""Clocks, service times and what is computed from them (no torch)."""

from evalkit.timing.clock import STAGES, Stage, StageClock
from evalkit.timing.memory import process_peak_mib
from evalkit.timing.percentiles import Percentiles, finite, percentiles

__all__ = ["STAGES", "Percentiles", "Stage", "StageClock", "finite", "percentiles", "process_peak_mib"]
