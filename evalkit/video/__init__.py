"""Video files to frames and back: probe, decode by PTS, resize, write; leaves schedules to stream."""

from evalkit.video.container import VideoError, VideoFault, open_video, video_stream
from evalkit.video.decode import SizeRule, VideoFrames
from evalkit.video.probe import VideoInfo, probe
from evalkit.video.read import FramesRead, count_frames, frame_times, read_frames, uniform_indices
from evalkit.video.resize import (
    QWEN_FACTOR,
    STREAMINGVLM_LIMITS,
    PixelLimits,
    smart_resize,
    streamingvlm_size,
    vision_tokens,
)
from evalkit.video.write import write_mp4

__all__ = [
    "QWEN_FACTOR",
    "STREAMINGVLM_LIMITS",
    "FramesRead",
    "PixelLimits",
    "SizeRule",
    "VideoError",
    "VideoFault",
    "VideoFrames",
    "VideoInfo",
    "count_frames",
    "frame_times",
    "open_video",
    "probe",
    "read_frames",
    "smart_resize",
    "streamingvlm_size",
    "uniform_indices",
    "video_stream",
    "vision_tokens",
    "write_mp4",
]
