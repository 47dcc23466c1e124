"""StreamingBench: streaming video understanding in eighteen sub-tasks (see README.md of this folder)."""

from evalkit_tasks.streamingbench.data import SbSettings
from evalkit_tasks.streamingbench.scoring import AVERAGES
from evalkit_tasks.streamingbench.task import StreamingBench, task

__all__ = ["AVERAGES", "SbSettings", "StreamingBench", "task"]
