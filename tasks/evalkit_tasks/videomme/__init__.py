"""Video-MME: loaders, prompts with and without subtitles, prediction readers and scores."""

from evalkit_tasks.videomme.data import VideoMmeSettings
from evalkit_tasks.videomme.task import VideoMme

__all__ = ["VideoMme", "VideoMmeSettings", "task"]

task = VideoMme()
