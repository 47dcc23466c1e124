"""OVO-Bench: online video understanding with time stamps (see README.md of this folder)."""

from evalkit_tasks.ovobench.data import OvoSettings
from evalkit_tasks.ovobench.scoring import AVERAGES
from evalkit_tasks.ovobench.task import OvoBench, task

__all__ = ["AVERAGES", "OvoBench", "OvoSettings", "task"]
