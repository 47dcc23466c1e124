"""Options, plans, runs and their folders; what runs tensors is imported when a run starts."""

from evalkit.run.options import RunOptions, merge_options, parse_assignment, read_config
from evalkit.run.plan import TASKS, RunPlan, data_folder, make_plan, task_named

__all__ = [
    "TASKS",
    "RunOptions",
    "RunPlan",
    "data_folder",
    "make_plan",
    "merge_options",
    "parse_assignment",
    "read_config",
    "task_named",
]
