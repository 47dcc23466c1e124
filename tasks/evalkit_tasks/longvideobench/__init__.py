"""LongVideoBench: loaders, prompts, interleaved subtitles, prediction readers and scores."""

from evalkit_tasks.longvideobench.data import LongVideoBenchSettings
from evalkit_tasks.longvideobench.interleave import interleave
from evalkit_tasks.longvideobench.scoring import submission
from evalkit_tasks.longvideobench.task import LongVideoBench

__all__ = ["LongVideoBench", "LongVideoBenchSettings", "interleave", "submission", "task"]

task = LongVideoBench()
