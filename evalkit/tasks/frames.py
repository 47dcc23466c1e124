"""Which frames the published protocols show, as pure index rules; decoding and resizing stay with the video room.

Every rule maps a clip (its frame count, frame rate and length) to the indices of the frames shown, in order.
Indices count from the clip's first frame. A rule is named in ``PRESETS``; the name is part of the fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from evalkit.errors import DataError, suggest

__all__ = [
    "PRESETS",
    "UP_TO_THE_END",
    "Clip",
    "FrameRule",
    "floor_step",
    "known_preset",
    "ovo_uniform",
    "per_second",
    "per_second_capped",
    "qwen_smart",
    "streamingbench_qwen",
    "uniform_linspace",
    "vlmeval_rate",
    "vlmeval_uniform",
]


@dataclass(frozen=True, slots=True)
class Clip:
    """The stretch of video a question may see.

    Args:
        frames: Frames in the clip, > 0.
        fps: Frames per second of the file, > 0.
        seconds: Length of the clip.
    """

    frames: int
    fps: float
    seconds: float

    def __post_init__(self) -> None:
        if self.frames < 1 or not self.fps > 0:
            raise DataError(f"a clip needs frames and a frame rate, not {self.frames} frames at {self.fps}")


FrameRule = Callable[[Clip], tuple[int, ...]]


def uniform_linspace(n_frames: int, count: int) -> tuple[int, ...]:
    """Return ``count`` indices evenly spread from the first to the last frame, ends included, truncated.

    A clip shorter than ``count`` repeats frames, as ``force_sample`` does.
    Source: ``np.linspace(0, n - 1, count, dtype=int)`` in OVO-Bench ``models/LLaVA_OneVision.py`` (64) and
    StreamingBench ``src/model/LLaVAOneVision.py`` (32).
    """
    return tuple(int(i) for i in np.linspace(0, n_frames - 1, count, dtype=int))


def ovo_uniform(n_frames: int, count: int = 64) -> tuple[int, ...]:
    """Return OVO-Bench's frames for models that shorten: ``count``, or two fewer than the clip has.

    Source: ``nframes = min(64, n - 2)`` in OVO-Bench ``models/QWen2VL.py``, ``GPT.py``, ``InternVL2.py``; a clip
    of one or two frames, on which those scripts stop, gives one frame.
    """
    return uniform_linspace(n_frames, count if n_frames >= count else max(1, n_frames - 2))


def floor_step(n_frames: int, seconds: float, most: int) -> tuple[int, ...]:
    """Return LongVideoBench's frames: a floored step from the start, so the tail is never reached.

    Source: LongVideoBench ``longvideobench_dataset.py``: ``n = min(max_num_frames, int(duration))``, index
    ``int(N / n) * i``. A clip under one second, on which that script divides by zero, gives its first frame.

    Args:
        n_frames: ``int(duration * fps)`` of the file.
        seconds: Duration by the annotation.
        most: Largest number of frames.
    """
    count = max(1, min(most, int(seconds)))
    step = int(n_frames / count)
    return tuple(step * i for i in range(count))


def vlmeval_uniform(n_frames: int, count: int) -> tuple[int, ...]:
    """Return VLMEvalKit's fixed number of frames, ends excluded: ``int(i * n / (count + 1))`` for i = 1 .. count.

    Source: VLMEvalKit ``vlmeval/dataset/longvideobench.py`` and ``videomme.py``.
    """
    return tuple(int(i * n_frames / (count + 1)) for i in range(1, count + 1))


def vlmeval_rate(n_frames: int, fps: float, rate: float) -> tuple[int, ...]:
    """Return VLMEvalKit's frames at a rate: ``int(i * fps / rate)`` for ``int(n / fps * rate)`` frames.

    Source: VLMEvalKit ``vlmeval/dataset/longvideobench.py``.
    """
    count = max(1, int(n_frames / fps * rate))
    return tuple(min(n_frames - 1, int(i * fps / rate)) for i in range(count))


def per_second(clip: Clip, rate: float = 1.0) -> tuple[int, ...]:
    """Return ``rate`` frames per second: for each instant ``i / rate`` the frame on screen then."""
    count = max(1, int(clip.seconds * rate))
    return tuple(min(clip.frames - 1, int(i * clip.fps / rate)) for i in range(count))


def per_second_capped(clip: Clip, rate: float, most: int) -> tuple[int, ...]:
    """Return ``rate`` frames per second, thinned uniformly to ``most`` where there are more.

    Source: StreamingBench ``src/model/MiniCPMV.py`` (1 fps, at most 64).
    """
    frames = per_second(clip, rate)
    if len(frames) <= most:
        return frames
    return tuple(frames[i] for i in uniform_linspace(len(frames), most))


def streamingbench_qwen(clip: Clip) -> tuple[int, ...]:
    """Return StreamingBench's Qwen2-VL frames: 1 fps up to 300 s, 0.5 fps below 600 s, 0.2 fps from there.

    Source: StreamingBench ``src/model/Qwen2VL.py``.
    """
    rate = 1.0 if clip.seconds <= 300 else 0.5 if clip.seconds < 600 else 0.2
    return per_second(clip, rate)


def qwen_smart(clip: Clip, rate: float = 2.0, least: int = 4, most: int = 480) -> tuple[int, ...]:
    """Return the frames of the logit protocol: ``rate`` fps, an even count within bounds, spread over the clip.

    Source: ``smart_nframes`` of qwen_vl_utils with ``FPS_MAX_FRAMES`` 480 (livecc_utils), and
    ``np.linspace(0, n - 1, nframes).round()`` in LiveCC ``evaluation/ovobench/distributed_evaluate_ovobench.py``.
    """
    total, fps = max(2, clip.frames), clip.fps
    if fps < rate:
        total, fps = max(2, int(total * rate / fps)), rate
    wanted = min(max(total / fps * rate, float(min(least, total))), float(min(most, total)))
    count = max(2, int(wanted) // 2 * 2)
    return tuple(int(i) for i in np.linspace(0, clip.frames - 1, count).round())


PRESETS: Mapping[str, FrameRule] = {
    "uniform-64": lambda clip: uniform_linspace(clip.frames, 64),
    "uniform-32": lambda clip: uniform_linspace(clip.frames, 32),
    "uniform-128": lambda clip: uniform_linspace(clip.frames, 128),
    "ovo-64": lambda clip: ovo_uniform(clip.frames, 64),
    "ovo-logit": lambda clip: qwen_smart(clip),
    "fps-1": lambda clip: per_second(clip, 1.0),
    "fps-2": lambda clip: per_second(clip, 2.0),
    "fps-1-max-64": lambda clip: per_second_capped(clip, 1.0, 64),
    "streamingbench-qwen2-vl": streamingbench_qwen,
    "lvb-256": lambda clip: floor_step(clip.frames, clip.seconds, 256),
    "lvb-64": lambda clip: floor_step(clip.frames, clip.seconds, 64),
    "vlmeval-8": lambda clip: vlmeval_uniform(clip.frames, 8),
    "vlmeval-64": lambda clip: vlmeval_uniform(clip.frames, 64),
    "vlmeval-fps-1": lambda clip: vlmeval_rate(clip.frames, clip.fps, 1.0),
    "vlmeval-fps-0.5": lambda clip: vlmeval_rate(clip.frames, clip.fps, 0.5),
}
"""Frame rules by preset name."""

UP_TO_THE_END = frozenset({"ovo-logit"})
"""Presets whose code takes frames with PTS in ``[start, t]``; the others cut a clip that ends before ``t``."""


def known_preset(name: str) -> str:
    """Return a preset's name if there is such a preset; for the validators of task settings.

    Raises:
        ValueError: There is none; the text suggests one and lists all.
    """
    if name not in PRESETS:
        raise ValueError(f"no frame preset {name!r}{suggest(name, PRESETS)}; known: {', '.join(PRESETS)}")
    return name
