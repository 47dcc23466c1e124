"""Options, plans, runs and their folders; what runs tensors is imported when a run starts."""

from evalkit.run.options import RunOptions, merge_options, parse_assignment, read_config
from evalkit.run.plan import RunPlan, make_plan

__all__ = ["RunOptions", "RunPlan", "make_plan", "merge_options", "parse_assignment", "read_config"]
