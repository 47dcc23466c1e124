"""Video files to frames and back: probe, decode by PTS, resize, write; leaves schedules to stream."""

from evalkit.video.write import write_mp4

__all__ = ["write_mp4"]
