"""Inf-Streams-Eval: the task, its prompts, windows and the original's result files (no torch)."""

from evalkit.tasks import Task
from evalkit_tasks.inf_streams.data import InfStreamsSettings, load_windows
from evalkit_tasks.inf_streams.merged import (
    MergedRow,
    merged_rows,
    read_merged,
    spoken_from_file,
    spoken_from_merged,
    write_merged,
)
from evalkit_tasks.inf_streams.prompts import JUDGE_PROMPT, QUERY
from evalkit_tasks.inf_streams.task import InfStreams
from evalkit_tasks.inf_streams.windows import (
    Said,
    Spoken,
    Uncovered,
    Window,
    cut_ending,
    pairs,
    spoken_from_records,
)

__all__ = [
    "JUDGE_PROMPT",
    "QUERY",
    "InfStreams",
    "InfStreamsSettings",
    "MergedRow",
    "Said",
    "Spoken",
    "Uncovered",
    "Window",
    "cut_ending",
    "load_windows",
    "merged_rows",
    "pairs",
    "read_merged",
    "spoken_from_file",
    "spoken_from_merged",
    "spoken_from_records",
    "task",
    "write_merged",
]

task: Task = InfStreams()
