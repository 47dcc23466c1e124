"""MLVU: long videos in seven multiple-choice tasks, and two of generation (see README.md of this folder)."""

from evalkit_tasks.mlvu.task import Mlvu, MlvuSettings

__all__ = ["Mlvu", "MlvuSettings", "task"]

task = Mlvu()
